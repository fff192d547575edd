"""Dropout (Srivastava et al. 2014), scaled while training, so that inference is the identity."""

from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.kernels import elementwise, normalize
from cnncli.layers.base import DATA, Binding, Layer, register


@register("dropout")
class Dropout(Layer):
    """Sets elements to 0 with probability `rate`, anew for each epoch and sample; the rest grow by 1 / (1 - rate).

    With `spatial` whole channels of an image, whose pixels tell much of each other (Tompson et al. 2015).
    """

    lone = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    spatial: bool = False

    def output_shape(self, shape):
        if self.spatial and not shape.rank:
            raise ValueError("spatial needs an input with spatial axes, not a flat one")
        return shape

    def view(self, training):
        return not training or self.rate == 0

    def bind(self, b: Binding):
        channels, length = b.x.channels, b.x.size[2] * b.x.channels
        kernel, given = elementwise.dropout, (length, self.rate, b.key, b.samples)
        if self.spatial:
            factors = b.arena.take((len(b.x.array), normalize.period(channels, length)))
            kernel, given = elementwise.channel_dropout, (length, channels, factors, *given[1:])

        def step(to, of):
            rows = np.stack([to.row_starts, of.row_starts])
            return kernel.step(len(to.array), to.array, of.array, rows, *given)

        return [step(b.y, b.x)], [(DATA, [step(b.dx, b.dy)])] if b.dx is not None else []
