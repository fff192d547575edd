"""Group normalisation (Wu and He 2018), which holds layer and instance normalisation."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from cnncli.kernels import group_norm as kernels
from cnncli.kernels import normalize
from cnncli.layers.base import DATA, WEIGHT, Binding, Dimension, Layer, Parameter, register
from cnncli.layers.dense import in_field_order
from cnncli.layers.initializers import Constant


@register("group_norm")
class GroupNorm(Layer):
    """Gives each group of channels of each image mean 0 and variance 1, then each channel a learned scale and shift.

    One group is layer normalisation over the whole image (Ba et al. 2016), `groups: channels` instance normalisation,
    each channel by itself (Ulyanov et al. 2016). Training and inference do the same.
    """

    lone = "groups"
    fuse_relu = True
    fuse_add = True

    groups: Dimension | Literal["channels"]
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5

    def _groups(self, shape) -> int:
        groups = shape.channels if self.groups == "channels" else self.groups
        if shape.channels % groups:
            raise ValueError(f"its {groups} groups do not divide the {shape.channels} channels")
        if groups > 1 and shape.mixed:
            raise ValueError("a flattened image has no groups of channels: put it before `flatten`")
        return groups

    def output_shape(self, shape):
        self._groups(shape)
        return shape

    def parameters(self, shape):
        size, order = (shape.channels,), in_field_order(shape)
        return {
            name: Parameter(size, size, (1, 1), Constant(constant=value), decays=False, **order)
            for name, value in (("weight", 1.0), ("bias", 0.0))
        }

    def bind(self, b: Binding):
        x, y, length, groups = b.x.array, b.y.array, b.x.size[2] * b.x.channels, self._groups(b.shape)
        weight, images, other = b.parameters["weight"], len(x), b.added or b.x
        width = normalize.period(b.x.channels, length)
        terms, sums, saved = (b.arena.take((images, *of)) for of in ((3, width), (2, width), (groups,)))
        rows = np.stack([of.row_starts for of in (b.y, b.x, other)])
        options = weight, b.parameters["bias"], groups, self.eps, b.added is not None, b.relu
        forward = [kernels.group_normalize.step(images, y, x, other.array, rows, length, terms, sums, saved, *options)]
        if b.dy is None:
            return forward, []
        dy, dweight, dbias = b.dy.array, b.gradients["weight"], b.gradients["bias"]
        back_rows = np.stack([b.dy.row_starts, b.x.row_starts])
        backward = [
            kernels.group_products.step(images, sums, terms, dy, x, back_rows, length),
            kernels.group_weight_gradient.step(len(dweight), dweight, dbias, sums, saved),
        ]
        if b.dx is None:
            return forward, [(WEIGHT, backward)]
        dx_rows, work = np.stack([b.dx.row_starts, *back_rows]), b.arena.take((images, 3, width))
        known = terms, sums, saved, weight, work
        data = kernels.group_normalize_gradient.step(images, b.dx.array, dy, x, dx_rows, length, *known)
        return forward, [(WEIGHT, backward), (DATA, [data])]
