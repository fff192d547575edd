"""Convolutions that do not share their weights among all places: `local_conv` and `tiled_conv`.

Goodfellow et al. 2016, section 9.5: in an unshared convolution each output has weights of its own, in a tiled one the
weights cycle through `tiles` sets along each axis. As there, the biases are shared as the weights are.
"""

import math
from typing import Literal

import numpy as np

from cnncli.kernels.geometry import Axis
from cnncli.kernels.strips import pack, unpack
from cnncli.kernels.tiled_convolution import TiledConvolution
from cnncli.layers.base import (
    BIASES,
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
    Triple,
    per_axis,
    register,
    window_axes,
)
from cnncli.layers.initializers import Constant, He


@register("local_conv")
class LocalConv(Learner):
    """Like a convolution of `filters` kernels, but each place has kernels and biases of its own."""

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
    bias: bool | Literal["tied"] = True
    init: Init = He()

    def _axes(self, shape: Shape) -> tuple[Axis, Axis, Axis]:
        return window_axes(shape, self.kernel, self.stride, self.dilation, self.padding)

    def _tiles(self, shape: Shape) -> Triple:
        return tuple(axis.out for axis in self._axes(shape))

    def _convolution(self, shape: Shape) -> TiledConvolution:
        return TiledConvolution(self._axes(shape), self._tiles(shape), shape.channels, self.filters)

    def output_shape(self, shape):
        return Shape(tuple(axis.out for axis in self._convolution(shape).axes), self.filters, shape.rank)

    def parameters(self, shape):
        """Filed as (out, *places, in, *kernel): behind a filter the place that its kernel is for."""
        convolution, first = self._convolution(shape), 3 - shape.rank
        phases, kernel, c_in = convolution.phases, convolution.kernel, shape.channels
        places, taps = phases[first:], math.prod(kernel)
        file_shape = self.filters, *places, c_in, *kernel[first:]

        def to_file(w):
            ours = unpack(w, 1, self.filters).reshape(-1, taps, c_in, self.filters)
            return ours.transpose(3, 0, 2, 1).reshape(file_shape)

        def from_file(w):
            ours = w.reshape(self.filters, -1, c_in, taps).transpose(1, 3, 2, 0)
            return pack(ours.reshape(1, convolution.rows, self.filters))

        size, fans = (convolution.rows * self.filters,), (c_in * taps, self.filters * taps)
        weight = Parameter(size, file_shape, fans, self.init, places=len(places), to_file=to_file, from_file=from_file)
        if not self.bias:
            return {"weight": weight}
        of_bias = () if self.bias == "tied" else places
        bias = Parameter(
            (math.prod(of_bias) * self.filters,),
            (self.filters, *of_bias),
            (1, 1),
            Constant(constant=0.0),
            decays=False,
            to_file=lambda b: b.reshape(-1, self.filters).T.reshape(self.filters, *of_bias),
            from_file=lambda b: np.ascontiguousarray(b.reshape(self.filters, -1).T).reshape(-1),
        )
        return {"weight": weight, "bias": bias}

    def border(self, shape):
        return self._convolution(shape).border

    def gradient_border(self, shape):
        return self._convolution(shape).gradient_border

    def window(self, shape):
        axes = self._axes(shape)
        return tuple((a.kernel - 1) * a.dilation + 1 for a in axes), tuple(a.stride for a in axes)

    def multiply_adds(self, shape):
        return self._convolution(shape).plain.multiply_adds

    def bind(self, b: Binding):
        convolution, weight, bias = self._convolution(b.shape), b.parameters["weight"], b.parameters.get("bias")
        bias = b.arena.take((self.filters,)) if bias is None else bias
        forward = convolution.plan_forward(b.y, b.x, weight, bias, b.store_op(), b.added)
        if b.dy is None:
            return forward, []
        calls = [(WEIGHT, convolution.plan_weight_gradient(b.gradients["weight"], b.x, b.dy, b.arena))]
        if self.bias:
            calls.append((BIASES, convolution.plan_bias_gradient(b.gradients["bias"], b.x, b.dy, b.arena)))
        if b.dx is not None:
            into = b.gradient_op(), b.x if b.gated else None
            calls.append((DATA, convolution.plan_data_gradient(b.dx, b.dy, weight, b.arena, *into)))
        return forward, calls


@register("tiled_conv")
class TiledConv(LocalConv):
    """Like a convolution of `filters` kernels, but outputs share kernels and biases only with those `tiles` apart."""

    tiles: PerAxis

    def _tiles(self, shape):
        return per_axis(self.tiles, shape.rank, "tiles")
