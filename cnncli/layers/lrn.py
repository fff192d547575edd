"""Local response normalisation (Krizhevsky et al. 2012, section 3.3)."""

from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from cnncli.kernels import lrn, most_threads
from cnncli.layers.base import DATA, Binding, Dimension, Layer, register

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@register("lrn")
class Lrn(Layer):
    """x / (k + alpha / size * the sum of x^2 over `size` neighbouring channels)^beta, as in PyTorch and ONNX.

    AlexNet's own formula has no division by `size`: its alpha of 0.0001 is 0.0005 here.
    """

    lone = "size"

    size: Dimension = 5
    alpha: Positive = 1e-4
    beta: Positive = 0.75
    k: Positive = 1.0

    @field_validator("size")
    @classmethod
    def is_odd(cls, size):
        if size % 2 == 0:
            raise ValueError(f"expected an odd number, which has a channel in the middle, found {size}")
        return size

    def output_shape(self, shape):
        if shape.mixed:
            raise ValueError("a flattened image has no neighbouring channels: put it before `flatten`")
        return shape

    def bind(self, b: Binding):
        x, y, pixels, channels = b.x.array, b.y.array, b.x.size[2], b.x.channels
        reach, factor = min(self.size // 2, channels - 1), self.alpha / self.size
        size, rows = (len(x), b.shape.elements), np.stack([b.y.row_starts, b.x.row_starts])
        divisor = b.arena.scratch(size) if b.dx is None else b.arena.take(size)
        given = rows, pixels, channels, reach, factor, self.k, self.beta
        forward = [lrn.local_response.step(len(y), y, x, divisor, *given)]
        if b.dx is None:
            return forward, []
        dx, dy = b.dx.array, b.dy.array
        back_rows = np.stack([of.row_starts for of in (b.dx, b.dy, b.x)])
        arrays = dx, dy, x, divisor, b.arena.take((most_threads(), 2, channels))
        given = back_rows, pixels, channels, reach, factor, self.beta
        return forward, [(DATA, [lrn.local_response_gradient.step(len(dx), *arrays, *given)])]
