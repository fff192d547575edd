"""Activations: functions of one element. A relu behind a convolution or dense layer is free: it joins its store."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from cnncli.kernels import elementwise, smooth
from cnncli.layers.base import DATA, Binding, Layer, register

Alpha = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Activation(Layer):
    """y = f(x), element by element. `code` is the function's number in the kernels, `factor` what it takes besides."""

    code: ClassVar[int]
    forward: ClassVar = elementwise.activate
    backward: ClassVar = elementwise.activate_gradient
    from_input: ClassVar[bool] = False  # its gradient needs the input, not the output

    @property
    def factor(self) -> float:
        return getattr(self, "alpha", 0.0)

    def bind(self, b: Binding):
        x, y, given = b.x.array, b.y.array, (b.x.size[2] * b.x.channels, self.code, self.factor)
        forward = [self.forward.step(len(y), y, x, np.stack([b.y.row_starts, b.x.row_starts]), *given)]
        if b.dx is None:
            return forward, []
        saved = b.x if self.from_input else b.y
        dx, dy, rows = b.dx.array, b.dy.array, np.stack([of.row_starts for of in (b.dx, b.dy, saved)])
        return forward, [(DATA, [self.backward.step(len(dx), dx, dy, saved.array, rows, *given)])]


class Smooth(Activation):
    """One that needs exp or its kin."""

    forward: ClassVar = smooth.smooth
    backward: ClassVar = smooth.smooth_gradient

    @property
    def from_input(self) -> bool:
        return self.code in smooth.FROM_INPUT


@register("relu")
class Relu(Activation):
    """max(x, 0) (Nair and Hinton 2010)."""

    code = elementwise.RELU


@register("relu6")
class Relu6(Activation):
    """min(max(x, 0), 6) (Krizhevsky 2010, "Convolutional Deep Belief Networks on CIFAR-10")."""

    code = elementwise.RELU6


@register("leaky_relu")
class LeakyRelu(Activation):
    """x where positive, else alpha * x (Maas et al. 2013)."""

    code = elementwise.LEAKY_RELU
    lone = "alpha"
    alpha: Alpha = 0.01


@register("elu")
class Elu(Smooth):
    """x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""

    code = smooth.ELU
    lone = "alpha"
    alpha: Alpha = 1.0


@register("gelu")
class Gelu(Smooth):
    """x times the normal distribution function of x, exactly (Hendrycks and Gimpel 2016)."""

    code = smooth.GELU


@register("sigmoid")
class Sigmoid(Smooth):
    """1 / (1 + exp(-x))."""

    code = smooth.SIGMOID


@register("tanh")
class Tanh(Smooth):
    """The hyperbolic tangent."""

    code = smooth.TANH


@register("scaled_tanh")
class ScaledTanh(Smooth):
    """1.7159 tanh(2x / 3): 1 at 1, -1 at -1, and steepest curved there (LeCun et al. 1998, appendix A)."""

    code = smooth.SCALED_TANH


@register("softplus")
class Softplus(Smooth):
    """log(1 + exp(x)), a relu with a round corner (Dugas et al. 2001)."""

    code = smooth.SOFTPLUS


@register("swish")
class Swish(Smooth):
    """x * sigmoid(beta * x), for a beta of 1 also called SiLU (Ramachandran et al. 2017)."""

    code = smooth.SWISH
    lone = "beta"
    beta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @property
    def factor(self):
        return self.beta
