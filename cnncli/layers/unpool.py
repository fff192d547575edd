"""Putting values back to where a max pooling took its maxima from (Zeiler and Fergus 2014, section 2.1)."""

from fractions import Fraction

import numpy as np

from cnncli.kernels import geometry, pool, unpool
from cnncli.kernels.buffer import Buffer
from cnncli.kernels.tile import SINGLE
from cnncli.layers.base import DATA, NO_BORDER, Binding, Layer, Name, register
from cnncli.layers.pool import MaxPool


@register("unpool")
class Unpool(Layer):
    """Undoes the max_pool named `of`: the largest elements come back to their places, the others as 0.

    `spec.nodes` puts an `Unpooling` in its place.
    """

    lone = "of"
    of: Name

    def others(self):
        return (self.of,)


class Unpooling(Layer):
    """What an `unpool` is once its pooling is known: it reads what `pooling` reads, then the values to put back to it.

    Elements that are no maximum become 0; what overlapping windows put to one place is summed. Where the maxima are is
    found anew: the pooling may have run as part of another layer. They have no slope, so the values alone get a
    gradient.
    """

    kind = "unpool"
    constants = 1
    pooling: MaxPool

    def output_shape(self, before, shape):
        pooled = self.pooling.output_shape(before)
        if (pooled.size, pooled.channels) != (shape.size, shape.channels):
            raise ValueError(f"its input is {shape}, what the pooling makes {pooled}: they must be alike")
        return before

    def window(self, shape):
        spans, strides = self.pooling.window(shape)
        windows = tuple(-(-span // stride) for span, stride in zip(spans, strides, strict=True))
        return windows, tuple(Fraction(1, stride) for stride in strides)

    def bind(self, b: Binding):
        (before, *_), (x, dx, *_) = b.joined
        images, tiled = len(x.array), self.pooling.tiled(b.shape)
        places = geometry.packed(x.size, x.channels)
        maxima = Buffer(b.arena.scratch((images, places.elements)), x.size, x.channels, NO_BORDER)
        arg = b.arena.take((images, places.elements), np.int32)
        columns = geometry.columns(x.channels, 1, 0, 0, x.array.itemsize, widest=SINGLE)
        rows, taps, phases = self.pooling.tables(b.shape, before, [maxima, places])
        back_rows, back_taps, _ = self.pooling.tables(b.shape, b.y, [x, places, x])
        tables = back_rows, back_taps, phases, columns
        forward = [
            pool.max_pool.step(images, maxima.array, arg, before.array, rows, taps, phases, columns),
            pool.max_pool_gradient.step(images, b.y.array, x.array, arg, x.array, *tables, False, not tiled),
        ]
        if dx is None:
            return forward, []
        taken_rows, taken_taps, _ = self.pooling.tables(b.shape, b.dy, [dx, places])
        taken = dx.array, b.dy.array, arg, taken_rows, taken_taps, phases, x.channels
        return forward, [(DATA, [unpool.take_maxima.step(images, *taken)])]
