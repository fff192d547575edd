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


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def convolve(y, x, u, bias, gate, scratch, tiles, cuts, columns, rows, steps, sizes, op):
    """y = op(convolution of x by the weights whose transform is u), a block of tiles a task.

    tiles: for each tile of an image (its corner in x, rows first and behind the last, columns likewise, its place in y,
    in gate, its rows, its columns). cuts (2, C, 2): the (first row, rows) of a block, and of the last one. columns: as
    `strips.columns` says. rows (2, R): offsets of the rows of transformed inputs and of products. steps: between rows
    and columns of pixels in x, in y, in gate. sizes: (tiles a block, channels, elements of a plane of inputs, all
    inputs, of a plane of products, lanes).
    """
    per_block, c_in, v_plane, m_start, m_plane, lanes = sizes
    x_row, x_column, y_row, y_column, gate_row, gate_column = steps
    size, total = y.itemsize, y.shape[0] * tiles.shape[0]
    n_blocks = (total + per_block - 1) // per_block
    for block in prange(n_blocks):
        v = scratch.ctypes.data + size * scratch.shape[1] * get_thread_id()
        m = v + size * m_start
        start = block * per_block
        many = min(per_block, total - start)
        for i in range(many):
            n, t = (start + i) // tiles.shape[0], (start + i) % tiles.shape[0]
            corner, top, bottom, left, right, _, _, _, _ = tiles[t]
            of = x.ctypes.data + size * (n * x.shape[1] + corner)
            to = v + size * rows[0, i]
            for c in range(0, c_in, lanes):
                input_tile(y, (to + size * c, v_plane), (of + size * c, x_row, x_column), (top, bottom), (left, right))
        for column in range(columns.shape[0]):
            first, kind, tail, _, w_offset, width, _ = columns[column]
            b = u.ctypes.data + size * w_offset
            for k in range(PLANES):
                for cut in range(cuts.shape[1]):
                    row, count = cuts[1 if block == n_blocks - 1 else 0, cut]
                    if count:
                        tile(
                            y,
                            variant(kind, 0, count),
                            (v + size * k * v_plane, rows.ctypes.data + 8 * row, rows.ctypes.data, 1),
                            (b + size * k * c_in * width, rows.ctypes.data, width),
                            (1, c_in),
                            (m + size * k * m_plane, rows.ctypes.data + 8 * (rows.shape[1] + row), tail),
                            (m, m, rows.ctypes.data, STORE),
                        )
            channels = tail + (lanes if kind == WIDE else 0)
            for i in range(many):
                n, t = (start + i) // tiles.shape[0], (start + i) % tiles.shape[0]
                _, _, _, _, _, at_y, at_gate, high, wide = tiles[t]
                y_here = y.ctypes.data + size * (n * y.shape[1] + at_y + first)
                gate_here = gate.ctypes.data + size * (n * gate.shape[1] + at_gate + first)
                of = m + size * rows[1, i]
                for c in range(0, channels, lanes):
                    output_tile(
                        y,
                        (of + size * c, m_plane),
                        (y_here + size * c, y_row, y_column),
                        (gate_here + size * c, gate_row, gate_column),
                        (high, wide, channels - c),
                        (bias.ctypes.data + size * (first + c), op),
                    )


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


def _block(c_in, itemsize):
    """Tiles of a task: as many as the cache holds, in whole register tiles."""
    rows = MOST_ROWS[WIDE]
    return max(1, CACHE // (PLANES * itemsize * (c_in + strips.STRIP)) // rows) * rows


def _plan(y: Buffer, x: Buffer, u, bias, op, gate: Buffer | None, axes, c_in, c_out, arena):
    """The call of `convolve` along the axes of height and width."""
    load(y.array.itemsize)
    itemsize, vector, gate = y.array.itemsize, lanes(SINGLE, y.array.itemsize), gate or y
    tiles = _tiles(axes, x.layout, y.layout, gate.layout)
    total = len(tiles) * len(y.array)
    per_block = min(_block(c_in, itemsize), total)
    columns = strips.columns(c_out, 1, 0, PLANES * c_in, itemsize)
    v_row, m_row = -(-c_in // vector) * vector, 2 * vector
    v_plane, m_plane = per_block * v_row + vector, per_block * m_row + vector
    rows = np.stack([np.arange(per_block) * v_row, np.arange(per_block) * m_row])
    scratch = arena.scratch((config.NUMBA_NUM_THREADS, PLANES * (v_plane + m_plane)))
    kinds = set(columns[:, 1].tolist())
    most, vectors = min(MOST_ROWS[kind] for kind in kinds), 2 if WIDE in kinds else 1
    both = [geometry.split(n, most, vectors) for n in (per_block, (total - 1) % per_block + 1)]
    cuts = np.zeros((2, max(map(len, both)), 2), np.int64)
    for i, cut in enumerate(both):
        cuts[i, : len(cut), 1] = cut
        cuts[i, 1 : len(cut), 0] = np.cumsum(cut)[:-1]
    steps = tuple(step for b in (x, y, gate) for step in b.layout.strides[1:])
    sizes = per_block, c_in, v_plane, PLANES * v_plane, m_plane, vector
    arrays = y.array, x.array, u, bias, gate.array
    return lambda: convolve(*arrays, scratch, tiles, cuts, columns, rows, steps, sizes, op)


def _plan_weights(u, w, rows, c_out, flip):
    """The call of `transform_weights` for weights of `rows` inputs."""
    vector, parts = lanes(SINGLE, w.itemsize), []
    for first, width in strips.strips(c_out):
        plane, each = rows * width, 64 * vector
        parts += [
            (first * rows * TAPS * TAPS, first * rows * PLANES, plane, start, min(plane, start + each))
            for start in range(0, plane, each)
        ]
    parts = np.array(parts, np.int64)
    return lambda: transform_weights(u, w, parts, vector, flip)


def plan_forward(convolution, y: Buffer, x: Buffer, w, bias, op, arena: Arena, other: Buffer | None = None):
    """(the call that transforms the weights, the call that convolves)."""
    c_in, c_out = convolution.c_in, convolution.c_out
    u = arena.take((PLANES * c_in * c_out,))
    prepare = _plan_weights(u, w.reshape(-1), c_in, c_out, 0)
    return prepare, _plan(y, x, u, bias, op, other, convolution.axes[1:], c_in, c_out, arena)
