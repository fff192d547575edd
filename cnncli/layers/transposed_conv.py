"""Transposed convolution: what a convolution's data gradient computes, as a layer (Dumoulin and Visin 2016, ch. 4).

It stands for the convolution that leads from its output back to its input, the mirrored one: forward and data gradient
change places, and the weights are the mirrored one's, (in, out of one group, *kernel) as PyTorch and ONNX file them.
"""

import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from cnncli.kernels.convolution import Convolution, plan_bias_gradient
from cnncli.kernels.geometry import Axis
from cnncli.kernels.grouped_convolution import convolution_of
from cnncli.layers import conv_weights
from cnncli.layers.base import (
    AXES,
    BIASES,
    DATA,
    WEIGHT,
    Binding,
    Count,
    Dimension,
    Init,
    Learner,
    PerAxis,
    Shape,
    per_axis,
    register,
)
from cnncli.layers.initializers import He

Cut = Literal["valid", "same"] | Count | list[Count | Annotated[list[Count], Field(min_length=2, max_length=2)]]


@register("transposed_conv")
class TransposedConv(Learner):
    """Adds each input, times `filters` kernels, into the output, `stride` apart, and a bias; padding is cut off."""

    lone = "filters"
    fuse_relu = True
    fuse_add = True
    gate = True
    accumulate = True

    filters: Dimension
    kernel: PerAxis = 3
    stride: PerAxis = 1
    padding: Cut = "valid"
    output_padding: Count | list[Count] = 0
    dilation: PerAxis = 1
    groups: Dimension = 1
    bias: bool = True
    init: Init = He()

    def _mirrored(self, shape: Shape) -> Convolution:
        for count, what in ((shape.channels, "input channels"), (self.filters, "filters")):
            if count % self.groups:
                raise ValueError(f"its {count} {what} do not divide into {self.groups} groups")
        return convolution_of(self.mirrored_axes(shape), self.filters, shape.channels, self.groups)

    def mirrored_axes(self, shape: Shape) -> tuple[Axis, Axis, Axis]:
        """The axes of the mirrored convolution, from output to input."""
        rank = shape.rank
        if not rank:
            raise ValueError("it needs an input with spatial axes, not a flat one")
        kernels, strides = per_axis(self.kernel, rank, "kernel"), per_axis(self.stride, rank, "stride")
        dilations = per_axis(self.dilation, rank, "dilation")
        more = per_axis(self.output_padding, rank, "output_padding", 0)
        if isinstance(self.padding, list) and len(self.padding) != rank:
            raise ValueError(f"padding has {len(self.padding)} entries, the input has {rank} spatial axes")
        found = []
        for i, (size, k, s, d, extra) in enumerate(zip(shape.size, kernels, strides, dilations, more, strict=True)):
            span, cut = (k - 1) * d + 1, self.padding
            cut = 0 if i < 3 - rank else cut[i - (3 - rank)] if isinstance(cut, list) else cut
            if extra and extra >= max(s, d):
                raise ValueError(f"its output_padding {extra} is not below its stride {s} or its dilation {d}")
            if cut == "same":
                if extra:
                    raise ValueError("with padding same, which gives size * stride, it takes no output_padding")
                before, out = max(0, span - s) // 2, size * s
            else:
                before, after = cut if isinstance(cut, list) else (0, 0) if cut == "valid" else (cut, cut)
                out = (size - 1) * s + span + extra - before - after
                if out < 1:
                    raise ValueError(f"padding {before} + {after} leaves nothing of its {AXES[i]}")
            found.append(Axis(out, size, k, s, d, before))
        return tuple(found)

    def output_shape(self, shape):
        return Shape(tuple(axis.size for axis in self._mirrored(shape).axes), self.filters, shape.rank)

    def parameters(self, shape):
        mirrored = self._mirrored(shape)
        _, *kernel, c_out, c_in = mirrored.weight_shape
        # an output sees one of `stride` taps along each axis
        share = math.prod(kernel) / math.prod(axis.stride for axis in mirrored.axes)
        fans = max(1, round(c_in * share)), c_out * math.prod(kernel)
        found = {"weight": conv_weights.weight(mirrored, shape.rank, fans, self.init)}
        return found | {"bias": conv_weights.bias(self.filters)} if self.bias else found

    def border(self, shape):
        return self._mirrored(shape).gradient_border

    def gradient_border(self, shape):
        return self._mirrored(shape).border

    def window(self, shape):
        axes = self._mirrored(shape).axes
        spans = ((a.kernel - 1) * a.dilation + 1 for a in axes)
        return tuple(-(-n // a.stride) for n, a in zip(spans, axes, strict=True)), tuple(
            Fraction(1, a.stride) for a in axes
        )

    def multiply_adds(self, shape):
        return self._mirrored(shape).multiply_adds

    def bind(self, b: Binding):
        mirrored, weight = self._mirrored(b.shape), b.parameters["weight"]
        bias = b.parameters.get("bias")
        bias = b.arena.take((self.filters,)) if bias is None else bias
        forward = mirrored.plan_data_gradient(b.y, b.x, weight, b.arena, b.store_op(), b.added, bias, b.prepared)
        if b.dy is None:
            return forward, []
        calls = [(WEIGHT, mirrored.plan_weight_gradient(b.gradients["weight"], b.dy, b.x, b.arena))]
        if self.bias:
            calls.append((BIASES, plan_bias_gradient(b.gradients["bias"], b.dy, b.arena)))
        if b.dx is not None:
            nothing = b.arena.take((b.shape.channels,))
            into = b.gradient_op(), b.x if b.gated else None, b.arena
            calls.append((DATA, mirrored.plan_forward(b.dx, b.dy, weight, nothing, *into)))
        return forward, calls
