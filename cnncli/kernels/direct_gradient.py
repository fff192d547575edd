"""The weight gradient of a convolution by the register tile, for all that do not go by Winograd's algorithm.

Its rows are the elements of the kernel's windows, its sums go over the pixels of the output, row by row.
"""

import numpy as np

from cnncli.kernels import conv, geometry, panels, strips
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.geometry import Layout, check_bounds
from cnncli.kernels.tile import load


def plan(convolution, dw, x: Buffer, dy: Buffer, arena: Arena):
    """dw = sum over images and pixels of x by dy: the steps. For a `Convolution` and its weights' layout."""
    load(dw.itemsize)
    c_in, c_out = convolution.weight_shape[4:]
    images, strides = x.array.shape[0], convolution.weight_strides(c_in)
    window = _window_groups(convolution.axes, convolution.border)
    rows, taps, phases, first_row, first_tap = [], [], [], 0, 0
    for depths, out_d in window[0]:
        for heights, out_h in window[1]:
            d, h, k, c = np.meshgrid(depths, heights, np.arange(convolution.kernel[2]), np.arange(c_in), indexing="ij")
            dilated = [n * axis.dilation for n, axis in zip((d, h, k), convolution.axes, strict=True)]
            at_x = sum(n * stride for n, stride in zip(dilated, x.layout.strides, strict=True)) + c
            at_w = d * strides[0] + h * strides[1] + k * strides[2] + c
            rows.append(np.concatenate([at_x.reshape(1, -1), strips.by_width(at_w.ravel(), c_out)]))
            taps.append(_pixel_rows(convolution.axes, images, out_d, out_h, x.layout, dy.layout))
            phases.append((first_row, rows[-1].shape[1], first_tap, taps[-1].shape[1]))
            first_row, first_tap = first_row + phases[-1][1], first_tap + phases[-1][3]
    rows, taps = np.ascontiguousarray(np.concatenate(rows, 1)), np.ascontiguousarray(np.concatenate(taps, 1))
    columns = strips.columns(c_out, convolution.groups, c_in, convolution.window, dw.itemsize)
    x_step, y_step, width = convolution.axes[2].stride * x.channels, dy.channels, convolution.axes[2].out
    for row, count, tap, n_taps in phases:
        read = rows[0, row : row + count], taps[0, tap : tap + n_taps], (width - 1) * x_step, columns[:, 3]
        if n_taps:  # a row of the kernel may lie in the padding wherever it is
            check_bounds("x", x.array.size, *read)
    check_bounds("dy", dy.array.size, taps[1], (width - 1) * y_step, convolution.c_out - 1)
    last = columns[:, 4] + geometry.reach(columns, dw.itemsize)
    for i, of_width in enumerate(rows[1:]):
        check_bounds("dw", dw.size, of_width, last[columns[:, 6] == i])
    tables, steps = (rows, taps, phases, columns), (x_step, y_step, width)
    return _plan_sums(dw.reshape(-1), x.array, dy.array, tables, steps, c_out, arena)


def _plan_sums(dw, x, dy, tables, steps, outputs, arena):
    """The steps of the weight gradient; steps: between pixels in x and in dy, pixels of a row. `outputs` of a group."""
    rows, taps, phases, columns = tables
    _, y_step, width = steps
    most_taps = max(n_taps for _, _, _, n_taps in phases)
    blocks = panels.blocks(phases, rows, taps, width * y_step) if panels.worth(outputs, most_taps * width) else None
    packed = blocks is not None
    if not packed:
        blocks = geometry.blocks(phases, rows, columns, of_window=True)
    work = len(blocks) * len(columns)
    weights = dw.nbytes * (panels.DEARER if packed else 1)
    cuts = chunks, groups, spans = geometry.gradient_cuts(x.nbytes + dy.nbytes, weights, most_taps, width, work)
    multiply_adds = sum(count * n_taps for _, count, _, n_taps in phases) * width * y_step
    if packed:
        partial, gradient = panels.plan(dw, x, dy, (rows, taps, blocks, columns), steps, cuts, multiply_adds, arena)
    else:
        partial = dw.reshape(1, -1) if chunks == 1 else arena.scratch((chunks, dw.size))
        given = partial, x, dy, rows, taps, blocks, columns, *steps, groups, spans
        gradient = conv.weight_gradient.step(chunks * groups, *given, multiply_adds=multiply_adds)
    return [gradient] if chunks == 1 else [gradient, conv.plan_add_chunks(dw, partial)]


def _window_groups(axes, border):
    """For depth and height: pairs of (kernel coordinates, the outputs for which all of them read the input)."""
    found = []
    for i, axis in enumerate(axes[:2]):
        if any(border[i]):
            found.append([(np.arange(axis.kernel), np.arange(axis.out))])
            continue
        by_outputs: dict[tuple[int, ...], list[int]] = {}
        for k in range(axis.kernel):
            start = k * axis.dilation - axis.before
            inside = tuple(o for o in range(axis.out) if 0 <= o * axis.stride + start < axis.size)
            by_outputs.setdefault(inside, []).append(k)
        found.append([(np.array(k), np.array(outputs, np.int64)) for outputs, k in by_outputs.items()])
    return found


def _pixel_rows(axes, images, out_d, out_h, x: Layout, dy: Layout):
    """(2, images * rows): where the first window of each row of output pixels begins in x, and the row in dy."""
    n, d, h = np.meshgrid(np.arange(images), out_d, out_h, indexing="ij")
    corner = [o * axis.stride - axis.before for o, axis in zip((d, h, 0), axes, strict=True)]
    at_x = n * x.elements + x.place(*corner)
    at_y = n * dy.elements + dy.place(d, h, 0)
    return np.stack([at_x.ravel(), at_y.ravel()])
