"""What a layer is: one declaration of its YAML keys, its shape rule, its parameters, its forward and its backward.

A layer is a frozen pydantic model whose fields are its YAML keys. `register` puts it in `LAYERS` under the name that the
specification uses. Importing the package `cnncli.layers` imports every module in it, so a new layer is one new file.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Triple = tuple[int, int, int]  # one number for depth, height and width; unused leading axes hold 1 (or 0)
Border = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # (before, after) for depth, height and width
NO_BORDER: Border = ((0, 0), (0, 0), (0, 0))
Dimension = Annotated[int, Field(ge=1, le=65536)]


@dataclass(frozen=True)
class Shape:
    """The shape of one sample between two layers.

    `size` is (depth, height, width); a 1-D or 2-D network has a depth or height of 1. `rank` is the number of spatial
    axes that the user sees, 0 once flattened; `origin` is then the shape that was flattened, so that dense weights can
    be filed in the field's order.
    """

    size: Triple
    channels: int
    rank: int
    origin: "Shape | None" = None

    @property
    def elements(self) -> int:
        return math.prod(self.size) * self.channels

    @property
    def axes(self) -> tuple[int, ...]:
        """The sizes of the axes that the user sees, such as (height, width)."""
        return self.size[3 - self.rank :]

    def __str__(self) -> str:  # channels first, as the field writes it: 6x28x28
        return "x".join(str(n) for n in (self.channels, *self.axes))


@dataclass(frozen=True)
class Initializer:
    """A checked initialiser: `kind` is he, glorot, lecun (normal or uniform), constant or orthogonal."""

    kind: str
    value: float = 0.0


@dataclass(frozen=True)
class Parameter:
    """One learned array. `shape` is the kernels' layout; `file_shape` is the field's order, (out, in, ...).

    `fans` is (fan in, fan out). `to_file` and `from_file` turn one layout into the other. `decays` says whether weight
    decay applies to it: it does to weights, not to biases.
    """

    shape: tuple[int, ...]
    file_shape: tuple[int, ...]
    fans: tuple[int, int]
    init: Initializer
    decays: bool = True
    to_file: Callable[[np.ndarray], np.ndarray] = lambda array: array
    from_file: Callable[[np.ndarray], np.ndarray] = lambda array: array

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Layer(BaseModel):
    """The base of every layer. Its methods raise ValueError with one line where the input shape does not fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: ClassVar[str]  # the name in the specification, set by `register`
    main: ClassVar[str | None] = None  # the option that a lone value sets: `dense: 10` is `dense: {units: 10}`
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")] | None = None


LAYERS: dict[str, type[Layer]] = {}


def register(kind: str):
    """Make a layer class known to specifications as `kind`."""

    def add(cls: type[Layer]) -> type[Layer]:
        if kind in LAYERS:
            raise ValueError(f"two layers are called {kind}")
        cls.kind = kind
        LAYERS[kind] = cls
        return cls

    return add


def per_axis(value: int | list[int] | tuple[int, ...], rank: int, what: str, fill: int = 1) -> Triple:
    """One number for each of depth, height and width, from one number or one for each axis that the user sees."""
    values = [value] * rank if isinstance(value, int) else list(value)
    if len(values) != rank:
        raise ValueError(f"{what} has {len(values)} numbers, the input has {rank} spatial axes")
    return tuple([fill] * (3 - rank) + values)


PerAxis = Dimension | list[Dimension]
Padding = Literal["valid", "same", "full"] | Annotated[int, Field(ge=0, le=65536)] | list[int | list[int]]
