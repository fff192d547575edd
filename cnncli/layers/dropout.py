"""Dropout (Srivastava et al. 2014), scaled while training, so that inference is the identity."""

from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.kernels import elementwise
from cnncli.layers.base import DATA, Binding, Layer, register


@register("dropout")
class Dropout(Layer):
    """Sets elements to 0 with probability `rate`, anew for each epoch and sample; the rest grow by 1 / (1 - rate)."""

    lone = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def view(self, training):
        return not training or self.rate == 0

    def bind(self, b: Binding):
        x, y, rate, key, samples = b.x.array, b.y.array, self.rate, b.key, b.samples
        rows, length = np.stack([b.y.row_starts, b.x.row_starts]), b.x.size[2] * b.x.channels
        forward = [elementwise.dropout.step(len(y), y, x, rows, length, rate, key, samples)]
        if b.dx is None:
            return forward, []
        dx, dy, back_rows = b.dx.array, b.dy.array, np.stack([b.dx.row_starts, b.dy.row_starts])
        backward = elementwise.dropout.step(len(dx), dx, dy, back_rows, length, rate, key, samples)
        return forward, [(DATA, [backward])]
