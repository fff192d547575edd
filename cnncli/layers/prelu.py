"""The relu whose slope below 0 is learned (He et al. 2015, "Delving Deep into Rectifiers")."""

from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.kernels import normalize, prelu
from cnncli.layers.base import DATA, WEIGHT, Binding, Layer, Parameter, register
from cnncli.layers.dense import in_field_order
from cnncli.layers.initializers import Constant


@register("prelu")
class Prelu(Layer):
    """x where positive, else slope * x: a slope for each channel, or one `shared` by all. No weight decay, as there."""

    lone = "slope"

    slope: Annotated[float, Field(allow_inf_nan=False)] = 0.25
    shared: bool = False

    def parameters(self, shape):
        size = (1 if self.shared else shape.channels,)
        return {
            "weight": Parameter(
                size,
                size,
                (1, 1),
                Constant(constant=self.slope),
                decays=False,
                **({} if self.shared else in_field_order(shape)),
            )
        }

    def bind(self, b: Binding):
        x, y, channels, length = b.x.array, b.y.array, b.x.channels, b.x.size[2] * b.x.channels
        starts, weight = b.x.row_starts, b.parameters["weight"]
        tasks, width = normalize.chunks(len(x) * len(starts), length), normalize.period(channels, length)
        slopes = b.arena.take((tasks, width))
        rows = np.stack([b.y.row_starts, starts])
        forward = [prelu.prelu.step(tasks, y, x, rows, length, slopes, weight)]
        if b.dy is None:
            return forward, []
        into, dweight = b.dx or b.dy, b.gradients["weight"]
        partial, back_rows = b.arena.take((tasks, width)), np.stack([into.row_starts, b.dy.row_starts, starts])
        wanted = b.dx is not None
        gradient = prelu.prelu_gradient.step(
            tasks, into.array, partial, b.dy.array, x, back_rows, length, slopes, wanted
        )
        return forward, [
            (DATA if wanted else WEIGHT, [gradient]),
            (WEIGHT, [prelu.fold_periods.step(len(dweight), dweight, partial)]),
        ]
