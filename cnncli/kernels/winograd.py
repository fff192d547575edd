"""Convolutions of 3x3 by Winograd's F(4x4, 3x3): a quarter of the multiplications, in 36 matrix products.

The output's pixels are cut into tiles of 4x4. A task transforms the inputs of a block of tiles, and for each strip of
outputs multiplies them by the transformed weights and transforms the products back, all in memory that stays in its
core's cache. Weights are transformed by a call of their own, as often as they change.
"""

import numpy as np
from numba import config, get_thread_id, njit, prange

from cnncli.kernels import geometry, strips, turn
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.geometry import Axis, check_bounds
from cnncli.kernels.tile import MOST_ROWS, SINGLE, STORE, TABLE, WIDE, WITH_GATE, BIASED, lanes, load, tile, variant
from cnncli.kernels.transforms import IN, OUT, PLANES, TAPS, input_tile, output_tile, weight_tile

CACHE = 1 << 20  # bytes of transformed inputs and products of a block: half of what lies beside a core, weights the rest


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def transform_weights(u, w, parts, lanes, flip):
    """u = G w G^T. w (9 planes a strip), u (36 planes a strip), flat.

    parts: (from, to, elements of a plane, first element, behind the last). With `flip` the rows of the kernel run
    backwards.
    """
    size = w.itemsize
    for i in prange(parts.shape[0]):
        of, to, plane, first, last = parts[i]
        for e in range(first, last, lanes):
            weight_tile(
                w,
                (u.ctypes.data + size * (to + e), plane),
                (w.ctypes.data + size * (of + e + flip * 6 * plane), (1 - 2 * flip) * 3 * plane, plane),
                (last - e,),
            )


@njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _inputs(v, x, first, many, tiles, rows, steps, sizes):
    """The transforms of `many` tiles of x from the `first` one, to the address v."""
    c_in, v_plane, _, lanes = sizes
    size = x.itemsize
    for i in range(many):
        n, t = (first + i) // tiles.shape[0], (first + i) % tiles.shape[0]
        corner, top, bottom, left, right, _, _, _, _ = tiles[t]
        of, to = x.ctypes.data + size * (n * x.shape[1] + corner), v + size * rows[0, i]
        for c in range(0, c_in, lanes):
            input_tile(x, (to + size * c, v_plane), (of + size * c, steps[0], steps[1]), (top, bottom), (left, right))


@njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _products(m, v, u, plane, cuts, column, rows, sizes):
    """One plane of products, to the address m, for one strip of outputs; cuts: (first row, rows)."""
    c_in, v_plane, m_plane, _ = sizes
    _, kind, tail, _, w_offset, width, _ = column
    size, table = u.itemsize, rows.ctypes.data
    for cut in range(cuts.shape[0]):
        row, count = cuts[cut]
        if count:
            tile(
                u,
                variant(kind, 0, count),
                (v + size * plane * v_plane, table + 8 * row, table, 1),
                (u.ctypes.data + size * (w_offset + plane * c_in * width), table, width),
                (1, c_in),
                (m + size * plane * m_plane, table + 8 * (rows.shape[1] + row), tail),
                (m, m, table, STORE),
            )


@njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _outputs(y, gate, bias, m, first, many, tiles, column, rows, steps, sizes, op):
    """The transforms of the products at the address m into `many` tiles of y from the `first` one."""
    _, _, m_plane, lanes = sizes
    channel, kind, tail, _, _, _, _ = column
    size, channels = y.itemsize, tail + (lanes if kind == WIDE else 0)
    for i in range(many):
        n, t = (first + i) // tiles.shape[0], (first + i) % tiles.shape[0]
        _, _, _, _, _, at_y, at_gate, high, wide = tiles[t]
        y_here = y.ctypes.data + size * (n * y.shape[1] + at_y + channel)
        gate_here = gate.ctypes.data + size * (n * gate.shape[1] + at_gate + channel)
        for c in range(0, channels, lanes):
            output_tile(
                y,
                (m + size * (rows[1, i] + c), m_plane),
                (y_here + size * c, steps[2], steps[3]),
                (gate_here + size * c, steps[4], steps[5]),
                (high, wide, channels - c),
                (bias.ctypes.data + size * (channel + c), op),
            )


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def convolve_blocks(y, x, u, bias, gate, scratch, tiles, cuts, columns, rows, steps, sizes, op):
    """y = op(convolution of x by the weights whose transform is u): a task does everything for a block of tiles.

    tiles: for each tile of an image (its corner in x, rows first and behind the last, columns likewise, its place in y,
    in gate, its rows, its columns). cuts (2, C, 2): the (first row, rows) of a block, and of the last one. columns: as
    `strips.columns` says. rows (2, R): offsets of the rows of transformed inputs and of products, a row a tile of the
    block. steps: between rows and columns of pixels in x, in y, in gate. sizes: (channels, elements of a plane of
    inputs, of a plane of products, lanes). scratch: memory for each thread.
    """
    size, total, per_block = y.itemsize, y.shape[0] * tiles.shape[0], rows.shape[1]
    n_blocks = (total + per_block - 1) // per_block
    for block in prange(n_blocks):
        v = scratch.ctypes.data + size * scratch.shape[1] * get_thread_id()
        m = v + size * PLANES * sizes[1]
        first = block * per_block
        many = min(per_block, total - first)
        _inputs(v, x, first, many, tiles, rows, steps, sizes)
        for column in range(columns.shape[0]):
            for plane in range(PLANES):
                _products(m, v, u, plane, cuts[1 if many < per_block else 0], columns[column], rows, sizes)
            _outputs(y, gate, bias, m, first, many, tiles, columns[column], rows, steps, sizes, op)


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def convolve_planes(y, x, u, bias, gate, scratch, tiles, cuts, columns, rows, steps, sizes, op):
    """The same, for all tiles at once in three passes: a task of the second does a plane of products for a strip.

    It reads each transformed weight once, where `convolve_blocks` reads all for every block.
    """
    size, total, many = y.itemsize, y.shape[0] * tiles.shape[0], columns.shape[0]
    v, m = scratch.ctypes.data, scratch.ctypes.data + size * PLANES * sizes[1]
    for i in prange(total):
        _inputs(v + size * rows[0, i], x, i, 1, tiles, rows, steps, sizes)
    for i in prange(PLANES * many):
        column = columns[i % many]
        _products(m + size * column[0], v, u, i // many, cuts[0], column, rows, sizes)
    for i in prange(total):
        for c in range(many):
            of = m + size * (columns[c, 0] + rows[1, i])
            _outputs(y, gate, bias, of, i, 1, tiles, columns[c], rows, steps, sizes, op)


def _axis_tiles(axis: Axis):
    """Along one axis, for each tile: its first input, the first and behind the last that exist, output, outputs."""
    first = np.arange(0, axis.out, OUT)
    start = first - axis.before
    return start, np.clip(-start, 0, IN), np.clip(axis.size - start, 0, IN), first, np.minimum(OUT, axis.out - first)


def _tiles(axes, x, y, gate):
    """The table of an image's tiles: see `convolve`."""
    (top, *rows, y_top, high), (left, *columns, y_left, wide) = (_axis_tiles(axis) for axis in axes)

    def grid(of_rows, of_columns):
        return [a.ravel() for a in np.meshgrid(of_rows, of_columns, indexing="ij")]

    corner, (at_h, at_w) = x.place(0, *grid(top, left)), grid(y_top, y_left)
    ranges = [grid(a, left)[0] for a in rows] + [grid(top, a)[1] for a in columns]
    places = [layout.place(0, at_h, at_w) for layout in (y, gate)]
    return np.ascontiguousarray(np.stack([corner, *ranges, *places, *grid(high, wide)], 1))


def _cuts(count, columns):
    """The (first row, rows) of `count` rows of tiles in register tiles."""
    kinds = set(columns[:, 1].tolist())
    sizes = geometry.split(count, min(MOST_ROWS[kind] for kind in kinds), 2 if WIDE in kinds else 1)
    return np.stack([np.cumsum((0, *sizes[:-1])), sizes], 1)


def _block(c_in, total, itemsize):
    """Tiles of a task: as many as the cache holds, in whole register tiles; blocks of about the same size."""
    rows = MOST_ROWS[WIDE]
    most = max(1, CACHE // (PLANES * itemsize * (c_in + strips.STRIP)) // rows) * rows
    blocks = -(-total // most)
    if blocks > 1:
        blocks += blocks % 2
    return min(most, -(-total // blocks // rows) * rows)


SPREAD = False

class Winograd:
    """One convolution bound to its arrays, along the axes of height and width: `transform` the weights, then `run`."""

    def __init__(self, axes, c_in: int, c_out: int, y: Buffer, x: Buffer, gate: Buffer | None = None):
        load(y.array.itemsize)
        self.arrays, itemsize = (y.array, x.array, (gate or y).array), y.array.itemsize
        buffers, self.vector, self.c_in, self.c_out = (x, y, gate or y), lanes(SINGLE, itemsize), c_in, c_out
        self.tiles = _tiles(axes, *(b.layout for b in buffers))
        self.steps = tuple(step for b in buffers for step in b.layout.strides[1:])
        self.columns = strips.columns(c_out, 1, 0, PLANES * c_in, itemsize)
        total = len(self.tiles) * len(y.array)
        self.spread = SPREAD
        per_block = total if self.spread else min(total, _block(c_in, total, itemsize))
        v_row = -(-c_in // self.vector) * self.vector
        m_row = -(-c_out // strips.STRIP) * strips.STRIP if self.spread else 2 * self.vector
        self.rows = np.stack([np.arange(per_block) * v_row, np.arange(per_block) * m_row])
        # planes an odd number of lines apart: side by side in the cache's sets
        planes = [(n | 1) * self.vector for n in (per_block * v_row // self.vector, per_block * m_row // self.vector)]
        self.sizes = c_in, *planes, self.vector
        both = [_cuts(n, self.columns) for n in (per_block, total % per_block or per_block)]
        self.cuts = np.zeros((2, max(map(len, both)), 2), np.int64)
        for of_block, cuts in zip(self.cuts, both, strict=True):
            of_block[: len(cuts)] = cuts
        self.scratch_shape = 1 if self.spread else config.NUMBA_NUM_THREADS, PLANES * sum(planes)

    def transform(self, u, w, flip):
        """The call that transforms w, (3, 3, c_in, c_out) in strips, into u."""
        parts, each = [], 64 * self.vector
        for first, width in strips.strips(self.c_out):
            plane = self.c_in * width
            at = first * self.c_in * TAPS * TAPS, first * self.c_in * PLANES, plane
            parts += [(*at, start, min(plane, start + each)) for start in range(0, plane, each)]
        parts = np.array(parts, np.int64)
        return lambda: transform_weights(u, w, parts, self.vector, flip)

    def run(self, u, bias, op, scratch):
        """The call that convolves by the weights whose transform is u."""
        y, x, gate = self.arrays
        kernel = convolve_planes if self.spread else convolve_blocks
        tables = self.tiles, self.cuts, self.columns, self.rows, self.steps, self.sizes
        return lambda: kernel(y, x, u, bias, gate, scratch, *tables, op)


def plan_forward(convolution, y: Buffer, x: Buffer, w, bias, op, arena: Arena, other: Buffer | None = None):
    """(the call that transforms the weights, the call that convolves)."""
    c_in, c_out = convolution.c_in, convolution.c_out
    u = arena.take((PLANES * c_in * c_out,))
    bound = Winograd(convolution.axes[1:], c_in, c_out, y, x, other)
    return bound.transform(u, w.reshape(-1), 0), bound.run(u, bias, op, arena.take(bound.scratch_shape))
