"""Activations: functions of one element. A relu behind a convolution or dense layer is free: it joins its store."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from cnncli.kernels import elementwise
from cnncli.layers.base import DATA, Binding, Layer, register

Alpha = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Activation(Layer):
    """y = f(x), element by element. `code` is the function's number in the kernels."""

    code: ClassVar[int]

    def bind(self, b: Binding):
        x, y, alpha, code = b.x.array, b.y.array, getattr(self, "alpha", 0.0), self.code
        rows, length = np.stack([b.y.row_starts, b.x.row_starts]), b.x.size[2] * b.x.channels

        forward = [elementwise.activate.step(len(y), y, x, rows, length, code, alpha)]
        if b.dx is None:
            return forward, []
        saved = b.y if code in elementwise.FROM_OUTPUT else b.x
        dx, dy, kept = b.dx.array, b.dy.array, saved.array
        back_rows = np.stack([b.dx.row_starts, b.dy.row_starts, saved.row_starts])
        backward = elementwise.activate_gradient.step(len(dx), dx, dy, kept, back_rows, length, code, alpha)
        return forward, [(DATA, [backward])]


@register("relu")
class Relu(Activation):
    """max(x, 0) (Nair and Hinton 2010)."""

    code = elementwise.RELU


@register("leaky_relu")
class LeakyRelu(Activation):
    """x where positive, else alpha * x (Maas et al. 2013)."""

    code = elementwise.LEAKY_RELU
    lone = "alpha"
    alpha: Alpha = 0.01


@register("elu")
class Elu(Activation):
    """x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""

    code = elementwise.ELU
    lone = "alpha"
    alpha: Alpha = 1.0


@register("gelu")
class Gelu(Activation):
    """x times the normal distribution function of x, exactly (Hendrycks and Gimpel 2016)."""

    code = elementwise.GELU


@register("sigmoid")
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    code = elementwise.SIGMOID


@register("tanh")
class Tanh(Activation):
    """The hyperbolic tangent."""

    code = elementwise.TANH
