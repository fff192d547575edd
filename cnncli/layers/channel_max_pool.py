"""Pooling over channels: maxout (Goodfellow et al. 2013), learned invariance (Goodfellow et al. 2016, figure 9.9)."""

import numpy as np

from cnncli.kernels import channel_pool
from cnncli.layers.base import DATA, Binding, Dimension, Layer, Shape, register


@register("channel_max_pool")
class ChannelMaxPool(Layer):
    """The largest of each group of `size` neighbouring channels, at each pixel. `stride` is the group's size unless
    given; channels that fill no group are left out.
    """

    lone = "size"

    size: Dimension
    stride: Dimension | None = None

    def _groups(self, shape) -> tuple[int, int, int]:
        """(channels, size, stride)."""
        if self.size > shape.channels:
            raise ValueError(f"its groups of {self.size} are larger than the {shape.channels} channels")
        if shape.mixed:
            raise ValueError("a flattened image has no neighbouring channels: put it before `flatten`")
        return shape.channels, self.size, self.stride or self.size

    def output_shape(self, shape):
        channels, size, stride = self._groups(shape)
        return Shape(shape.size, (channels - size) // stride + 1, shape.rank)

    def bind(self, b: Binding):
        x, y, groups = b.x.array, b.y.array, (b.x.size[2], *self._groups(b.shape))
        arg = b.arena.take((len(x), b.y.channels * np.prod(b.y.size)), np.int32)
        forward = [
            channel_pool.channel_max.step(len(y), y, arg, x, np.stack([b.y.row_starts, b.x.row_starts]), *groups)
        ]
        if b.dx is None:
            return forward, []
        dx, dy, back_rows = b.dx.array, b.dy.array, np.stack([b.dx.row_starts, b.dy.row_starts])
        return forward, [(DATA, [channel_pool.channel_max_gradient.step(len(dx), dx, dy, arg, back_rows, *groups)])]
