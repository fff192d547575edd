"""The dense (fully connected) layer, and the view that flattens its input."""

from collections.abc import Callable

import numpy as np

from cnncli.kernels import elementwise
from cnncli.kernels.convolution import as_pixels, dense, plan_bias_gradient
from cnncli.kernels.strips import pack, unpack
from cnncli.layers.base import (
    BIASES,
    DATA,
    WEIGHT,
    Binding,
    Dimension,
    Init,
    Layer,
    Learner,
    Parameter,
    Shape,
    register,
)
from cnncli.layers.initializers import Constant, He


@register("dense")
class Dense(Learner):
    """Connects every input with each of `units` outputs, and adds a bias."""

    lone = "units"
    fuse_relu = True
    fuse_add = True
    gate = True
    accumulate = True
    scalable = True
    learns_patches = True

    units: Dimension
    bias: bool = True
    init: Init = He()

    def output_shape(self, shape):
        if shape.rank:
            raise ValueError("it needs a flat input: put `flatten` before it")
        return Shape((1, 1, 1), self.units, 0)

    def parameters(self, shape):
        c_in = shape.channels
        weight = Parameter(
            (c_in * self.units,),
            (self.units, c_in),
            (c_in, self.units),
            self.init,
            to_file=lambda w: unpack(w, 1, self.units)[0][channels_first(shape)].T,
            from_file=lambda w: pack(w.T[np.argsort(channels_first(shape))][None]),
        )
        bias = Parameter((self.units,), (self.units,), (1, 1), Constant(constant=0.0), decays=False)
        return {"weight": weight, "bias": bias} if self.bias else {"weight": weight}

    def multiply_adds(self, shape):
        return shape.channels * self.units

    def bind(self, b: Binding):
        weight, bias = b.parameters["weight"], b.parameters.get("bias")
        product = dense(b.x.array.shape[0], b.shape.channels, self.units)
        x, y = as_pixels(b.x), as_pixels(b.y)
        bias = b.arena.take((self.units,)) if bias is None else bias
        forward = product.plan_forward(y, x, weight, bias, b.store_op(), b.added and as_pixels(b.added))
        if b.dy is None:
            return forward, []
        dy = as_pixels(b.dy)
        calls = [(WEIGHT, product.plan_weight_gradient(b.gradients["weight"], x, dy, b.arena))]
        if self.bias:
            calls.append((BIASES, plan_bias_gradient(b.gradients["bias"], b.dy, b.arena)))
        if b.dx is not None:
            into = b.gradient_op(), x if b.gated else None
            calls.append((DATA, product.plan_data_gradient(as_pixels(b.dx), dy, weight, b.arena, *into)))
        return forward, calls


def channels_first(shape: Shape) -> np.ndarray:
    """Where the elements of a flattened image, channels first as files and the field have them, lie in ours."""
    if shape.origin is None:
        return np.arange(shape.channels)
    return np.arange(shape.channels).reshape(*shape.origin.size, -1).transpose(3, 0, 1, 2).ravel()


def in_field_order(shape: Shape) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """How a `Parameter` of a number for each channel of a shape is filed."""
    return {
        "to_file": lambda w: w[channels_first(shape)],
        "from_file": lambda w: w[np.argsort(channels_first(shape))],
    }


@register("flatten")
class Flatten(Layer):
    """Makes one axis of all: a view, unless another layer reads the input with a border."""

    passes = True

    def output_shape(self, shape):
        return Shape((1, 1, 1), shape.elements, 0, shape) if shape.rank else shape

    def view(self, training):
        return True

    def bind(self, b: Binding):
        length = b.x.size[2] * b.x.channels
        rows = np.stack([np.arange(len(b.x.row_starts)) * length, b.x.row_starts])
        return [elementwise.copy_rows.step(len(b.y.array), b.y.array, b.x.array, rows, length)], []
