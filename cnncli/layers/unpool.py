"""Putting values back to where a max pooling took its maxima from (Zeiler and Fergus 2014, section 2.1)."""

import numpy as np

from cnncli.kernels import geometry, pool, unpool
from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.kernels.tile import SINGLE
from cnncli.layers.base import DATA, NO_BORDER, Backward, Shape
from cnncli.layers.pool import MaxPool


def output_shape(of: MaxPool, before: Shape, shape: Shape) -> Shape:
    """The shape that an input of `shape` is put back to: `before`, that of the input of the pooling `of`."""
    pooled = of.output_shape(before)
    if (pooled.size, pooled.channels) != (shape.size, shape.channels):
        raise ValueError(f"its input is {shape}, what the pooling makes {pooled}: they must be alike")
    return before


def plan(
    of: MaxPool, shape: Shape, pooled: Buffer, x: Buffer, y: Buffer, dx: Buffer | None, dy: Buffer | None, arena: Arena
) -> tuple[list, Backward]:
    """Forward and backward of an unpooling of x to y, both of `shape` images `pooled`, the input of the pooling `of`.

    Elements that are no maximum become 0; what overlapping windows put to one place is summed. Where the maxima are is
    found anew: the pooling may have run as part of another layer. They are no function of `pooled`, so that alone x has
    a gradient.
    """
    places = geometry.packed(x.size, x.channels)
    maxima, arg = new_buffer(arena, len(x.array), x, NO_BORDER), arena.take((len(x.array), places.elements), np.int32)
    columns = geometry.columns(x.channels, 1, 0, 0, x.array.itemsize, widest=SINGLE)
    rows, taps, phases = of.tables(shape, pooled, [maxima, places])
    back_rows, back_taps, _ = of.tables(shape, y, [x, places, x])
    tables = back_rows, back_taps, phases, columns
    forward = [
        pool.max_pool.step(len(x.array), maxima.array, arg, pooled.array, rows, taps, phases, columns),
        pool.max_pool_gradient.step(len(x.array), y.array, x.array, arg, x.array, *tables, False, not of.tiled(shape)),
    ]
    if dx is None:
        return forward, []
    taken_rows, taken_taps, _ = of.tables(shape, dy, [dx, places])
    taken = dx.array, dy.array, arg, taken_rows, taken_taps, phases, x.channels
    return forward, [(DATA, [unpool.take_maxima.step(len(dx.array), *taken)])]
