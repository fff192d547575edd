"""First values that are known filters: written out, the identity, interpolation, edges, Gabor functions."""

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from cnncli.layers.initializers import LARGEST, Initializer, register


@register("values")
class Values(Initializer):
    """Weights that are written out: one kernel for all, a kernel for each filter, or all of them."""

    lone = "values"
    values: Annotated[list[Any], Field(min_length=1)]

    def _array(self) -> np.ndarray:
        try:
            found = np.array(self.values)
        except ValueError:
            found = None
        if found is None or found.dtype.kind not in "iuf":
            raise ValueError("its init.values are not lists of numbers of equal lengths")
        if abs(found).max(initial=0) > LARGEST:
            raise ValueError(f"its init.values hold a number beyond {LARGEST:g}, too large for float32")
        return found.astype(float)

    def check(self, shape):
        found, text = self._array(), "x".join(map(str, shape))
        kernel = shape[2:]
        if found.shape not in {shape, (shape[0], *kernel), kernel}:
            raise ValueError(f"its init.values are {'x'.join(map(str, found.shape))}, its weights are {text}")

    def make(self, generator, shape, fans):
        found = self._array()
        if found.ndim == len(shape) - 1:
            found = found[:, None]
        return np.broadcast_to(found, shape)


def own_channel(shape) -> np.ndarray:
    """(filters, inputs): 1 where a filter looks at the channel of its own number, in turns where there are fewer."""
    filters, inputs = shape[:2]
    return np.equal.outer(np.arange(filters) % inputs, np.arange(inputs)).astype(float)


def place(channels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(filters, inputs, *kernel): the kernel times the number of each pair of channels."""
    return np.multiply.outer(channels, kernel)


class Spatial(Initializer):
    """What needs a kernel."""

    axes: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def check(self, shape):
        if len(shape) - 2 not in self.axes:
            many = " or ".join(map(str, self.axes))
            raise ValueError(f"its init {self.kind} is for kernels of {many} axes")


@register("dirac")
class Dirac(Spatial):
    """The identity: each filter gives the middle pixel of the channel of its number."""

    def make(self, generator, shape, fans):
        kernel = np.zeros(shape[2:])
        kernel[tuple(n // 2 for n in shape[2:])] = 1
        return place(own_channel(shape), kernel)


@register("bilinear")
class Bilinear(Spatial):
    """Interpolation, channel by channel, for transposed convolutions that enlarge (Long et al. 2015)."""

    def make(self, generator, shape, fans):
        kernel = np.ones(())
        for n in shape[2:]:
            half = (n + 1) // 2
            centre = half - 1 if n % 2 else half - 0.5
            kernel = np.multiply.outer(kernel, 1 - abs(np.arange(n) - centre) / half)
        return place(own_channel(shape), kernel)


@register("sobel")
class Sobel(Spatial):
    """Edges: horizontal ones by filters of even number, vertical ones by those of odd (Sobel and Feldman 1968)."""

    axes = (2,)

    def check(self, shape):
        super().check(shape)
        if shape[2:] != (3, 3):
            raise ValueError("its init sobel is for kernels of 3x3")

    def make(self, generator, shape, fans):
        across = np.outer([1.0, 0.0, -1.0], [1.0, 2.0, 1.0])
        kernels = np.stack([across, across.T])[np.arange(shape[0]) % 2]
        return np.broadcast_to(kernels[:, None], shape) / shape[1]


Number = Annotated[float, Field(ge=-1e6, le=1e6)]  # beyond, cosines have no meaning
PositiveOrNone = Annotated[float, Field(gt=0, le=1e6)] | None


@register("gabor")
class Gabor(Spatial):
    """Gabor functions (Goodfellow et al. 2016, equations 9.16 to 9.18), the same for all input channels.

    alpha exp(-beta_x x'^2 - beta_y y'^2) cos(f x' + phi), where x' and y' are the distances from (x0, y0), in pixels
    from the kernel's middle, turned by tau. `orientations` are angles tau evenly spaced over half a turn; the filters
    go through them, then through the phases `phi`, then through the frequencies `f`, and then begin again.
    Unless given, beta is 8 / size^2 and f is 4 pi / size: two waves under a bell of a quarter of the kernel.
    """

    axes = (2,)

    orientations: Annotated[int, Field(ge=1, le=65536)] = 8
    phi: Annotated[list[Number], Field(min_length=1)] = [0.0, math.pi / 2]
    f: Annotated[list[Number], Field(min_length=1)] | None = None
    alpha: Number = 1.0
    beta_x: PositiveOrNone = None
    beta_y: PositiveOrNone = None
    x0: Number = 0.0
    y0: Number = 0.0

    def make(self, generator, shape, fans):
        size = max(shape[2:])
        beta_x, beta_y = (8 / size**2 if beta is None else beta for beta in (self.beta_x, self.beta_y))
        frequencies = np.array(self.f or [4 * math.pi / size])
        rest, orientation = np.divmod(np.arange(shape[0]), self.orientations)
        tau = (math.pi * orientation / self.orientations)[:, None, None]
        phi = np.array(self.phi)[rest % len(self.phi)][:, None, None]
        f = frequencies[rest // len(self.phi) % len(frequencies)][:, None, None]
        y, x = (np.arange(n) - (n - 1) / 2 for n in shape[2:])
        right, down = x[None, :] - self.x0, y[:, None] - self.y0
        across = right * np.cos(tau) + down * np.sin(tau)
        along = -right * np.sin(tau) + down * np.cos(tau)
        bell = self.alpha * np.exp(-beta_x * across**2 - beta_y * along**2)
        return np.broadcast_to((bell * np.cos(f * across + phi))[:, None], shape) / shape[1]
