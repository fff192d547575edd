"""Convolution to few channels, with relu and 2x2 max pooling in one pass, as steps that are ready to run.

It suits the first layers of networks for grey images. `plan_...` are as in `convolution`.
"""

import numpy as np

from cnncli.kernels import geometry, pixels, winners
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.convolution import Convolution
from cnncli.kernels.geometry import check_bounds

MOST_CHANNELS = 8  # with more, the general tile has its lanes full

POOL = 2  # the side of the windows whose maximum can be taken on the way


def suits(convolution: Convolution, window=None) -> bool:
    """Whether the tile over pixels computes this faster than the general one, and the maximum of such windows.

    The input's border must be the one that the general one asks for, and the map more than a vector of floats wide: a
    row of one vector would leave the other empty, and read further than the slack goes.
    """
    width = convolution.axes[2]
    few = convolution.groups == 1 and convolution.c_in == 1 and convolution.c_out <= MOST_CHANNELS
    plain = width.stride == width.dilation == 1 and width.out > pixels.lanes(4)
    pooled = window is None or all(
        axis.before == 0 and (axis.kernel, axis.stride, axis.dilation) == (side, side, 1)
        for axis, side in zip(window, (1, POOL, POOL), strict=True)
    )
    return few and plain and pooled and convolution.around == convolution.border


def plan_forward(convolution: Convolution, y: Buffer, x: Buffer, w, bias, relu: bool):
    """y = convolution of x by w, plus bias, with relu if asked: the steps."""
    depths, heights, width = (axis.out for axis in convolution.axes)
    # an odd last row is computed twice
    tops = [min(h, heights - pixels.ROWS) if heights >= pixels.ROWS else h for h in range(0, heights, pixels.ROWS)]
    rows = [(d, h, min(h + 1, heights - 1)) for d in range(depths) for h in tops]
    return _plan(convolution, y, None, x, w, bias, relu, rows, width, pixels.PLAIN)


def plan_pooled(convolution: Convolution, y: Buffer, arg, x: Buffer, w, bias, relu: bool):
    """y = 2x2 maximum of relu(convolution of x by w, plus bias): the steps.

    arg (images, elements of y without a border) int32, or None: the number of each window's first largest element, as
    `pool.max_pool` has it, of the sums before relu.
    """
    _, heights, width = (axis.out for axis in convolution.axes)
    rows = [(0, h, h + 1) for h in range(0, heights - 1, POOL)]
    kind = pixels.MAX if arg is None else pixels.MAX_TAP
    return _plan(convolution, y, arg, x, w, bias, relu, rows, width // POOL * POOL, kind)


def plan_pooled_weight_gradient(convolution, dw, db, x: Buffer, dy: Buffer, arg, gate: Buffer | None, arena: Arena):
    """dw and db from dy, the gradient of what `plan_pooled` gave, 0 where `gate` is not positive: the steps."""
    depth, height, width = convolution.axes
    channels, size, images = convolution.c_out, dw.itemsize, len(dy.array)
    kernel, vector = width.kernel, winners.lanes(width.kernel, size)
    taps = _taps(convolution, x)
    rows = (taps[::kernel, None] + np.arange(0, kernel, vector)).ravel()
    _, heights, widths = dy.size
    h, w = np.meshgrid(np.arange(heights) * POOL, np.arange(widths) * POOL, indexing="ij")
    corners = x.layout.place(-depth.before, h * height.stride - height.before, w - width.before).ravel()
    corners = np.repeat(corners, channels).astype(np.int32)
    steps = height.stride * x.layout.strides[1], x.layout.strides[2]
    of_gate = gate or dy
    places = np.stack([dy.row_starts, of_gate.row_starts])
    length = widths * channels
    check_bounds("x", x.array.shape[1], corners, np.array([0, sum(steps)]), taps)
    check_bounds("dy", dy.array.shape[1], places[0], length - 1)
    check_bounds("gate", of_gate.array.shape[1], places[1], length - 1)
    check_bounds("arg", arg.shape[1], len(corners) - 1)
    check_bounds("dw", dw.size, len(taps) * channels - 1)
    chunks = min(images, geometry.TASKS)
    sums, bias = arena.take((chunks, channels * len(rows) * vector)), arena.take((chunks, length))
    gradients, starts = arena.take((chunks, len(corners))), arena.take((chunks, len(corners)), np.int32)
    by_row, shape = dw.reshape(-1, channels), (channels, len(rows), vector, kernel)
    of_x, of_dy, kept, gated = x.array, dy.array, of_gate.array, gate is not None
    address = winners.load(size, channels, len(rows), kernel)
    of_chunks = winners.pooled_weight_gradient.step(
        chunks, sums, bias, of_x, of_dy, arg, kept, gradients, starts, corners, places, steps, address, shape, rows,
        gated, multiply_adds=images * len(corners) * len(taps),
    )  # fmt: skip
    return [of_chunks, winners.fold.step(1, by_row, db, sums, bias, shape)]


def _plan(convolution, y, arg, x, w, bias, relu, rows, width, kind):
    depth, height, _ = convolution.axes
    channels, size, scale = convolution.c_out, w.itemsize, 1 if kind == pixels.PLAIN else POOL
    span = pixels.VECTORS * pixels.lanes(size)
    # the last block begins where it ends with the row
    columns = [min(start, max(0, width - span)) for start in range(0, width, span)]
    taps, packed = _taps(convolution, x), geometry.packed(y.size, channels)
    blocks = []
    for d, top, bottom in rows:
        for start in columns:
            left = -convolution.axes[2].before + start
            at_x = [
                x.layout.place(d * depth.stride - depth.before, h * height.stride - height.before, left)
                for h in (top, bottom)
            ]
            at_y = [y.layout.place(d, h // scale, start // scale) for h in (top, bottom)]
            blocks.append((*at_x, *at_y, packed.place(d, top // scale, start // scale), min(span, width - start)))
    blocks = np.array(blocks, np.int64)
    last = blocks[:, 5] // scale * channels - 1
    for row in range(pixels.ROWS):
        check_bounds("x", x.array.shape[1], np.min(blocks[:, row]), taps)
        check_bounds("x", x.array.shape[1], blocks[:, row] + blocks[:, 5] - 1, taps)
        check_bounds("y", y.array.shape[1], blocks[:, 2 + row])
        check_bounds("y", y.array.shape[1], blocks[:, 2 + row] + last)
    check_bounds("w", w.size, len(taps) * channels - 1)
    check_bounds("bias", bias.size, channels - 1)
    arg = (
        np.zeros((y.array.shape[0], packed.elements if kind == pixels.MAX_TAP else 1), np.int32) if arg is None else arg
    )
    if kind == pixels.MAX_TAP:
        check_bounds("arg", arg.shape[1], blocks[:, 4] + last)
    address = pixels.load(size, channels, kind)
    parts = geometry.parts(y.array.shape[0], len(blocks))
    shape = (channels, kind)
    of_y, of_x = y.array, x.array
    given = of_y, arg, of_x, w, bias, address, shape, blocks, taps, parts, relu
    work = len(of_y) * convolution.multiply_adds
    return [pixels.convolve_pixels.step(len(of_y) * parts, *given, multiply_adds=work)]


def _taps(convolution, x: Buffer):
    """The offset in x of each row of the weights."""
    at = np.meshgrid(*(np.arange(axis.kernel) * axis.dilation for axis in convolution.axes), indexing="ij")
    return np.ascontiguousarray((x.layout.place(*at) - x.layout.origin).ravel())
