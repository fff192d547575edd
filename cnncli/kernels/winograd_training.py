"""Winograd's convolution by weights that change with every call: their transforms are never written to memory.

For few tiles and many channels: a task has a few strips of outputs. For one block of inputs after the other it
transforms what it reads, inputs and weights, and adds the products to 36 planes of sums, all in memory that stays in
its core's cache. Other tasks transform the same inputs again.
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

# Inputs and strips of outputs of a task: what it needs takes 1.5 MB with 64 tiles. With twice as many strips the inputs
# are transformed half as often, 0.95 of the time, but there are half as many tasks; 32 inputs took 1.09 to 1.15 of the
# time, 128 inputs and one strip 1.13 to 1.3.
BLOCK, STRIPS, LEAST_TASKS = 64, 2, 4
MOST_TILES = 64  # with 128, against transformed weights in memory, 0.93 to 1.07 times as fast; with 64, 1.24 to 1.3


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
    """y = op(convolution of x by w): a task has all tiles of a group of strips of outputs.

    tiles, columns, rows, steps: as for `convolve_blocks`. cuts (C, 2): (first row, rows). own: for each strip, (first
    of its columns, behind them, its width). blocks: (first input, inputs). sources: for each strip and block, (offset
    in w, between its taps, first of `turns`, behind them): if there are any, the weights are turned first, as
    `turn_block` says. sizes: (strips of a group, elements of turned weights, of a plane of inputs, of weights, of
    products, side of the squares to turn, lanes). scratch: memory for each thread.
    """
    size, many = y.itemsize, rows.shape[1]
    per_group, of_turned, v_plane, u_plane, m_plane, side, lanes = sizes
    turned = scratch[thread]
    v = turned.ctypes.data + size * of_turned
    u = v + size * PLANES * v_plane
    m = u + size * PLANES * u_plane
    for task in range(first_task, last_task):
        start, end = task * per_group, min((task + 1) * per_group, own.shape[0])
        for b in range(blocks.shape[0]):
            c_in, inputs = blocks[b]
            block = inputs, v_plane, m_plane, lanes
            transform_inputs(v, x, c_in, 0, many, tiles, rows, steps, block)
            for strip in range(start, end):
                column, behind, width = own[strip]
                source = sources[strip * blocks.shape[0] + b]
                _weights(u, u_plane, w, turned, source, inputs * width, turns, side)
                sums = m + size * (strip - start) * PLANES * m_plane
                for plane in range(PLANES):
                    for c in range(column, behind):
                        to, of = sums + size * columns[c, 4], u + size * columns[c, 4]
                        kind = ACCUMULATE if b else STORE
                        multiply(to, v, (of, u_plane), w, plane, cuts, columns[c], rows, block, kind)
        for strip in range(start, end):
            sums = m + size * (strip - start) * PLANES * m_plane
            for c in range(own[strip, 0], own[strip, 1]):
                to, block = sums + size * columns[c, 4], (0, v_plane, m_plane, lanes)
                transform_back(y, gate, bias, to, 0, many, tiles, columns[c], rows, steps, block, op)


def fits(tiles: int, c_in: int, c_out: int) -> bool:
    """Whether a convolution of so many tiles is for this: its weights are more than its inputs and products."""
    return tiles <= MOST_TILES and c_in * c_out >= tiles * (c_in + c_out)


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


def _sources(c_in, c_out, blocks, backwards):
    """The tables `sources` and `turns` of `convolve_strips`."""
    sources, turns = [], []
    for first, width in strips.strips(c_out):
        for c, inputs in blocks:
            start = len(turns)
            turns += _turned(c_out, c, inputs, (first, width)) if backwards else []
            of = 0 if backwards else first * c_in * TAPS * TAPS + c * width
            sources.append((of, c_in * width, start, len(turns)))
    return np.array(sources, np.int64), np.array(turns, np.int64).reshape(-1, 6)


def plan(axes, c_in: int, c_out: int, buffers, w, bias, op, arena: Arena, backwards: bool):
    """The steps of a convolution along the `axes` of height and width, of the `buffers` y, x and gate.

    If `backwards`, w has c_out inputs and c_in outputs and is turned half a circle.
    """
    y, x, gate = buffers
    vector = lanes(SINGLE, w.itemsize)
    load(w.itemsize)
    transforms.load(w.itemsize)
    for what, buffer, channels in (("x", x, c_in), ("y", y, c_out), ("gate", gate, c_out)):
        check_pixels(what, buffer, channels)
    check_bounds("w", w.size, c_in * c_out * TAPS * TAPS - 1)
    check_bounds("bias", bias.size, (c_out - 1) * (op in BIASED))
    tiles, columns = tile_table(axes, x.layout, y.layout, gate.layout), strips.columns(c_out, 1, 0, 0, w.itemsize)
    found, total = strips.strips(c_out), len(tiles) * len(y.array)
    starts = np.searchsorted(columns[:, 0], [first for first, _ in found] + [c_out])
    own = np.stack([starts[:-1], starts[1:], [width for _, width in found]], 1)
    block = min(c_in, BLOCK)
    blocks = [(c, min(block, c_in - c)) for c in range(0, c_in, block)]
    row, per_group = -(-block // vector) * vector, max(1, min(STRIPS, len(found) // LEAST_TASKS))
    planes = [odd(n, vector) for n in (total * row, block * min(c_out, strips.STRIP), total * strips.STRIP)]
    of_turned = -(-block * min(c_out, strips.STRIP) * TAPS * TAPS // vector) * vector * backwards
    of_thread = of_turned + PLANES * (planes[0] + planes[1] + per_group * planes[2])
    steps = tuple(step for b in (x, y, gate) for step in b.layout.strides[1:])
    rows = np.arange(total) * np.array([[row], [strips.STRIP]])
    tables = tiles, cuts_of((total,), columns)[0], columns, rows, steps, op, own, np.array(blocks, np.int64)
    arrays = y.array, x.array, w.reshape(-1), bias, gate.array, arena.scratch((most_threads(), of_thread))
    sizes = per_group, of_turned, *planes, SIDE[w.itemsize], vector
    given = *arrays, *tables, *_sources(c_in, c_out, blocks, backwards), sizes
    work = total * PLANES * c_in * c_out
    return [convolve_strips.step(-(-len(found) // per_group), *given, multiply_adds=work)]
