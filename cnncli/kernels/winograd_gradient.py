"""The weight gradient of convolutions of 3x3 by Winograd's algorithm: the adjoint of the forward pass in the weights.

A task has a chunk of the tiles, a block of inputs and a block of outputs. It transforms what both blocks have in a span
of tiles, adds the products to 36 planes of sums, and in the end transforms these to its part of the gradient, all in
memory that stays in its core's cache. Tasks of other blocks transform the same tiles again: that takes less time than
to fetch four times the data that another core has written.
"""

import math

import numpy as np
from numba import njit

from cnncli.kernels import conv, geometry, most_threads, strips, transforms
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.geometry import check_bounds
from cnncli.kernels.gradient_transforms import gradient_tile, sums_tile
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import ACCUMULATE, SINGLE, STORE, lanes, load, tile, variant
from cnncli.kernels.transforms import OUT, PLANES, TAPS, input_tile
from cnncli.kernels.winograd_tiles import check_pixels, odd, refusal, scratch_arrays, tile_table

# Inputs and strips of outputs of a task: the sums take 590 KB, of 2 MB beside a core. With half as many outputs the
# inputs are transformed twice as often, 1.02 to 1.09 of the time; twice as many of either took 1.04 to 1.17.
BLOCK, STRIPS = 64, 2
# Channels, of all tiles, whose transforms are in the cache at once, at most: 1 MB, 56 tiles of 64 inputs and 64
# outputs. With 32 tiles, 0.97 to 1.16 of the time. Fewer channels have more tiles, so that a call sums more: of 16 to
# 16, 32x32, 64 images, on Zen 5, 0.69 of the time with 56.
SPAN_ELEMENTS = 56 * 2 * 64
CHUNK = 24  # tiles, at least: with 16, 1.2 of the time for (64 x 64, 8x8), elsewhere within the noise
LEAST_CHANNELS, LEAST_TILES, LEAST_PIXELS = 16, 16, 10  # see `wins`; pixels of a tile's 16


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _transform(v, d, x, dy, first, many, tiles, block, steps, sizes):
    """The transforms of `many` tiles of x and of dy from the `first` one, to the addresses v and d."""
    c_in, inputs, c_out, outputs = block
    v_plane, v_row, d_plane, d_row, _, lanes = sizes
    size = x.itemsize
    for i in range(many):
        n, t = (first + i) // tiles.shape[0], (first + i) % tiles.shape[0]
        corner, top, bottom, left, right, at_y, _, high, wide = tiles[t]
        of, to = x.ctypes.data + size * (n * x.shape[1] + corner + c_in), v + size * i * v_row
        input_tile(x, (to, v_plane), (of, steps[0], steps[1]), (top, bottom), (left, right), inputs)
        of, to = dy.ctypes.data + size * (n * dy.shape[1] + at_y + c_out), d + size * i * d_row
        for c in range(0, outputs, lanes):
            gradient_tile(x, (to + size * c, d_plane), (of + size * c, steps[2], steps[3]), (high, wide))


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _products(m, v, d, like, many, cuts, columns, rows, sizes, op):
    """The sums over `many` tiles of products of their transforms, to the address m."""
    v_plane, v_row, d_plane, d_row, m_plane, _ = sizes
    size, table = like.itemsize, rows.ctypes.data
    for plane in range(PLANES):
        for column in range(columns.shape[0]):
            of, kind, tail, to, width = columns[column]
            for cut in range(cuts.shape[0]):
                row, count, mode = cuts[cut]
                if count:
                    tile(
                        like,
                        variant(kind, mode, count),
                        (v + size * plane * v_plane, table + 8 * row, table, v_row),
                        (d + size * (plane * d_plane + of), table, d_row),
                        (1, many),
                        (m + size * (plane * m_plane + to), table + 8 * ((1 + width) * rows.shape[1] + row), tail),
                        (m, m, table, op),
                    )


@kernel
def weight_gradient_blocks(
    first_task, last_task, thread, dw, x, dy, scratch, tiles, blocks, columns, parts, cuts, rows, steps, sizes, spans
):
    """dw[s] = weight gradient of the s-th chunk of tiles: partial sums, (S, elements of w).

    tiles: as for `convolve_blocks`, of x and dy. blocks: for each pair of a block of inputs and one of outputs (first
    input, inputs, first output, outputs, first of its columns, how many, first of its parts, how many, which cuts).
    columns: (offset in a transformed dy, kind of tile, columns in the last vector, offset in sums, which width its
    strip has). parts: for each strip (offset in sums, offset in w, its width, between its taps). cuts (2, C, 3): (first
    row, rows, mode) of a block of inputs, and of the last one. rows (1 + widths, R): offsets of an input in a
    transformed x, and in the sums for each width. steps: between rows and columns of pixels in x, in dy. sizes:
    (elements of a plane and of a row of a transformed x, of a transformed dy, of a plane of sums, lanes). A chunk has
    so many `spans`. scratch: memory for each thread.
    """
    (chunks, elements), pairs, size = dw.shape, blocks.shape[0], dw.itemsize
    v_plane, _, d_plane, _, m_plane, lanes = sizes
    total = x.shape[0] * tiles.shape[0]
    per_chunk = (total + chunks - 1) // chunks
    per_span = (per_chunk + spans - 1) // spans
    v = scratch.ctypes.data + size * scratch.shape[1] * thread
    d = v + size * PLANES * v_plane
    m = d + size * PLANES * d_plane
    for task in range(first_task, last_task):
        chunk, pair = task // pairs, task % pairs
        c_in, inputs, c_out, outputs, column, many_columns, part, many_parts, cut = blocks[pair]
        own, start, end = (
            columns[column : column + many_columns],
            chunk * per_chunk,
            min((chunk + 1) * per_chunk, total),
        )
        for first in range(start, end, per_span):
            many = min(per_span, end - first)
            _transform(v, d, x, dy, first, many, tiles, (c_in, inputs, c_out, outputs), steps, sizes)
            _products(m, v, d, x, many, cuts[cut], own, rows, sizes, ACCUMULATE if first > start else STORE)
        for i in range(part, part + many_parts):
            of, to, width, tap = parts[i]
            to, count = chunk * elements + to + c_in * width, inputs * width
            for e in range(0, count, lanes):
                target = dw.ctypes.data + size * (to + e), TAPS * tap, tap
                sums_tile(x, target, (m + size * (of + e), m_plane), (count - e,))


def wins(axes, c_in: int, c_out: int, groups: int, images: int) -> bool:
    """Whether this is faster than the direct weight gradient.

    Measured on two cores with AVX-512, times as fast: (8 x 64, 56x56) 2.4; (8 x 128, 28x28) 2.3; (8 x 256, 14x14) 1.8;
    (8 x 512, 7x7) 2.1; (4 x 512, 28x28) 2.9; (64 x 64, 8x8) 2.1; (64 x 32, 16x16) 1.8; (64 x 16, 32x32) 1.4.
    Fewer channels: (64 x 8, 32x32) 0.7 to 1.0, 8 to 32 channels 1.2, 3 to 64 channels 0.9.
    Tiles half empty: (64 x 64, 7x7), 49/64 full, 1.4, (64 x 64, 6x6), 9/16 full, 1.0, (64 x 64, 5x5) 0.8.
    Few tiles for the transform of sums: (4 x 512, 7x7), 16 tiles, 1.3 to 1.5, (2 x 512, 7x7) 0.8 to 1.1.
    """
    if refusal(axes, groups) or min(c_in, c_out) < LEAST_CHANNELS:
        return False
    pixels, tiles = (images * math.prod(-(-axis.out // side) for axis in axes) for side in (1, OUT))
    return tiles >= LEAST_TILES and pixels >= LEAST_PIXELS * tiles


class _Cut:
    """The tables of a kernel's work on blocks of `side` inputs and of STRIPS strips of outputs."""

    def __init__(self, c_in: int, c_out: int, itemsize: int):
        self.vector = vector = lanes(SINGLE, itemsize)
        blocks = -(-c_in // BLOCK)
        self.side = side = min(c_in, _up(-(-c_in // blocks), vector))
        self.rows_of = _up(side, vector), _up(min(c_out, STRIPS * strips.STRIP), vector)
        self.m_plane = odd(side * min(c_out, strips.STRIP), vector)
        self.rows = np.concatenate([np.arange(side)[None], strips.by_width(np.arange(side), c_out)])
        ins = [(c, min(side, c_in - c)) for c in range(0, c_in, side)]
        outs = self._outputs(c_in, c_out, itemsize)
        pairs = [(*of_in, *of_out, int(of_in[1] < side)) for of_in in ins for of_out in outs]
        self.blocks = np.array(pairs, np.int64)
        found = [
            geometry.blocks([(0, n, 0, 1)], self.rows[:, :n], self.columns, of_window=True)[:, [0, 1, 4]]
            for n in (side, ins[-1][1])
        ]
        self.cuts = np.zeros((2, max(map(len, found)), 3), np.int64)
        for cuts, of_block in zip(self.cuts, found, strict=True):
            cuts[: len(of_block)] = of_block

    def _outputs(self, c_in, c_out, itemsize):
        """Blocks of outputs as `blocks` has them; sets `columns` and `parts`."""
        found, columns, parts, outs = strips.strips(c_out), [], [], []
        all_columns = strips.columns(c_out, 1, 0, 0, itemsize).tolist()
        for first in range(0, len(found), STRIPS):
            own = found[first : first + STRIPS]
            start, column = own[0][0], len(columns)
            for i, (strip, width) in enumerate(own):
                sums = i * PLANES * self.m_plane
                parts.append((sums, strip * TAPS * TAPS * c_in, width, width * c_in))
                for c, kind, tail, *_, known in all_columns:
                    if strip <= c < strip + width:
                        columns.append((c - start, kind, tail, sums + c - strip, known))
            outs.append((start, sum(width for _, width in own), column, len(columns) - column, first, len(own)))
        self.columns, self.parts = np.array(columns, np.int64), np.array(parts, np.int64)
        return outs


def _up(count, step):
    return -(-count // step) * step


def plan(convolution, dw, x: Buffer, dy: Buffer, arena: Arena):
    """As `Convolution.plan_weight_gradient`."""
    load(dw.itemsize)
    transforms.load(dw.itemsize)
    c_in, c_out, flat = convolution.c_in, convolution.c_out, dw.reshape(-1)
    check_bounds("dw", flat.size, c_in * c_out * TAPS * TAPS - 1)
    check_pixels("x", x, c_in)
    check_pixels("dy", dy, c_out)
    tiles = tile_table(convolution.axes[1:], x.layout, dy.layout, dy.layout)
    cut, total = _Cut(c_in, c_out, dw.itemsize), len(tiles) * len(x.array)
    chunks = max(1, min(-(-geometry.TASKS // len(cut.blocks)), total // CHUNK))
    per_chunk = -(-total // chunks)
    chunks, spans = -(-total // per_chunk), -(-per_chunk // (SPAN_ELEMENTS // sum(cut.rows_of)))
    planes = [odd(-(-per_chunk // spans) * row, cut.vector) for row in cut.rows_of]
    of_thread = PLANES * (sum(planes) + min(STRIPS, len(cut.parts)) * cut.m_plane)
    scratch, partial = scratch_arrays(arena, most_threads() * of_thread, chunks * flat.size * (chunks > 1))
    partial = (partial if chunks > 1 else flat).reshape(chunks, -1)
    sizes = planes[0], cut.rows_of[0], planes[1], cut.rows_of[1], cut.m_plane, cut.vector
    tables = tiles, cut.blocks, cut.columns, cut.parts, cut.cuts, cut.rows
    how = (*x.layout.strides[1:], *dy.layout.strides[1:]), sizes, spans
    given = partial, x.array, dy.array, scratch.reshape(most_threads(), of_thread), *tables, *how
    work = total * PLANES * c_in * c_out
    gradient = weight_gradient_blocks.step(chunks * len(cut.blocks), *given, multiply_adds=work)
    return [gradient] if chunks == 1 else [gradient, conv.plan_add_chunks(flat, partial)]
