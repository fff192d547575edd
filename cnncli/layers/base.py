"""What a layer is: one declaration of its YAML keys, its shape rule, its parameters, its forward and its backward.

A layer is a frozen pydantic model whose fields are its YAML keys. `register` puts it in `LAYERS` under the name that
the specification uses. Importing the package `cnncli.layers` imports every module in it, so a new layer is one new
file.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.geometry import Axis
from cnncli.kernels.program import Step
from cnncli.kernels.tile import ACCUMULATE, ACCUMULATE_GATE, ADD, ADD_RELU, BIAS, BIAS_RELU, GATE, STORE
from cnncli.layers.initializers import INITIALIZERS, Initializer, initializer


@dataclass(frozen=True)
class OneOf:
    """Marks a field that holds one word of `known` with its options, or a list of `many` of them."""

    what: str
    known: Mapping[str, type[Any]]
    many: bool = False
    least: int = 0  # items of a list
    once: bool = False  # no word twice in a list
    lists: int = 0  # a list of at least so many such lists

    @property
    def inner(self) -> "OneOf":
        """What each list of a list of lists is."""
        return replace(self, lists=0)

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        choice = {"choice": self.what}  # `spec.schema` makes a reference of it: a layer may hold layers
        schema = {"type": "array", "items": choice, "minItems": self.least} if self.many else choice
        return {"type": "array", "items": schema, "minItems": self.lists} if self.lists else schema


Triple = tuple[int, int, int]  # one number for depth, height and width; unused leading axes hold 1 (or 0)
Border = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # (before, after) for depth, height and width
NO_BORDER: Border = ((0, 0), (0, 0), (0, 0))
AXES = "depth", "height", "width"
Dimension = Annotated[int, Field(ge=1, le=65536)]


Init = Annotated[
    Initializer,
    BeforeValidator(initializer),
    PlainSerializer(lambda init: {init.kind: init.model_dump()}),
    OneOf("initializer", INITIALIZERS),
]


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
    def mixed(self) -> "Shape | None":
        """What was flattened, if its elements lie in another order in memory than in the field, channels first."""
        origin = self.origin
        return origin if origin and origin.channels > 1 and math.prod(origin.size) > 1 else None

    @property
    def axes(self) -> tuple[int, ...]:
        """The sizes of the axes that the user sees, such as (height, width)."""
        return self.size[3 - self.rank :]

    def __str__(self) -> str:  # channels first, as the field writes it: 6x28x28
        return "x".join(str(n) for n in (self.channels, *self.axes))


@dataclass(frozen=True)
class Parameter:
    """One learned array. `shape` is the kernels' layout; `file_shape` is the field's order, (out, in, ...).

    `fans` is (fan in, fan out). `to_file` and `from_file` turn one layout into the other. Weight decay applies to what
    `decays`: weights, not biases. What is not `learned` has no gradient: it is frozen, or counted while training.
    `connected` makes an array, flat in the kernels' layout, that is True for the `links` elements that can differ from
    0. `places`: so many axes of `file_shape` behind the first number kernels of their own. Nothing here is as large as
    the parameter: one that no memory could hold can be declared.
    """

    shape: tuple[int, ...]
    file_shape: tuple[int, ...]
    fans: tuple[int, int]
    init: Initializer
    decays: bool = True
    learned: bool = True
    to_file: Callable[[np.ndarray], np.ndarray] = lambda array: array
    from_file: Callable[[np.ndarray], np.ndarray] = lambda array: array
    connected: Callable[[], np.ndarray] | None = field(default=None, compare=False)
    links: int = 0
    places: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """The shape in files of the kernels of one place."""
        return (self.file_shape[0], *self.file_shape[1 + self.places :])

    @property
    def count(self) -> int:
        """How many numbers it has that can differ from 0."""
        return self.size if self.connected is None else self.links


class Joined(NamedTuple):
    """An input of a layer that joins several, its gradient or None where nobody asks for it, and what `Binding` says of
    `adds` and `gated` for it.
    """

    x: Buffer
    dx: Buffer | None
    adds: bool
    gated: bool


@dataclass(frozen=True)
class Binding:
    """The arrays between which a layer works, for one batch size.

    `shape` is that of an input sample; x and y are its input and output; dx and dy their gradients, None where nobody
    asks for them: in an inference both. `parameters` and `gradients` are by name, flat, in the kernels' layout.
    """

    shape: Shape
    x: Buffer
    y: Buffer
    dx: Buffer | None
    dy: Buffer | None
    parameters: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    arena: Arena
    samples: np.ndarray  # (images,) int64: the numbers of the images in the data set
    key: np.ndarray  # (1,) uint64: stands for seed, epoch and layer
    joined: tuple[Joined, ...] = ()  # all inputs of a layer that joins several
    pooled: bool = False  # y is the 2x2 maximum of the output: asked only of layers that say they pool
    added: Buffer | None = None  # add this to the output, before a relu: asked only of layers that `fuse_add`
    relu: bool = False  # apply a relu to the output: asked only of layers that `fuse_relu`
    adds: bool = False  # dx holds another's part, to which it is added: asked only of layers that `accumulate`
    gated: bool = False  # dx is to be 0 where x is not positive: asked only of layers that `gate`
    prepared: list[Step] | None = None  # in inference: takes the steps to run after each change of parameters

    def store_op(self) -> int:
        """What the register tile does with its sums when it makes y."""
        if self.added:
            return ADD_RELU if self.relu else ADD
        if self.relu:
            return BIAS_RELU
        return BIAS if "bias" in self.parameters else STORE

    def gradient_op(self) -> int:
        """What the register tile does with its sums when it makes dx."""
        if self.adds:
            return ACCUMULATE_GATE if self.gated else ACCUMULATE
        return GATE if self.gated else STORE


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]

# the parts of backward, by what they make
WEIGHT, BIASES, DATA = "weight gradient", "bias gradient", "data gradient"
Backward = list[tuple[str, list[Step]]]  # what some steps make, such as "weight gradient", and the steps


class Layer(BaseModel):
    """The base of every layer. Its methods raise ValueError with one line where the input shape does not fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: ClassVar[str]  # the name in the specification, set by `register`
    lone: ClassVar[str | None] = None  # the option that a lone value sets: `dense: 10` is `dense: {units: 10}`
    fuse_relu: ClassVar[bool] = False  # it can apply a relu that follows it
    fuse_add: ClassVar[bool] = False  # it can add another buffer to its output
    gate: ClassVar[bool] = False  # its backward can apply the gradient of a relu before it
    accumulate: ClassVar[bool] = False  # its backward can add to what dx holds
    passes: ClassVar[bool] = False  # the gradient of each input is the output's own: no backward
    constants: ClassVar[int] = 0  # so many of its first inputs have no gradient
    scalable: ClassVar[bool] = False  # its weights and biases can take over the batch_norm behind it
    name: Name | None = None
    source: Name | None = Field(default=None, alias="from")  # the layer that it reads in place of the one before it

    def inner(self) -> dict[str, tuple["Layer", ...]]:
        """The lists of layers that this one holds, by their keys, in the order in which they run.

        Each begins at this layer's input; the layer itself reads what they end in, in the same order. `paths.0` is the
        first of a list of lists.
        """
        return {}

    def others(self) -> tuple[str, ...]:
        """The names of layers that it reads before its input."""
        return ()

    def reference(self) -> str | None:
        """The name of a layer of whose output it must know the shape, but does not read it."""
        return None

    def fitted(self, reference: Shape) -> "Layer":
        """This layer, with what the shape of that output decides."""
        return self

    @property
    def runs(self) -> int:
        """How many times over the lists that it holds are run."""
        return 1

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the output for an input of `shape`; for all their shapes if it joins several."""
        return shape

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """What is learned, by name."""
        return {}

    def declared(self, shape: Shape) -> dict[str, Parameter]:
        """The parameters as the network holds them."""
        return self.parameters(shape)

    def pools(self, shape: Shape, window: tuple[Axis, Axis, Axis]) -> bool:
        """Whether it can take the maximum of such windows of its output, if nobody asks for its input's gradient."""
        return False

    def border(self, shape: Shape) -> Border:
        """The zeros that `bind` expects around x."""
        return NO_BORDER

    def gradient_border(self, shape: Shape) -> Border:
        """The zeros that `bind` expects around dy."""
        return NO_BORDER

    def window(self, shape: Shape) -> tuple[Triple, tuple[int | Fraction, int | Fraction, int | Fraction]]:
        """How many inputs along each axis one output sees, and how many inputs apart two neighbouring outputs are."""
        return (1, 1, 1), (1, 1, 1)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiplications with an addition for one sample, forward."""
        return 0

    def view(self, training: bool) -> bool:
        """Whether the output is the input's memory: nothing is computed, and `bind` is not called."""
        return False

    def bind(self, b: Binding) -> tuple[list[Step], Backward]:
        """Forward, which fills b.y, and the parts of backward, which fill b.gradients and, where asked for, b.dx."""
        raise NotImplementedError


class Learner(Layer):
    """A layer whose weights can be frozen: they keep their first values, and nothing computes a gradient of theirs.

    Its data gradient must not need what the other parts of its backward leave behind.
    """

    learns_patches: ClassVar[bool] = False  # each of its outputs is the product of a filter with a patch of its input

    freeze: bool = False

    def declared(self, shape):
        return {name: replace(parameter, learned=not self.freeze) for name, parameter in self.parameters(shape).items()}

    def normalize(self, patches: np.ndarray) -> np.ndarray:
        """What its weights are multiplied by, of patches (P, elements) of its input."""
        return patches


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


Count = Annotated[int, Field(ge=0, le=65536)]
PerAxis = Dimension | list[Dimension]
Padding = (
    Literal["valid", "same", "full"] | Count | list[Count | Annotated[list[Count], Field(min_length=2, max_length=2)]]
)


def window_axes(
    shape: Shape, kernel: PerAxis, stride: PerAxis, dilation: PerAxis, padding: Padding
) -> tuple[Axis, Axis, Axis]:
    """The axes of a window operation over `shape`.

    `padding`: valid is none, same gives ceil(size / stride) outputs with the odd one after (as TensorFlow and ONNX's
    SAME_UPPER have it), full lets the window touch the input by one element, n is n on both sides, and a list gives for
    each axis n or [before, after]. Raises ValueError where the window is larger than the padded input.
    """
    rank = shape.rank
    if not rank:
        raise ValueError("it needs an input with spatial axes, not a flat one")
    kernels, strides = per_axis(kernel, rank, "kernel"), per_axis(stride, rank, "stride")
    dilations = per_axis(dilation, rank, "dilation")
    if isinstance(padding, list) and len(padding) != rank:
        raise ValueError(f"padding has {len(padding)} entries, the input has {rank} spatial axes")
    axes = []
    for i, (size, k, s, d) in enumerate(zip(shape.size, kernels, strides, dilations, strict=True)):
        span, asked = (k - 1) * d + 1, padding
        if i < 3 - rank:
            asked = 0
        elif isinstance(padding, list):
            asked = padding[i - (3 - rank)]
        if asked == "same":
            total = max(0, (-(-size // s) - 1) * s + span - size)
            before, after = total // 2, total - total // 2
        elif asked == "full":
            before = after = span - 1
        elif isinstance(asked, list):
            before, after = asked
        else:
            before = after = 0 if asked == "valid" else asked
        if size + before + after < span:
            padded = f"the {AXES[i]} {size} with padding {before} + {after}"
            raise ValueError(f"its window of {span} is larger than {padded}")
        axes.append(Axis(size, (size + before + after - span) // s + 1, k, s, d, before))
    return tuple(axes)
