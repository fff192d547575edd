"""Convolution in one to three dimensions: cross-correlation, as in every framework (Goodfellow et al. 2016, ch. 9).

With `flip` the weights are those of the convolution of the textbooks, y[i] = sum of x[i - m] k[m]: the same sums with
the kernels turned round, which they are on their way to and from files. `connections` are those of LeNet-5: which
inputs each filter sees. The other weights are zeros to the kernels, and stay zero.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from cnncli.kernels import pixel_convolution, untied
from cnncli.kernels.convolution import Convolution, plan_bias_gradient
from cnncli.kernels.geometry import packed
from cnncli.kernels.grouped_convolution import convolution_of
from cnncli.layers import conv_weights
from cnncli.layers.base import (
    BIASES,
    DATA,
    WEIGHT,
    Binding,
    Dimension,
    Init,
    Learner,
    Padding,
    PerAxis,
    Shape,
    register,
    window_axes,
)
from cnncli.layers.initializers import He

Channel = Annotated[int, Field(ge=0, le=65535)]


@register("conv")
class Conv(Learner):
    """Slides `filters` kernels over the input and adds a bias."""

    lone = "filters"
    fuse_relu = True
    fuse_add = True
    gate = True
    accumulate = True
    scalable = True
    learns_patches = True

    filters: Dimension
    kernel: PerAxis = 3
    stride: PerAxis = 1
    padding: Padding = "valid"
    dilation: PerAxis = 1
    groups: Dimension = 1
    bias: bool | Literal["untied"] = True
    init: Init = He()
    flip: bool = False
    connections: Literal["lenet5"] | list[Annotated[list[Channel], Field(min_length=1)]] | None = None
    algorithm: Literal["auto", "direct", "winograd"] = "auto"

    def _convolution(self, shape: Shape) -> Convolution:
        for count, what in ((shape.channels, "input channels"), (self.filters, "filters")):
            if count % self.groups:
                raise ValueError(f"its {count} {what} do not divide into {self.groups} groups")
        if self.connections and self.groups > 1:
            raise ValueError("it takes connections or groups, not both")
        axes = window_axes(shape, self.kernel, self.stride, self.dilation, self.padding)
        return convolution_of(axes, shape.channels, self.filters, self.groups, self.algorithm)

    def output_shape(self, shape):
        self._pairs(shape)
        return Shape(tuple(axis.out for axis in self._convolution(shape).axes), self.filters, shape.rank)

    def parameters(self, shape):
        convolution = self._convolution(shape)
        _, *kernel, c_in, c_out = convolution.weight_shape
        fans = c_in * math.prod(kernel), c_out * math.prod(kernel)
        weight = conv_weights.weight(convolution, shape.rank, fans, self.init)
        if self.flip:
            weight = conv_weights.flipped(weight)
        if pairs := self._pairs(shape):
            weight = conv_weights.connected(weight, pairs)
        if not self.bias:
            return {"weight": weight}
        if self.bias == "untied":
            return {"weight": weight, "bias": conv_weights.untied_bias(self.output_shape(shape))}
        return {"weight": weight, "bias": conv_weights.bias(self.filters)}

    def _pairs(self, shape: Shape) -> Sequence[Sequence[int]] | None:
        """The input channels that each filter sees, None where it sees all."""
        if self.connections is None:
            return None
        pairs = conv_weights.LENET5 if self.connections == "lenet5" else self.connections
        return conv_weights.checked(pairs, self.filters, shape.channels)

    def border(self, shape):
        return self._convolution(shape).border

    def gradient_border(self, shape):
        return self._convolution(shape).gradient_border

    def window(self, shape):
        axes = self._convolution(shape).axes
        return tuple((a.kernel - 1) * a.dilation + 1 for a in axes), tuple(a.stride for a in axes)

    def multiply_adds(self, shape):
        convolution, pairs = self._convolution(shape), self._pairs(shape)
        if pairs is None:
            return convolution.multiply_adds
        return convolution.multiply_adds * sum(map(len, pairs)) // (shape.channels * self.filters)

    def pools(self, shape, window):
        return self.bias != "untied" and pixel_convolution.suits(self._convolution(shape), window)

    def _bind_pooled(self, b: Binding, weight, bias):
        """Convolution, relu and 2x2 maximum in one pass: the whole map is never written."""
        convolution, arg = self._convolution(b.shape), None
        if b.dy is not None:
            arg = b.arena.take((len(b.y.array), packed(b.y.size, self.filters).elements), np.int32)
        forward = pixel_convolution.plan_pooled(convolution, b.y, arg, b.x, weight, bias, b.relu)
        if b.dy is None:
            return forward, []
        of_bias = b.gradients["bias"] if self.bias else np.zeros_like(bias)
        gradients = b.gradients["weight"], of_bias, b.x, b.dy, arg, b.y if b.relu else None, b.arena
        return forward, [(WEIGHT, pixel_convolution.plan_pooled_weight_gradient(convolution, *gradients))]

    def bind(self, b: Binding):
        if self.bias == "untied":
            return self._bind_untied(b)
        forward, calls = self._bind_tied(b)
        if self.connections and calls:
            connected = self.parameters(b.shape)["weight"].connected()
            calls[0][1].extend(untied.plan_mask(b.gradients["weight"], connected))
        return forward, calls

    def _bind_untied(self, b: Binding):
        """Without a bias and a relu, which one more pass over the output adds."""
        weight, bias = b.parameters["weight"], b.parameters["bias"]
        alone = self.model_copy(update={"bias": False})
        forward, calls = alone.bind(replace(b, relu=False, parameters={"weight": weight}))
        forward += untied.plan_bias(b.y, bias, b.relu)
        if calls:
            calls.insert(1, (BIASES, untied.plan_bias_gradient(b.gradients["bias"], b.dy)))
        return forward, calls

    def _bind_tied(self, b: Binding):
        convolution = self._convolution(b.shape)
        weight, bias = b.parameters["weight"], b.parameters.get("bias")
        bias = b.arena.take((self.filters,)) if bias is None else bias
        if b.pooled:
            return self._bind_pooled(b, weight, bias)
        if b.added is None and pixel_convolution.suits(convolution):
            forward = pixel_convolution.plan_forward(convolution, b.y, b.x, weight, bias, b.relu)
        else:
            forward = convolution.plan_forward(b.y, b.x, weight, bias, b.store_op(), b.added, b.arena, b.prepared)
        if b.dy is None:
            return forward, []
        calls = [(WEIGHT, convolution.plan_weight_gradient(b.gradients["weight"], b.x, b.dy, b.arena))]
        if self.bias:
            calls.append((BIASES, plan_bias_gradient(b.gradients["bias"], b.dy, b.arena)))
        if b.dx is not None:
            into = b.gradient_op(), b.x if b.gated else None
            calls.append((DATA, convolution.plan_data_gradient(b.dx, b.dy, weight, b.arena, *into)))
        return forward, calls
