"""Normalised cross-correlation: how alike a window and a filter are, whatever the window's brightness and contrast."""

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.kernels import most_threads, windows
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.convolution import STORE, Convolution, plan_bias_gradient
from cnncli.kernels.strips import strips
from cnncli.layers import conv_weights
from cnncli.layers.base import (
    BIASES,
    DATA,
    NO_BORDER,
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


@register("normalized_conv")
class NormalizedConv(Learner):
    """Slides `filters` kernels over the input, each window of which is first brought to mean 0 and variance 1:
    (x - mean) / sqrt(variance + eps), over its elements of all channels. Then a bias.

    The preprocessing of patches of Coates, Ng and Lee 2011, and the zero-mean normalised cross-correlation of template
    matching (Lewis 1995). Without `center` a window is divided by its root mean square, as the V-cells of the
    neocognitron inhibit its S-cells (Fukushima 1980). What is padded counts as zeros.
    """

    lone = "filters"
    fuse_relu = True
    scalable = True
    learns_patches = True

    filters: Dimension
    kernel: PerAxis = 3
    stride: PerAxis = 1
    padding: Padding = "valid"
    dilation: PerAxis = 1
    center: bool = True
    eps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-5
    bias: bool = True
    init: Init = He()

    def _convolution(self, shape: Shape) -> Convolution:
        axes = window_axes(shape, self.kernel, self.stride, self.dilation, self.padding)
        return Convolution(axes, shape.channels, self.filters)

    def output_shape(self, shape):
        return Shape(tuple(axis.out for axis in self._convolution(shape).axes), self.filters, shape.rank)

    def parameters(self, shape):
        convolution = self._convolution(shape)
        taps = math.prod(convolution.kernel)
        fans = shape.channels * taps, self.filters * taps
        weight = conv_weights.weight(convolution, shape.rank, fans, self.init)
        return {"weight": weight} | ({"bias": conv_weights.bias(self.filters)} if self.bias else {})

    def normalize(self, patches):
        mean = patches.mean(1, keepdims=True) if self.center else 0.0
        squares = ((patches - mean) ** 2).mean(1, keepdims=True)
        return (patches - mean) / (squares + self.eps) ** 0.5

    def border(self, shape):
        return self._convolution(shape).border

    def window(self, shape):
        axes = self._convolution(shape).axes
        return tuple((a.kernel - 1) * a.dilation + 1 for a in axes), tuple(a.stride for a in axes)

    def multiply_adds(self, shape):
        return self._convolution(shape).multiply_adds

    def bind(self, b: Binding):
        convolution, images, channels = self._convolution(b.shape), len(b.y.array), b.shape.channels
        height, pixels = math.prod(convolution.kernel) * channels, math.prod(b.shape.size)
        weight, bias = b.parameters["weight"], b.parameters.get("bias")
        bias = b.arena.take((self.filters,)) if bias is None else bias
        forward, many = [], len(strips(self.filters))
        if self.center:  # the mean of the windows is taken from the filters: their sums are the same
            plain, weight = weight, b.arena.take(weight.shape)
            steps = forward if b.prepared is None else b.prepared
            steps.append(windows.centre.step(many, weight, plain, height, self.filters))
        u = b.y if b.dy is None else new_buffer(b.arena, images, b.y, NO_BORDER)
        forward += convolution.plan_forward(u, b.x, weight, bias, STORE, arena=b.arena, prepared=b.prepared)
        rows, taps, phases = windows.tables(convolution.axes, [u.layout, b.y.layout])
        moments, work = b.arena.take((images, 2, rows.shape[1])), b.arena.take((most_threads(), 2, pixels), "float64")
        arrays = b.y.array, u.array, b.x.array, bias, moments, work, rows, b.x.row_starts, taps, phases
        options = channels, float(height), self.eps, self.center, b.relu
        forward.append(windows.scale_windows.step(images, *arrays, *options))
        return forward, [] if b.dy is None else self._bind_backward(b, convolution, weight, u, moments)

    def _bind_backward(self, b: Binding, convolution: Convolution, weight, u, moments):
        images, channels = len(b.y.array), b.shape.channels
        height, pixels = math.prod(convolution.kernel) * channels, math.prod(b.shape.size)
        du, pulls = new_buffer(b.arena, images, b.y, convolution.gradient_border), b.arena.take((images, 2, pixels))
        tables = windows.tables(convolution.axes, [u.layout, b.dy.layout, du.layout])
        arrays = du.array, b.dy.array, u.array, moments, pulls, *tables
        scales = windows.scale_windows_gradient.step(images, *arrays, self.filters, float(height))
        dweight = b.gradients["weight"]
        of_weight = convolution.plan_weight_gradient(dweight, b.x, du, b.arena)
        if self.center:
            flat = dweight.reshape(-1)
            of_weight.append(windows.centre.step(len(strips(self.filters)), flat, flat, height, self.filters))
        calls = [(WEIGHT if b.dx is None else DATA, [scales]), (WEIGHT, of_weight)]
        if self.bias:
            calls.append((BIASES, plan_bias_gradient(b.gradients["bias"], b.dy, b.arena)))
        if b.dx is not None:
            places = np.stack([b.dx.row_starts, b.x.row_starts])
            pulled = windows.add_pulls.step(images, b.dx.array, b.x.array, pulls, places, channels)
            calls.append((DATA, [*convolution.plan_data_gradient(b.dx, du, weight, b.arena), pulled]))
        return calls
