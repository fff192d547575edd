"""Depthwise convolution: each channel has kernels of its own, and channels are not mixed (Chollet 2017, section 3)."""

import math

from cnncli.kernels.convolution import BIAS, BIAS_RELU, GATE, STORE, plan_bias_gradient
from cnncli.kernels.depthwise_convolution import DepthwiseConvolution
from cnncli.layers.base import (
    BIASES,
    DATA,
    WEIGHT,
    Binding,
    Constant,
    Dimension,
    Init,
    Layer,
    Padding,
    Parameter,
    PerAxis,
    Shape,
    register,
    window_axes,
)


@register("depthwise_conv")
class DepthwiseConv(Layer):
    """Slides `multiplier` kernels over each channel of the input: output c * multiplier + m is kernel m of channel c."""

    main = "kernel"
    fuse_relu = True
    gate = True

    kernel: PerAxis = 3
    stride: PerAxis = 1
    padding: Padding = "valid"
    dilation: PerAxis = 1
    multiplier: Dimension = 1
    bias: bool = True
    init: Init = "he"

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
        x, repeat = convolution.plan_repeat(b.x, b.arena)
        convolve = convolution.plan_forward(b.y, x, weight, bias, BIAS_RELU if b.relu else BIAS)

        def forward():
            repeat()
            convolve()

        if b.dy is None:
            return forward, []
        calls = [(WEIGHT, convolution.plan_weight_gradient(b.gradients["weight"], x, b.dy, b.arena))]
        if self.bias:
            calls.append((BIASES, plan_bias_gradient(b.gradients["bias"], b.dy, b.arena)))
        if b.dx is not None:
            gate = (GATE, b.x) if b.gated else (STORE, None)
            calls.append((DATA, convolution.plan_data_gradient(b.dx, b.dy, weight, b.arena, *gate)))
        return forward, calls
