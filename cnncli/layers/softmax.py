"""Softmax over channels: of a flat input over its numbers, of an image at each pixel by itself."""

from typing import ClassVar

import numpy as np

from cnncli.kernels import softmax
from cnncli.layers.base import DATA, Binding, Layer, register


@register("softmax")
class Softmax(Layer):
    """exp(x) over its sum. The loss softmax_cross_entropy has one of its own: no layer is needed before it."""

    logarithm: ClassVar[bool] = False

    def bind(self, b: Binding):
        y, dx, dy, given = b.y, b.dx, b.dy, (b.x.size[2], b.x.channels, self.logarithm)
        rows = np.stack([y.row_starts, b.x.row_starts])
        forward = [softmax.channel_softmax.step(len(y.array), y.array, b.x.array, rows, *given)]
        if dx is None:
            return forward, []
        back_rows = np.stack([dx.row_starts, dy.row_starts, y.row_starts])
        arrays = dx.array, dy.array, y.array
        return forward, [(DATA, [softmax.channel_softmax_gradient.step(len(dx.array), *arrays, back_rows, *given)])]


@register("log_softmax")
class LogSoftmax(Softmax):
    """The logarithm of softmax, x - log(sum of exp(x))."""

    logarithm: ClassVar[bool] = True
