"""Maximum and average pooling over windows (Goodfellow et al. 2016, section 9.3), or over the whole image. Padding is
never pooled.
"""

import math

import numpy as np
from pydantic import model_validator

from cnncli.kernels import geometry, global_pool, normalize, pool
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.geometry import Axis
from cnncli.kernels.tile import SINGLE
from cnncli.layers.base import (
    DATA,
    NO_BORDER,
    WEIGHT,
    Binding,
    Layer,
    Padding,
    Parameter,
    PerAxis,
    Shape,
    register,
    window_axes,
)
from cnncli.layers.initializers import Constant


class Windows(Layer):
    """What takes one number from each window of its input."""

    def axes(self, shape: Shape) -> tuple[Axis, Axis, Axis]:
        """The windows along each axis."""
        raise NotImplementedError

    def window(self, shape):
        axes = self.axes(shape)
        return tuple((a.kernel - 1) * a.dilation + 1 for a in axes), tuple(a.stride for a in axes)

    def tiled(self, shape) -> bool:
        """Whether each element is in one window: else their gradient is cleared, and added to."""
        axes = self.axes(shape)
        covers = all(a.stride == a.kernel and not a.before and a.out * a.kernel == a.size for a in axes)
        return covers and all(a.dilation == 1 for a in axes)

    def tables(self, shape, source, results):
        """The windows' tables from a buffer to others, and their phases as an array."""
        groups = [geometry.forward_groups(axis) for axis in self.axes(shape)]
        layouts = [getattr(r, "layout", r) for r in results]
        tables = geometry.tables(groups, source.layout, layouts, (0, 0, 0))
        last = shape.channels - 1
        for row, count, tap, taps in tables.phases:
            window = tables.rows[0, row : row + count], tables.taps[0, tap : tap + taps]
            geometry.check_bounds("pooled", source.layout.elements, *window, last)
        for layout, places in zip(layouts, tables.rows[1:], strict=True):
            geometry.check_bounds("pool", layout.elements, places, last)
        return tables.rows, np.ascontiguousarray(tables.taps[0]), np.array(tables.phases, np.int64)


class Pool(Windows):
    """Windows of a size. `stride` is the window's size unless given."""

    lone = "size"

    size: PerAxis
    stride: PerAxis | None = None
    padding: Padding = "valid"
    dilation: PerAxis = 1

    def axes(self, shape):
        stride = self.size if self.stride is None else self.stride
        axes = window_axes(shape, self.size, stride, self.dilation, self.padding)
        for axis in axes:
            start = np.arange(axis.out) * axis.stride - axis.before
            tap = np.maximum(0, -(start // axis.dilation))  # the first one behind the padding
            if np.any((tap >= axis.kernel) | (start + tap * axis.dilation >= axis.size)):
                raise ValueError(f"a window of {axis.kernel} would lie in the padding alone")
        return axes

    def output_shape(self, shape):
        return Shape(tuple(axis.out for axis in self.axes(shape)), shape.channels, shape.rank)


class Maximum(Windows):
    """The largest value of each window; among equals the first counts."""

    gate = True

    def bind(self, b: Binding):
        x, y, packed = b.x.array, b.y.array, geometry.packed(b.y.size, b.y.channels)
        arg = b.arena.take((x.shape[0], packed.elements), np.int32)
        columns = geometry.columns(b.y.channels, 1, 0, 0, y.itemsize, widest=SINGLE)
        rows, taps, phases = self.tables(b.shape, b.x, [b.y, packed])
        forward = [pool.max_pool.step(len(y), y, arg, x, rows, taps, phases, columns)]
        if b.dx is None:
            return forward, []
        dx, dy = b.dx.array, b.dy.array
        back_rows, back_taps, _ = self.tables(b.shape, b.dx, [b.dy, packed, b.y])
        tables, overlap = (back_rows, back_taps, phases, columns), not self.tiled(b.shape)
        backward = pool.max_pool_gradient.step(len(dx), dx, dy, arg, y, *tables, b.gated, overlap)
        return forward, [(DATA, [backward])]


@register("max_pool")
class MaxPool(Maximum, Pool):
    """The largest value of each window; among equals the first counts."""


@register("avg_pool")
class AvgPool(Pool):
    """The mean of each window: over its elements inside the input, or with `count_padding` over its whole size.

    With `trainable`, LeNet-5's sub-sampling (LeCun et al. 1998, section II.B): the sum of each window times a learned
    coefficient of its channel, plus a learned bias. It begins as the mean.
    """

    count_padding: bool = False
    trainable: bool = False

    @model_validator(mode="after")
    def counts_no_padding_of_sums(self):
        if self.trainable and self.count_padding:
            raise ValueError("with trainable it sums its windows: count_padding has no meaning")
        return self

    def parameters(self, shape):
        if not self.trainable:
            return {}
        size, mean = (shape.channels,), 1 / math.prod(axis.kernel for axis in self.axes(shape))
        return {
            name: Parameter(size, size, (1, 1), Constant(constant=value), decays=False)
            for name, value in (("weight", mean), ("bias", 0.0))
        }

    def bind(self, b: Binding):
        return self._bind_trained(b) if self.trainable else self._bind_mean(b)

    def _bind_mean(self, b: Binding):
        x, y, channels = b.x.array, b.y.array, b.x.channels
        rows, taps, phases = self.tables(b.shape, b.x, [b.y])
        whole = math.prod(axis.kernel for axis in self.axes(b.shape))
        scales = (1 / np.where(self.count_padding, whole, phases[:, 3])).astype(x.dtype)
        forward = [pool.average_pool.step(len(y), y, x, rows, taps, phases, scales, channels)]
        if b.dx is None:
            return forward, []
        dx, dy = b.dx.array, b.dy.array
        back_rows, back_taps, _ = self.tables(b.shape, b.dx, [b.dy])
        backward = pool.average_pool_gradient.step(len(dx), dx, dy, back_rows, back_taps, phases, scales, channels)
        return forward, [(DATA, [backward])]

    def _bind_trained(self, b: Binding):
        """The sums, then what a normalisation by fixed moments does: a scale and a shift of each channel."""
        x, channels, length, starts = b.x.array, b.x.channels, b.y.size[2] * b.x.channels, b.y.row_starts
        weight, zeros, ones = b.parameters["weight"], np.zeros(channels, x.dtype), np.ones(channels, x.dtype)
        sums, period = new_buffer(b.arena, len(x), b.y, NO_BORDER), normalize.period(channels, length)
        rows, taps, phases = self.tables(b.shape, b.x, [sums])
        unscaled, many = np.ones(len(phases), x.dtype), len(x) * len(starts)

        def scaled(to, of, bias):
            terms = b.arena.take((3, period))
            places = np.stack([to.row_starts, of.row_starts, of.row_starts])
            return [
                normalize.fixed_statistics.step(channels, terms, weight, bias, zeros, ones, 0.0),
                normalize.normalize.step(many, to.array, of.array, of.array, places, length, terms, False, False),
            ]

        pooled = pool.average_pool.step(len(x), sums.array, x, rows, taps, phases, unscaled, channels)
        forward = [pooled, *scaled(b.y, sums, b.parameters["bias"])]
        if b.dy is None:
            return forward, []
        tasks = normalize.chunks(many, length)
        partial, origin = b.arena.take((tasks, 2, period)), b.arena.take((period,))
        places, learned = np.stack([b.dy.row_starts, sums.row_starts]), (b.gradients[n] for n in ("weight", "bias"))
        backward = [
            normalize.products.step(tasks, partial, origin, b.dy.array, sums.array, places, length),
            normalize.gradient_terms.step(channels, b.arena.take((3, period)), *learned, partial, weight, ones, 1.0),
        ]
        if b.dx is None:
            return forward, [(WEIGHT, backward)]
        dsums, dx = new_buffer(b.arena, len(x), b.y, NO_BORDER), b.dx.array
        back_rows, back_taps, _ = self.tables(b.shape, b.dx, [dsums])
        tables = back_rows, back_taps, phases, unscaled, channels
        spread = pool.average_pool_gradient.step(len(dx), dx, dsums.array, *tables)
        return forward, [(WEIGHT, backward), (DATA, [*scaled(dsums, b.dy, zeros), spread])]


class Global(Windows):
    """One window, the whole image: a flat output, one number a channel."""

    def output_shape(self, shape):
        if not shape.rank:
            raise ValueError("it needs an input with spatial axes, not a flat one")
        return Shape((1, 1, 1), shape.channels, 0)

    def axes(self, shape):
        return tuple(Axis(size, 1, size, size, 1, 0) for size in shape.size)


@register("global_max_pool")
class GlobalMaxPool(Maximum, Global):
    """The largest value of each channel over the whole image; among equals the first counts."""


@register("global_avg_pool")
class GlobalAvgPool(Global):
    """The mean of each channel over the whole image (Lin et al. 2014)."""

    gate = True

    def bind(self, b: Binding):
        x, y, rows, pixels = b.x.array, b.y.array, b.x.row_starts, b.x.size[2]
        scale = x.dtype.type(1 / math.prod(b.x.size))
        forward = [global_pool.global_average.step(len(y), y, x, rows, pixels, scale)]
        if b.dx is None:
            return forward, []
        dx, dy, back_rows = b.dx.array, b.dy.array, np.stack([b.dx.row_starts, rows])
        given = dx, dy, x, back_rows, pixels, scale, b.gated
        return forward, [(DATA, [global_pool.global_average_gradient.step(len(dx), *given)])]
