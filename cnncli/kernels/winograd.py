"""Convolutions of 3x3 by Winograd's F(4x4, 3x3): a quarter of the multiplications, in 36 matrix products.

The output's pixels are cut into tiles of 4x4. A task transforms the inputs of a block of tiles, and for each strip of
outputs multiplies them by the transformed weights and transforms the products back, all in memory that stays in its
core's cache. Where the weights are larger than inputs and products together, all tiles are one block, and the tasks are
its planes. Weights are transformed by a call of their own, as often as they change.
"""

import math

import numpy as np

from cnncli.kernels import geometry, most_threads, strips, transforms, turn, winograd_training
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.geometry import Axis, check_bounds
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import BIASED, MOST_ROWS, NARROW, SINGLE, STORE, WIDE, lanes, load
from cnncli.kernels.transforms import OUT, PLANES, TAPS, weight_tile
from cnncli.kernels.winograd_tiles import (
    check_pixels,
    cuts_of,
    multiply,
    multiply_all,
    odd,
    refusal,
    scratch_arrays,
    tile_count,
    tile_table,
    transform_back,
    transform_inputs,
)

LEAST_CHANNELS = 16  # fewer make the transforms dear beside the products
# what it costs to transform weights, in the cache of the task that needs them or for all, or only to read four times as
# many, in multiplications for each of them
CACHE_COST, TRAINING_COST, INFERENCE_COST = 1000, 3000, 1000
# With so few inputs a call costs as much as its sums: one is for all planes. Times as fast: (64 x 16, 32x32) 1.15, 16
# to 32 channels 1.15, (64 x 32, 16x16) 1.15; but (64 x 64, 8x8) 0.93 to 1.04, (8 x 64, 56x56) 0.97 to 1.06
JOINED_INPUTS = 32


@kernel
def transform_weights(first_part, last_part, u, w, parts, lanes, flip):
    """u = G w G^T. w (9 planes a strip), u (36 planes a strip), flat.

    parts: (from, to, elements of a plane, first element, behind the last). With `flip` the rows of the kernel run
    backwards.
    """
    size = w.itemsize
    for i in range(first_part, last_part):
        of, to, plane, first, last = parts[i]
        for e in range(first, last, lanes):
            weight_tile(
                w,
                (u.ctypes.data + size * (to + e), plane),
                (w.ctypes.data + size * (of + e + flip * 6 * plane), (1 - 2 * flip) * 3 * plane, plane),
                (last - e,),
            )


@kernel
def convolve_blocks(
    first_block, last_block, thread, y, x, u, bias, gate, scratch, tiles, cuts, columns, rows, steps, sizes, op, joined
):
    """y = op(convolution of x by the weights whose transform is u): a task does everything for a block of tiles.

    tiles: for each tile of an image (its corner in x, rows first and behind the last, columns likewise, its place in y,
    in gate, its rows, its columns). cuts (2, C, 2): the (first row, rows) of a block, and of the last one. columns: as
    `strips.columns` says. rows (2, R): offsets of the rows of transformed inputs and of products, a row a tile of the
    block. steps: between rows and columns of pixels in x, in y, in gate. sizes: (channels, elements of a plane of
    inputs, of a plane of products, lanes). scratch: memory for each thread. `joined`: one call has
    all planes.
    """
    size, total, per_block = y.itemsize, y.shape[0] * tiles.shape[0], rows.shape[1]
    for block in range(first_block, last_block):
        v = scratch.ctypes.data + size * scratch.shape[1] * thread
        m = v + size * PLANES * sizes[1]
        first = block * per_block
        many = min(per_block, total - first)
        cut = cuts[1 if many < per_block else 0]
        transform_inputs(v, x, 0, first, many, tiles, rows, steps, sizes)
        for column in range(columns.shape[0]):
            weights = u.ctypes.data + size * columns[column, 4], sizes[0] * columns[column, 5]
            if joined:
                multiply_all(m, v, weights, u, cut, columns[column], rows, sizes)
            else:
                for plane in range(PLANES):
                    multiply(m, v, weights, u, plane, cut, columns[column], rows, sizes, STORE)
            transform_back(y, gate, bias, m, first, many, tiles, columns[column], rows, steps, sizes, op)


@kernel
def plane_inputs(first_tile, last_tile, x, scratch, tiles, rows, steps, sizes):
    """The first of three passes that do the same for all tiles as one block: each transformed weight is read once."""
    for i in range(first_tile, last_tile):
        transform_inputs(scratch.ctypes.data + x.itemsize * rows[0, i], x, 0, i, 1, tiles, rows, steps, sizes)


@kernel
def plane_products(first_task, last_task, u, scratch, cuts, columns, rows, sizes):
    """The second pass: a task has a plane of products for a strip of outputs."""
    v, many = scratch.ctypes.data, columns.shape[0]
    for i in range(first_task, last_task):
        column = columns[i % many]
        m = v + u.itemsize * (PLANES * sizes[1] + column[0])
        weights = u.ctypes.data + u.itemsize * column[4], sizes[0] * column[5]
        multiply(m, v, weights, u, i // many, cuts[0], column, rows, sizes, STORE)


@kernel
def plane_outputs(first_tile, last_tile, y, bias, gate, scratch, tiles, columns, rows, steps, sizes, op):
    """The third pass."""
    m = scratch.ctypes.data + y.itemsize * PLANES * sizes[1]
    for i in range(first_tile, last_tile):
        for c in range(columns.shape[0]):
            of = m + y.itemsize * (rows[1, i] + columns[c, 0])
            transform_back(y, gate, bias, of, i, 1, tiles, columns[c], rows, steps, sizes, op)


def wins(axes, c_in: int, c_out: int, groups: int, images: int, training: bool) -> bool:
    """Whether this is faster than the direct convolution: in training, weights are transformed in every call.

    Measured on two cores with AVX-512, times as fast forward in inference, forward in training, data gradient:
    (8 x 64, 56x56) 2.4, 2.3, 2.0; (8 x 128, 28x28) 2.4, 2.2, 2.0; (8 x 256, 14x14) 1.7, 1.3, 1.3; (4 x 256, 56x56) 2.6,
    2.2, 2.0; (4 x 512, 28x28) 2.3, 2.0, 1.9; (4 x 512, 14x14) 1.7, 1.1, 1.0; (64 x 64, 8x8) 2.2, 2.0, 1.9.
    Few channels: (64 x 16, 32x32) 1.3, 1.1, 1.1; (64 x 16 to 32, 32x32) 1.5, 1.5, 1.5; (64 x 8, 32x32) 1.1, 0.8, 0.7.
    Tiles half empty: (64 x 64, 6x6), 9/16 full, 1.3, 1.2, 1.2; (64 x 64, 5x5), 25/64 full, 0.9, 0.8, 0.9.
    Few tiles for the weights, which training transforms in the cache (`winograd_training`): (8 x 512, 7x7) 1.3, 1.8,
    1.5, where the direct way has 2376 multiplications more for each weight; (4 x 512, 7x7) 1188, 1.5, 1.4; (256, 14x14)
    1.5, 1.4, 1.4; (128, 14x14) 1.4, 1.4; (2 x 512, 7x7), 594, 1.1, 1.1. By a transform in memory 0.8 to 0.9.
    """
    if refusal(axes, groups) or min(c_in, c_out) < LEAST_CHANNELS:
        return False
    pixels, tiles = images * math.prod(axis.out for axis in axes), tile_count(axes, images)
    saved = pixels * TAPS * TAPS - tiles * PLANES
    of_training = CACHE_COST if winograd_training.fits(tiles, c_in, c_out) else TRAINING_COST
    return 2 * pixels >= tiles * OUT * OUT and saved > (of_training if training else INFERENCE_COST)


def _block(c_in, total, itemsize):
    """Tiles of a task, in whole register tiles.

    More tiles read the weights less often, but leave the caches and share unevenly: 14 and 28 were within 5 % of each
    other but once, 17 %, from 64 to 512 channels; 84 took 10 to 60 % longer.
    """
    rows = MOST_ROWS[WIDE]
    most = max(1, geometry.NEAR // (PLANES * itemsize * (c_in + strips.STRIP)) // rows) * rows
    return min(total, most if total >= geometry.TASKS * most else rows)


class Winograd:
    """A convolution of 3x3 bound to its arrays, along the `axes` of height and width: steps.

    `memory` (elements of transformed weights, elements of scratch) is what they need.
    """

    def __init__(self, axes, c_in: int, c_out: int, y: Buffer, x: Buffer, gate: Buffer | None = None):
        load(y.array.itemsize)
        transforms.load(y.array.itemsize)
        gate, itemsize = gate or y, y.array.itemsize
        self.arrays, self.c_in, self.c_out = (y.array, x.array, gate.array), c_in, c_out
        self.vector = vector = lanes(SINGLE, itemsize)
        tiles = tile_table(axes, x.layout, y.layout, gate.layout)
        columns = strips.columns(c_out, 1, 0, PLANES * c_in, itemsize)
        total = len(tiles) * len(y.array)
        # what is larger is moved once: the transformed weights, or the transformed inputs and products
        in_planes = c_in * c_out >= total * (c_in + c_out)
        per_block = total if in_planes else _block(c_in, total, itemsize)
        # of transformed inputs, of products
        row = -(-c_in // vector) * vector, -(-c_out // strips.STRIP) * strips.STRIP if in_planes else 2 * vector
        planes = [odd(per_block * elements, vector) for elements in row]
        cuts = cuts_of((per_block, total % per_block or per_block), columns)
        steps = tuple(step for b in (x, y, gate) for step in b.layout.strides[1:])
        rows = np.arange(per_block) * np.array(row)[:, None]
        self.tables = tiles, cuts, columns, rows, steps, (c_in, *planes, vector)
        self.in_planes, self.total, self.blocks = in_planes, total, -(-total // per_block)
        self.scratch = 1 if in_planes else most_threads(), PLANES * sum(planes)
        self.memory = PLANES * c_in * c_out, math.prod(self.scratch)
        for what, buffer, channels in (("x", x, c_in), ("y", y, c_out), ("gate", gate, c_out)):
            check_pixels(what, buffer, channels)

    def transform(self, u, w, flip=0):
        """The step that transforms w, (3, 3, c_in, c_out) in strips, into u."""
        parts, each = [], 64 * self.vector
        for first, width in strips.strips(self.c_out):
            plane = self.c_in * width
            place = first * self.c_in * TAPS * TAPS, first * self.c_in * PLANES, plane
            parts += [(*place, start, min(plane, start + each)) for start in range(0, plane, each)]
        check_bounds("w", w.size, self.c_in * self.c_out * TAPS * TAPS - 1)
        check_bounds("u", u.size, self.memory[0] - 1)
        parts = np.array(parts, np.int64)
        return transform_weights.step(len(parts), u, w, parts, self.vector, flip)

    def run(self, u, bias, op, scratch):
        """The steps that convolve by the weights whose transform is u."""
        (y, x, gate), scratch = self.arrays, scratch.reshape(self.scratch)
        check_bounds("bias", bias.size, (self.c_out - 1) * (op in BIASED))
        tiles, cuts, columns, rows, steps, sizes = self.tables
        work = self.total * PLANES * self.c_in * self.c_out
        if not self.in_planes:
            joined = self.c_in <= JOINED_INPUTS and NARROW not in columns[:, 1]
            given = y, x, u, bias, gate, scratch, *self.tables, op, joined
            return [convolve_blocks.step(self.blocks, *given, multiply_adds=work)]
        results = y, bias, gate, scratch, tiles, columns, rows, steps, sizes, op
        return [
            plane_inputs.step(self.total, x, scratch, tiles, rows, steps, sizes),
            plane_products.step(PLANES * len(columns), u, scratch, cuts, columns, rows, sizes, multiply_adds=work),
            plane_outputs.step(self.total, *results),
        ]


def plan_forward(convolution, y: Buffer, x: Buffer, w, bias, op, arena: Arena, other=None, prepared=None):
    """As `Convolution.plan_forward`."""
    axes, c_in, c_out = convolution.axes[1:], convolution.c_in, convolution.c_out
    if prepared is None and winograd_training.fits(tile_count(axes, len(y.array)), c_in, c_out):
        buffers = y, x, other or y
        return winograd_training.plan(axes, c_in, c_out, buffers, w, bias, op, arena, backwards=False)
    bound = Winograd(axes, c_in, c_out, y, x, other)
    of_weights, of_scratch = bound.memory
    if prepared is None:
        u, scratch = scratch_arrays(arena, of_weights, of_scratch)
        return [bound.transform(u, w.reshape(-1)), *bound.run(u, bias, op, scratch)]
    u = arena.take((of_weights,))
    prepared.append(bound.transform(u, w.reshape(-1)))
    return bound.run(u, bias, op, arena.scratch((of_scratch,)))


def plan_data_gradient(
    convolution, dx: Buffer, dy: Buffer, w, arena: Arena, op=STORE, gate=None, bias=None, prepared=None
):
    """As `Convolution.plan_data_gradient`: a convolution of dy by the weights turned half a circle and transposed."""
    c_in, c_out = convolution.c_in, convolution.c_out
    axes = [Axis(axis.out, axis.size, TAPS, 1, 1, TAPS - 1 - axis.before) for axis in convolution.axes[1:]]
    if prepared is None and winograd_training.fits(tile_count(axes, len(dx.array)), c_in, c_out):
        buffers, flat = (dx, dy, gate or dx), w.reshape(-1)
        added = flat if bias is None else bias
        return winograd_training.plan(axes, c_out, c_in, buffers, flat, added, op, arena, backwards=True)
    bound = Winograd(axes, c_out, c_in, dx, dy, gate)
    of_weights, of_scratch = bound.memory
    if prepared is None:
        u, scratch, turned = scratch_arrays(arena, of_weights, of_scratch, w.size)
    else:
        u, scratch, turned = arena.take((of_weights,)), arena.scratch((of_scratch,)), arena.take((w.size,))
    making = [turn.plan(turned, w, (1, TAPS, TAPS, c_in, c_out)), bound.transform(u, turned, flip=1)]
    steps = bound.run(u, turned if bias is None else bias, op, scratch)
    if prepared is None:
        return making + steps
    prepared += making
    return steps
