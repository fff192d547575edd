"""First values of weights, drawn in the files' order from (seed, path) alone, whatever else the network holds.

An initialiser is a word of the specification with its options, as a layer is; `register` makes it known. Shapes are
those of files: (filters, inputs of a group, *kernel), or (outputs, inputs) of a dense layer.
"""

import math
import zlib
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

LARGEST = 3e38  # float32 holds no number far beyond
CHUNK = 1 << 20  # numbers drawn at once, in float64: the weights of a large dense layer are hundreds of megabytes


class Initializer(BaseModel):
    """The base of every initialiser."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: ClassVar[str]
    lone: ClassVar[str | None] = None  # the option that a lone value sets

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where weights of a shape cannot be made."""

    def check_layer(self, layer, shape) -> None:
        """Raise ValueError for a `Layer` with an input of a `Shape` whose weights it cannot make."""

    def make(self, generator: np.random.Generator, shape, fans) -> np.ndarray:
        """Weights of a shape whose (fan in, fan out) are `fans`."""
        raise NotImplementedError


INITIALIZERS: dict[str, type[Initializer]] = {}


def register(kind: str):
    """Make an initialiser known to specifications as `kind`."""

    def add(cls: type[Initializer]) -> type[Initializer]:
        cls.kind = kind
        INITIALIZERS[kind] = cls
        return cls

    return add


def initializer(value: Any) -> Any:
    """The initialiser that is written as a word, or as a mapping of a word to its options."""
    if isinstance(value, str) and value in INITIALIZERS:
        return INITIALIZERS[value]()
    if isinstance(value, dict) and len(value) == 1 and (kind := next(iter(value))) in INITIALIZERS:
        options, cls = value[kind], INITIALIZERS[kind]
        return cls(**(options if isinstance(options, dict) else {cls.lone: options}))
    return value


def initial(parameter, seed: int, path: str, dtype=np.float64) -> np.ndarray:
    """The first value of a `Parameter` in its file shape."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(path.encode())])))
    found, shape = np.empty(parameter.file_shape, dtype), parameter.file_shape
    if isinstance(parameter.init, Scaled):  # as many numbers as may be: never all of them in float64
        parameter.init.fill(generator, found.reshape(-1), parameter.fans)
        return found
    for place in np.ndindex(shape[1 : 1 + parameter.places]):
        found[(slice(None), *place)] = parameter.init.make(generator, parameter.kernel_shape, parameter.fans)
    return found


class Scaled(Initializer):
    """Normal or uniform numbers around 0 whose variance follows from the connections."""

    uniform: ClassVar[bool] = False

    @staticmethod
    def variance(fan_in: int, fan_out: int) -> float:
        raise NotImplementedError

    def fill(self, generator, values, fans) -> None:
        variance = self.variance(*fans)
        limit, deviation = math.sqrt(3 * variance), math.sqrt(variance)
        for start in range(0, len(values), CHUNK):
            some = values[start : start + CHUNK]
            drawn = generator.uniform(-limit, limit, some.size) if self.uniform else None
            some[:] = generator.normal(0, deviation, some.size) if drawn is None else drawn


@register("he")
class He(Scaled):
    """Normal of variance 2 / fan_in (He et al. 2015)."""

    @staticmethod
    def variance(fan_in, fan_out):
        return 2 / fan_in


@register("he_uniform")
class HeUniform(He):
    """Uniform, of the same variance."""

    uniform = True


@register("glorot")
class Glorot(Scaled):
    """Normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""

    @staticmethod
    def variance(fan_in, fan_out):
        return 2 / (fan_in + fan_out)


@register("glorot_uniform")
class GlorotUniform(Glorot):
    """Uniform, of the same variance."""

    uniform = True


@register("lecun")
class Lecun(Scaled):
    """Normal of variance 1 / fan_in (LeCun et al. 1998)."""

    @staticmethod
    def variance(fan_in, fan_out):
        return 1 / fan_in


@register("lecun_uniform")
class LecunUniform(Lecun):
    """Uniform, of the same variance."""

    uniform = True


@register("orthogonal")
class Orthogonal(Initializer):
    """Rows or columns, all weights of a filter being a row, orthonormal (Saxe et al. 2014)."""

    def make(self, generator, shape, fans):
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(generator.normal(size=(max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))  # makes the draw uniform over the orthogonal matrices
        return (q if rows >= columns else q.T).reshape(shape)


@register("constant")
class Constant(Initializer):
    """One value everywhere."""

    lone = "constant"
    constant: Annotated[float, Field(ge=-LARGEST, le=LARGEST)]

    def make(self, generator, shape, fans):
        return np.full(shape, self.constant)
