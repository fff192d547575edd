"""Winograd's convolution by weights that change with every call: their transforms are never written to memory.

A task has a chunk of the tiles and a few strips of outputs. For one block of inputs after the other it transforms what
it reads, inputs and weights, and adds the products to 36 planes of sums, all in memory that stays in its core's cache.
"""

import numpy as np
from numba import njit

from cnncli.kernels import most_threads, strips, transforms
from cnncli.kernels.buffer import Arena
from cnncli.kernels.geometry import check_bounds
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import ACCUMULATE, BIASED, SINGLE, STORE, lanes, load
from cnncli.kernels.transforms import PLANES, TAPS, weight_tile
from cnncli.kernels.turn import SIDE, turn_block
from cnncli.kernels.winograd_tiles import (
    check_pixels,
    cuts_of,
    multiply,
    odd,
    tile_table,
    transform_back,
    transform_inputs,
)

BLOCK, STRIPS, CHUNK = 64, 2, 64  # inputs, strips of outputs and tiles that a task has in its cache, at most


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _weights(u, u_plane, w, turned, source, count, turns, side):
    """The transforms of a block's weights for a strip, to the address u."""
    of, plane, first, behind = source
    size = w.itemsize
    start = w.ctypes.data + size * of
    if first < behind:
        start, plane = turned.ctypes.data + 0, count
        for block in range(first, behind):
            turn_block(turned, w, turns, block, behind, 0, side)
    for e in range(0, count, side):
        weight_tile(w, (u + size * e, u_plane), (start + size * e, TAPS * plane, plane), (count - e,))


@kernel
def convolve_strips(
    first_task, last_task, thread, y, x, w, bias, gate, scratch, tiles, cuts, columns, rows, steps, op, own, blocks,
    sources, turns, sizes,
):  # fmt: skip
    """y = op(convolution of x by w): a task has everything of a chunk of tiles and of a group of strips of outputs.

    tiles, cuts, columns, rows, steps: as for `convolve_blocks`. own: for each strip, (first of its columns, behind
    them, its width). blocks: (first input, inputs). sources: for each strip and block, (offset in w, between its taps,
    first of `turns`, behind them): if there are any, the weights are turned first, as `turn_block` says. sizes: (strips
    of a group, elements of turned weights, of a plane of inputs, of weights, of products, side of squares to turn,
    lanes). scratch: memory for each thread.
    """
    size, total, per_chunk = y.itemsize, y.shape[0] * tiles.shape[0], rows.shape[1]
    per_group, of_turned, v_plane, u_plane, m_plane, side, lanes = sizes
    chunks = (total + per_chunk - 1) // per_chunk
    turned = scratch[thread]
    v = turned.ctypes.data + size * of_turned
    u = v + size * PLANES * v_plane
    m = u + size * PLANES * u_plane
    for task in range(first_task, last_task):
        first, start = task % chunks * per_chunk, task // chunks * per_group
        end, many = min(start + per_group, own.shape[0]), min(per_chunk, total - first)
        cut = cuts[1 if many < per_chunk else 0]
        for b in range(blocks.shape[0]):
            c_in, inputs = blocks[b]
            block = inputs, v_plane, m_plane, lanes
            transform_inputs(v, x, c_in, first, many, tiles, rows, steps, block)
            for strip in range(start, end):
                column, behind, width = own[strip]
                source = sources[strip * blocks.shape[0] + b]
                _weights(u, u_plane, w, turned, source, inputs * width, turns, side)
                sums = m + size * (strip - start) * PLANES * m_plane
                for plane in range(PLANES):
                    for c in range(column, behind):
                        to, of = sums + size * columns[c, 4], u + size * columns[c, 4]
                        kind = ACCUMULATE if b else STORE
                        multiply(to, v, (of, u_plane), w, plane, cut, columns[c], rows, block, kind)
        for strip in range(start, end):
            sums = m + size * (strip - start) * PLANES * m_plane
            for c in range(own[strip, 0], own[strip, 1]):
                to, block = sums + size * columns[c, 4], (0, v_plane, m_plane, lanes)
                transform_back(y, gate, bias, to, first, many, tiles, columns[c], rows, steps, block, op)


def _turned(c_in, first, inputs, of_strip):
    """How a block of weights is turned for a strip: the blocks of weights that `turn_block` takes, taps backwards.

    The inputs here are the outputs of the weights, and the strip's outputs their `c_in` inputs.
    """
    row, height = of_strip
    found = []
    for tap in range(TAPS * TAPS):
        for column, width in strips.strips(first + inputs):
            if column >= first:
                of = column * TAPS * TAPS * c_in + (tap * c_in + row) * width
                to = ((TAPS * TAPS - 1 - tap) * inputs + column - first) * height
                found.append((of, width, to, height, height, width))
    return found


def plan(axes, c_in: int, c_out: int, arrays, w, bias, op, arena: Arena, backwards: bool):
    """The steps of a convolution along the `axes` of height and width, of `arrays` y, x and gate.

    `backwards` by the weights of c_out inputs and c_in outputs, turned half a circle.
    """
    y, x, gate = arrays
    itemsize, vector = w.itemsize, lanes(SINGLE, w.itemsize)
    load(itemsize)
    transforms.load(itemsize)
    for what, buffer, channels in (("x", x, c_in), ("y", y, c_out), ("gate", gate, c_out)):
        check_pixels(what, buffer, channels)
    check_bounds("w", w.size, c_in * c_out * TAPS * TAPS - 1)
    check_bounds("bias", bias.size, (c_out - 1) * (op in BIASED))
    tiles, columns = tile_table(axes, x.layout, y.layout, gate.layout), strips.columns(c_out, 1, 0, 0, itemsize)
    found, total = strips.strips(c_out), len(tiles) * len(y.array)
    per_chunk = -(-total // -(-total // CHUNK))
    wanted = -(-c_in // -(-c_in // BLOCK))
    block = min(c_in, -(-wanted // strips.STRIP) * strips.STRIP)
    blocks = [(c, min(block, c_in - c)) for c in range(0, c_in, block)]
    own, sources, turns = [], [], []
    for first, width in found:
        mine = np.flatnonzero((columns[:, 0] >= first) & (columns[:, 0] < first + width))
        own.append((mine[0], mine[-1] + 1, width))
        for c, inputs in blocks:
            more = _turned(c_out, c, inputs, (first, width)) if backwards else []
            of = first * c_in * TAPS * TAPS + c * width
            sources.append((0 if backwards else of, c_in * width, len(turns), len(turns) + len(more)))
            turns += more
    width = min(c_out, strips.STRIP)
    row = -(-block // vector) * vector
    planes = [odd(n, vector) for n in (per_chunk * row, block * width, per_chunk * strips.STRIP)]
    of_turned = -(-block * width * TAPS * TAPS // vector) * vector * backwards
    of_thread = of_turned + PLANES * (sum(planes[:2]) + min(STRIPS, len(own)) * planes[2])
    steps = tuple(step for b in (x, y, gate) for step in b.layout.strides[1:])
    rows = np.arange(per_chunk) * np.array([[row], [strips.STRIP]])
    scratch = arena.scratch((most_threads(), of_thread))
    tables = [
        np.array(table, np.int64).reshape(-1, n) for table, n in ((own, 3), (blocks, 2), (sources, 4), (turns, 6))
    ]
    sizes = STRIPS, of_turned, *planes, SIDE[itemsize], vector
    step = convolve_strips.step(
        -(-total // per_chunk) * -(-len(own) // STRIPS),
        y.array, x.array, w.reshape(-1), bias, gate.array, scratch,
        tiles, cuts_of((per_chunk, total % per_chunk or per_chunk), columns), columns, rows, steps, op, *tables, sizes,
        multiply_adds=total * PLANES * c_in * c_out,
    )  # fmt: skip
    return [step]
