"""Small layers in place of the real ones, so that these tests are about specifications only."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cnncli.layers import LAYERS, Layer, Shape
from cnncli.layers.base import Dimension, OneOf, PerAxis, per_axis

Border = Annotated[int, Field(ge=0, le=9)]


class Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    value: float


class Conv(Layer):
    lone = "filters"
    filters: Dimension
    kernel: PerAxis = 3
    padding: Literal["valid", "same", "full"] | Border | list[Border | list[Border]] = "valid"
    bias: bool = True
    init: Literal["he", "glorot"] | Value = "he"

    @model_validator(mode="after")
    def full_needs_bias(self):
        if self.padding == "full" and not self.bias:
            raise ValueError("full padding needs a bias")
        return self

    def output_shape(self, shape: Shape) -> Shape:
        kernel = per_axis(self.kernel, shape.rank, "kernel")
        size = tuple(n if self.padding == "same" else n - k + 1 for n, k in zip(shape.size, kernel, strict=True))
        if min(size) < 1:
            raise ValueError(f"a kernel of {self.kernel}\ndoes not fit")
        return Shape(size, self.filters, shape.rank)


class Relu(Layer):
    def output_shape(self, shape: Shape) -> Shape:
        return shape


class Dropout(Layer):
    lone = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def output_shape(self, shape: Shape) -> Shape:
        return shape


class Flatten(Layer):
    def output_shape(self, shape: Shape) -> Shape:
        return Shape((1, 1, 1), shape.elements, 0, origin=shape)


class Dense(Layer):
    lone = "units"
    units: Dimension

    def output_shape(self, shape: Shape) -> Shape:
        if shape.rank:
            raise ValueError("dense needs a flat input: put flatten before it")
        return Shape((1, 1, 1), self.units, 0)


class Residual(Layer):
    """A layer that holds layers, as later ones will."""

    body: Annotated[tuple[Layer, ...], OneOf("layer", LAYERS, many=True, least=1)]


STAND_INS = {"conv": Conv, "relu": Relu, "dropout": Dropout, "flatten": Flatten, "dense": Dense, "residual": Residual}


@pytest.fixture(scope="module")
def stand_in_layers():
    """`LAYERS` holds only the classes of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in list(LAYERS):
            patch.delitem(LAYERS, kind)
        for kind, cls in STAND_INS.items():
            patch.setitem(LAYERS, kind, cls)
            patch.setattr(cls, "kind", kind, raising=False)
        yield LAYERS
