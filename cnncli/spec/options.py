"""What a specification may say outside its layers: every key with its range and its default.

A field marked with `OneOf` is written as a word (`adam`), a word with its main option (`sgd: 0.1`) or a word with a
mapping of options; `many` of them as a list. The models declare the keys, `check` reads them.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from cnncli.layers import LAYERS, Layer
from cnncli.layers.base import OneOf

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
INTERVAL_PATTERN = r"^[1-9][0-9]{0,8}(min|epoch)$"


class Options(BaseModel):
    """The base of every mapping of options outside the layers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Choice(Options):
    """One of several words, with its own options."""

    kind: ClassVar[str]
    lone: ClassVar[str | None] = None  # the option that a lone value sets


def by_kind(**classes: type[Choice]) -> dict[str, type[Choice]]:
    for kind, cls in classes.items():
        cls.kind = kind
    return classes


Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=2**63 - 1)]
Extent = Annotated[int, Field(ge=1, le=65536)]
Interval = Count | Annotated[str, StringConstraints(pattern=INTERVAL_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class Input(Options):
    """One sample: `size` is [length], [height, width] or [depth, height, width]."""

    channels: Extent
    size: Annotated[list[Extent], Field(min_length=1, max_length=3)]


class Augmentation(Choice):
    """A random change of a training image."""


class Flip(Augmentation):
    """A horizontal mirror image, every second time."""


class Shift(Augmentation):
    """A translation of up to `pixels` along height and width."""

    lone = "pixels"
    pixels: Extent


AUGMENTATIONS = by_kind(flip=Flip, shift=Shift)


class Loss(Choice):
    """What the output is measured by: the labels, or with the target `input` what the first layer reads."""

    target: Literal["labels", "input"] = "labels"

    @property
    def weights(self) -> list[float] | None:
        """Of each class; None where all count the same."""
        return None

    @property
    def ignored(self) -> int | None:
        """The class whose pixels do not count."""
        return None


class SoftmaxCrossEntropy(Loss):
    """Of the label of a sample, or of each pixel where the output is a map of the input's size.

    `class_weights`, a number a class, weigh the labels; pixels of the class `ignore` do not count.
    """

    target: Literal["labels"] = "labels"
    class_weights: Annotated[list[NotNegative], Field(min_length=1)] | None = None
    ignore: Annotated[int, Field(ge=0, le=254)] | None = None

    @property
    def weights(self):
        return self.class_weights

    @property
    def ignored(self):
        return self.ignore


class MeanSquaredError(Loss):
    """The squared difference of each element from its target: the one-hot label, or the input."""

    lone = "target"


class BinaryCrossEntropy(Loss):
    """The cross-entropy of the sigmoid of each element and its target, from 0 to 1."""

    lone = "target"


LOSSES = by_kind(
    softmax_cross_entropy=SoftmaxCrossEntropy,
    mean_squared_error=MeanSquaredError,
    binary_cross_entropy=BinaryCrossEntropy,
)


class Data(Options):
    """What happens to a sample before the first layer."""

    normalize: Literal["mean_std", "none"] = "mean_std"
    augment: Annotated[tuple[Augmentation, ...], OneOf("augmentation", AUGMENTATIONS, many=True, once=True)] = ()


class Optimizer(Choice):
    """A rule that moves the parameters; `lr` is the peak of the schedule."""

    lone = "lr"
    lr: Positive = 0.001
    weight_decay: NotNegative = 0.0


class Sgd(Optimizer):
    """Stochastic gradient descent; `decoupled` takes the weight decay out of the gradient."""

    lr: Positive = 0.01
    momentum: BelowOne = 0.9
    nesterov: bool = False
    decoupled: bool = False

    @field_validator("nesterov")
    @classmethod
    def needs_momentum(cls, nesterov: bool, others: ValidationInfo) -> bool:
        if nesterov and others.data.get("momentum") == 0:
            raise ValueError("needs a momentum above 0")
        return nesterov


class Adam(Optimizer):
    """Kingma and Ba 2015; weight decay is part of the gradient."""

    betas: Annotated[list[BelowOne], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    eps: Positive = 1e-8


class AdamW(Adam):
    """Loshchilov and Hutter 2019: weight decay beside the gradient."""

    weight_decay: NotNegative = 0.01


class RmsProp(Optimizer):
    """Hinton's lecture 6e, with the momentum of Graves 2013."""

    alpha: BelowOne = 0.99
    eps: Positive = 1e-8
    momentum: BelowOne = 0.0


OPTIMIZERS = by_kind(sgd=Sgd, adam=Adam, adamw=AdamW, rmsprop=RmsProp)


class Schedule(Choice):
    """The learning rate over the run, as a fraction of its peak."""


class Constant(Schedule):
    """The peak throughout."""


class Cosine(Schedule):
    """Half a cosine from the peak to `final` times the peak (Loshchilov and Hutter 2017)."""

    lone = "final"
    final: Fraction = 0.0


class Step(Schedule):
    """Times `factor` every `every` epochs."""

    lone = "every"
    every: Count
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1


class OneCycle(Schedule):
    """Up to the peak over the fraction `rise` of the steps, then down; `start` and `end` are divisors (Smith 2018)."""

    lone = "rise"
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    start: Annotated[float, Field(ge=1)] = 25.0
    end: Annotated[float, Field(ge=1)] = 1e4


SCHEDULES = by_kind(constant=Constant, cosine=Cosine, step=Step, one_cycle=OneCycle)


class Train(Options):
    """How the network is trained. `warmup` is in epochs; `save_every` is a number of steps, `5min` or `1epoch`.

    The last `keep` checkpoints are kept, besides the best.
    """

    epochs: Annotated[int, Field(ge=0, le=2**31 - 1)] = 4
    batch_size: Annotated[int, Field(ge=1, le=2**31 - 1)] = 64
    optimizer: Annotated[Optimizer, OneOf("optimizer", OPTIMIZERS)] = Sgd()
    schedule: Annotated[Schedule, OneOf("schedule", SCHEDULES)] = Constant()
    warmup: NotNegative = 0.0
    max_steps: Count | None = None
    label_smoothing: BelowOne = 0.0
    save_every: Interval | None = None
    keep: Annotated[int, Field(ge=1, le=10_000)] = 1
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0

    @property
    def save_interval(self) -> tuple[int, Literal["steps", "min", "epoch"]]:
        """(number, unit) of `save_every`; every epoch if it is absent."""
        if self.save_every is None:
            return 1, "epoch"
        if isinstance(self.save_every, int):
            return self.save_every, "steps"
        unit = "min" if self.save_every.endswith("min") else "epoch"
        return int(self.save_every.removesuffix(unit)), unit


class Blocks:
    """Marks the mapping of blocks, of which layers are made."""


class InBlock:
    """Marks a list of layers in which `$NAME` may stand for any value."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "array", "items": {"choice": "layer", "in_block": True}, "minItems": 1}


class Definition(Options):
    """Layers to be used by name: `$stride` in them is the value of the parameter `stride`.

    `parameters` with their defaults: null is what each use must give.
    """

    parameters: dict[str, Any] = {}
    layers: Annotated[list[Any], Field(min_length=1), InBlock()]


class Document(Options):
    """The whole file."""

    name: Name = "model"  # `parse` puts the stem of the file's name here
    input: Input
    blocks: Annotated[dict[str, Definition], Blocks()] = {}
    layers: Annotated[tuple[Layer, ...], OneOf("layer", LAYERS, many=True, least=1)]
    loss: Annotated[Loss, OneOf("loss", LOSSES)] = SoftmaxCrossEntropy()
    data: Data = Data()
    train: Train = Train()
