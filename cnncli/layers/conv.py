"""Convolution in one to three dimensions: cross-correlation, as in every framework (Goodfellow et al. 2016, ch. 9)."""

import math
from typing import Literal

import numpy as np

from cnncli.kernels import pixel_convolution
from cnncli.kernels.convolution import Convolution, plan_bias_gradient
from cnncli.kernels.geometry import packed
from cnncli.layers import conv_weights
from cnncli.layers.base import (
    BIASES,
    DATA,
    WEIGHT,
    Binding,
    Dimension,
    Init,
    Layer,
    Padding,
    PerAxis,
    Shape,
    register,
    window_axes,
)


@register("conv")
class Conv(Layer):
    """Slides `filters` kernels over the input and adds a bias."""

    lone = "filters"
    fuse_relu = True
    fuse_add = True
    gate = True
    accumulate = True
    scalable = True

    filters: Dimension
    kernel: PerAxis = 3
    stride: PerAxis = 1
    padding: Padding = "valid"
    dilation: PerAxis = 1
    groups: Dimension = 1
    bias: bool = True
    init: Init = "he"
    algorithm: Literal["auto", "direct", "winograd"] = "auto"

    def _convolution(self, shape: Shape) -> Convolution:
        for count, what in ((shape.channels, "input channels"), (self.filters, "filters")):
            if count % self.groups:
                raise ValueError(f"its {count} {what} do not divide into {self.groups} groups")
        axes = window_axes(shape, self.kernel, self.stride, self.dilation, self.padding)
        return Convolution(axes, shape.channels, self.filters, self.groups, self.algorithm)

    def output_shape(self, shape):
        return Shape(tuple(axis.out for axis in self._convolution(shape).axes), self.filters, shape.rank)

    def parameters(self, shape):
        convolution = self._convolution(shape)
        _, *kernel, c_in, c_out = convolution.weight_shape
        fans = c_in * math.prod(kernel), c_out * math.prod(kernel)
        found = {"weight": conv_weights.weight(convolution, shape.rank, fans, self.init)}
        return found | {"bias": conv_weights.bias(self.filters)} if self.bias else found

    def border(self, shape):
        return self._convolution(shape).border

    def gradient_border(self, shape):
        return self._convolution(shape).gradient_border

    def window(self, shape):
        axes = self._convolution(shape).axes
        return tuple((a.kernel - 1) * a.dilation + 1 for a in axes), tuple(a.stride for a in axes)

    def multiply_adds(self, shape):
        return self._convolution(shape).multiply_adds

    def pools(self, shape, window):
        convolution = self._convolution(shape)
        return pixel_convolution.suits(convolution, window)

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
