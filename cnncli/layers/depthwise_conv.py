"""Depthwise convolution: each channel has kernels of its own, and channels are not mixed (Chollet 2017, section 3)."""

import math

from cnncli.kernels.depthwise_convolution import DepthwiseConvolution
from cnncli.layers.base import (
    DATA,
    WEIGHT,
    Binding,
    Dimension,
    Init,
    Learner,
    Padding,
    Parameter,
    PerAxis,
    Shape,
    register,
    window_axes,
)
from cnncli.layers.initializers import Constant, He


@register("depthwise_conv")
class DepthwiseConv(Learner):
    """Slides `multiplier` kernels over each channel: output c * multiplier + m is kernel m of channel c."""

    lone = "kernel"
    fuse_relu = True
    gate = True
    accumulate = True
    scalable = True

    kernel: PerAxis = 3
    stride: PerAxis = 1
    padding: Padding = "valid"
    dilation: PerAxis = 1
    multiplier: Dimension = 1
    bias: bool = True
    init: Init = He()

    def _convolution(self, shape: Shape) -> DepthwiseConvolution:
        axes = window_axes(shape, self.kernel, self.stride, self.dilation, self.padding)
        return DepthwiseConvolution(axes, shape.channels, self.multiplier)

    def output_shape(self, shape):
        convolution = self._convolution(shape)
        return Shape(tuple(axis.out for axis in convolution.axes), convolution.out, shape.rank)

    def parameters(self, shape):
        taps, out = (layout := self._convolution(shape).weight_shape)
        kernel = tuple(axis.kernel for axis in self._convolution(shape).axes)[3 - shape.rank :]
        weight = Parameter(
            layout,
            (out, 1, *kernel),
            (taps, self.multiplier * taps),
            self.init,
            to_file=lambda w: w.reshape(layout).T.reshape(out, 1, *kernel),
            from_file=lambda w: w.reshape(out, taps).T,
        )
        bias = Parameter((out,), (out,), (1, 1), Constant(constant=0.0), decays=False)
        return {"weight": weight, "bias": bias} if self.bias else {"weight": weight}

    def window(self, shape):
        axes = self._convolution(shape).axes
        return tuple((a.kernel - 1) * a.dilation + 1 for a in axes), tuple(a.stride for a in axes)

    def multiply_adds(self, shape):
        convolution = self._convolution(shape)
        return math.prod(convolution.weight_shape) * math.prod(axis.out for axis in convolution.axes)

    def bind(self, b: Binding):
        convolution = self._convolution(b.shape)
        weight, bias = b.parameters["weight"], b.parameters.get("bias")
        bias = b.arena.take((convolution.out,)) if bias is None else bias
        x, repeat = convolution.plan_repeat(b.x, b.arena.scratch if b.dy is None else b.arena.take)
        forward = repeat + convolution.plan_forward(b.y, x, weight, bias, b.store_op())
        if b.dy is None:
            return forward, []
        dbias = b.gradients.get("bias")
        calls = [(WEIGHT, convolution.plan_weight_gradient(b.gradients["weight"], dbias, x, b.dy, b.arena))]
        if b.dx is not None:
            into = b.gradient_op(), b.x if b.gated else None
            calls.append((DATA, convolution.plan_data_gradient(b.dx, b.dy, weight, b.arena, *into)))
        return forward, calls
