"""The weight gradient of convolutions of 3x3 by Winograd's algorithm: the adjoint of the forward pass in the weights.

A task has a chunk of the tiles, a block of inputs and a block of outputs. It transforms both blocks of a span of tiles,
adds the span's products to 36 planes of sums, and at last transforms these to its part of the gradient: everything
stays in its core's cache, and tasks of other blocks transform the same tiles again, which takes less than to fetch
what another core has transformed. Chunks are added afterwards.
"""

import math
import os

import numpy as np
from numba import njit

from cnncli.kernels import conv, geometry, most_threads, strips
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.geometry import check_bounds
from cnncli.kernels.gradient_transforms import gradient_tile, sums_tile
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import ACCUMULATE, SINGLE, STORE, lanes, load, tile, variant
from cnncli.kernels.transforms import PLANES, TAPS, input_tile
from cnncli.kernels.winograd import tile_table

IN_BLOCK = int(os.environ.get("GW_IN", 64))
OUT_STRIPS = int(os.environ.get("GW_OUT", 2))
SPAN = int(os.environ.get("GW_SPAN", 32))
LEAST = int(os.environ.get("GW_LEAST", 24))
SLICE = 1024


@njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _transform(v, d, x, dy, first, many, tiles, block, steps, sizes):
    """The transforms of `many` tiles of x and of dy, to the addresses v and d."""
    c_in, channels_in, c_out, channels_out = block
    v_plane, v_row, d_plane, d_row, _, lanes = sizes
    size = x.itemsize
    for i in range(many):
        n, t = (first + i) // tiles.shape[0], (first + i) % tiles.shape[0]
        corner, top, bottom, left, right, at_y, _, high, wide = tiles[t]
        of = x.ctypes.data + size * (n * x.shape[1] + corner + c_in)
        to = v + size * i * v_row
        for c in range(0, channels_in, lanes):
            input_tile(x, (to + size * c, v_plane), (of + size * c, steps[0], steps[1]), (top, bottom), (left, right))
        of = dy.ctypes.data + size * (n * dy.shape[1] + at_y + c_out)
        to = d + size * i * d_row
        for c in range(0, channels_out, lanes):
            gradient_tile(x, (to + size * c, d_plane), (of + size * c, steps[2], steps[3]), (high, wide))


@njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _products(m, v, d, like, many, cuts, columns, rows, sizes, op):
    """The products of a span of tiles, to the address m."""
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
                        (m + size * (to + plane * m_plane), table + 8 * ((1 + width) * rows.shape[1] + row), tail),
                        (m, m, table, op),
                    )


@kernel
def weight_gradient(
    first_task, last_task, thread, dw, x, dy, scratch, tiles, pairs, columns, of_strips, cuts, rows, steps, sizes, spans
):
    """dw[s] = weight gradient of the s-th chunk of tiles of x and dy.

    dw (S, elements of w) partial sums, one a chunk.
    """
    chunks, many, size = dw.shape[0], pairs.shape[0], dw.itemsize
    v_plane, _, d_plane, _, m_plane, lanes = sizes
    per_chunk = (x.shape[0] * tiles.shape[0] + chunks - 1) // chunks
    per_span = (per_chunk + spans - 1) // spans
    for task in range(first_task, last_task):
        chunk, pair = task // many, task % many
        c_in, n_in, c_out, n_out, column, n_columns, strip, n_strips, cut = pairs[pair]
        v = scratch.ctypes.data + size * scratch.shape[1] * thread
        d = v + size * PLANES * v_plane
        m = d + size * PLANES * d_plane
        start, end = chunk * per_chunk, min((chunk + 1) * per_chunk, x.shape[0] * tiles.shape[0])
        own = columns[column : column + n_columns]
        for first in range(start, end, per_span):
            of_span = min(per_span, end - first)
            _transform(v, d, x, dy, first, of_span, tiles, (c_in, n_in, c_out, n_out), steps, sizes)
            op = STORE if first == start else ACCUMULATE
            _products(m, v, d, x, of_span, cuts[cut], own, rows, sizes, op)
        for s in range(strip, strip + n_strips):
            of, to, width, step = of_strips[s]
            count = n_in * width
            to = dw.ctypes.data + size * (chunk * dw.shape[1] + to + c_in * width)
            for e in range(0, count, lanes):
                sums_tile(x, (to + size * e, 3 * step, step), (m + size * (of + e), m_plane), (count - e,))


def plan(convolution, dw, x: Buffer, dy: Buffer, arena: Arena):
    load(dw.itemsize)
    c_in, c_out, itemsize = convolution.c_in, convolution.c_out, dw.itemsize
    vector = lanes(SINGLE, itemsize)
    tiles = tile_table(convolution.axes[1:], x.layout, dy.layout, dy.layout)
    total = len(tiles) * len(x.array)
    n = -(-c_in // IN_BLOCK)
    side = min(c_in, -(-(-(-c_in // n)) // vector) * vector)
    ins = [(c, min(side, c_in - c)) for c in range(0, c_in, side)]
    found = strips.strips(c_out)
    widths = strips.widths(c_out)
    v_row, d_row = (-(-n // vector) * vector for n in (side, min(c_out, OUT_STRIPS * strips.STRIP)))
    of_columns = strips.columns(c_out, 1, 0, 0, itemsize)
    m_plane = (side * min(strips.STRIP, c_out) // vector + 1 | 1) * vector
    columns, outs, of_strips = [], [], []
    for first in range(0, len(found), OUT_STRIPS):
        mine = found[first : first + OUT_STRIPS]
        c, column = mine[0][0], len(columns)
        for i, (s, width) in enumerate(mine):
            of_strips.append((i * PLANES * m_plane, s * TAPS * TAPS * c_in, width, c_in * width))
            for at, kind, tail, *_, known in of_columns:
                if s <= at < s + width:
                    columns.append((at - c, kind, tail, i * PLANES * m_plane + at - s, known))
        outs.append((c, sum(w for _, w in mine), column, len(columns) - column, first, len(mine)))
    columns, of_strips = np.array(columns, np.int64), np.array(of_strips, np.int64)
    kinds = sorted({count for _, count in ins}, reverse=True)
    pairs = np.array([(*i, *o, kinds.index(i[1])) for i in ins for o in outs], np.int64)
    rows = np.concatenate([np.arange(side)[None], strips.by_width(np.arange(side), c_out)])
    both = [geometry.blocks([(0, n, 0, 1)], rows[:, :n], columns, of_window=True)[:, [0, 1, 4]] for n in kinds]
    cuts = np.zeros((len(both), max(map(len, both)), 3), np.int64)
    for to, of in zip(cuts, both, strict=True):
        to[: len(of)] = of
    chunks = max(1, min(-(-geometry.TASKS // len(pairs)), total // LEAST))
    per_chunk = -(-total // chunks)
    chunks = -(-total // per_chunk)
    spans = -(-per_chunk // SPAN)
    per_span = -(-per_chunk // spans)
    v_plane, d_plane = ((per_span * row // vector | 1) * vector for row in (v_row, d_row))
    sizes = v_plane, v_row, d_plane, d_row, m_plane, vector
    scratch = most_threads(), PLANES * (v_plane + d_plane + OUT_STRIPS * m_plane)
    both = np.array([math.prod(scratch), dw.size * chunks * (chunks > 1)])
    memory = arena.scratch((int(both.sum()),))
    flat = dw.reshape(-1)
    partial = flat.reshape(1, -1) if chunks == 1 else memory[both[0] :].reshape(chunks, dw.size)
    steps = *x.layout.strides[1:], *dy.layout.strides[1:]
    arrays = partial, x.array, dy.array, memory[: both[0]].reshape(scratch)
    gradient = weight_gradient.step(
        chunks * len(pairs), *arrays, tiles, pairs, columns, of_strips, cuts, rows, steps, sizes, spans,
        multiply_adds=total * PLANES * c_in * c_out,
    )
    if chunks == 1:
        return [gradient]
    return [gradient, conv.add_chunks.step(-(-flat.size // SLICE), flat, partial, SLICE)]
