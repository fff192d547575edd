"""Layers that make an image larger or smaller: enlarging, padding, cropping."""

import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cnncli.kernels import resample
from cnncli.kernels.resample import List
from cnncli.layers.base import DATA, Binding, Count, Layer, Name, PerAxis, Shape, per_axis, register

AXES = ("depth", "height", "width")
Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]
Sides = Count | list[Count | Pair]  # a number for all sides, or for each axis a number or [before, after]


class Resample(Layer):
    """What makes each pixel from pixels of its input, axis by axis."""

    def extents(self, shape: Shape) -> tuple[int, int, int]:
        """The output's depth, height and width. Raises ValueError where the input's do not allow it."""
        raise NotImplementedError

    def lists(self, shape: Shape) -> tuple[List, List, List]:
        """Along depth, height and width: for each output coordinate, (input coordinate, weight)."""
        raise NotImplementedError

    def fill(self) -> float:
        """The value of pixels that come from none."""
        return 0.0

    def output_shape(self, shape):
        if not shape.rank:
            raise ValueError("it needs an input with spatial axes, not a flat one")
        return Shape(self.extents(shape), shape.channels, shape.rank)

    def bind(self, b: Binding):
        lists = self.lists(b.shape)
        forward = [resample.plan(b.y, b.x, lists, self.fill())]
        if b.dx is None:
            return forward, []
        back = tuple(resample.turned(axis, size) for axis, size in zip(lists, b.shape.size, strict=True))
        return forward, [(DATA, [resample.plan(b.dx, b.dy, back)])]


@register("upsample")
class Upsample(Resample):
    """An image `scale` times as large: each pixel repeated, or `linear` between the centres of four (in 2-D).

    Pixels are squares and their centres lie at halves, as in PyTorch with align_corners=False and in ONNX's half_pixel.
    """

    lone = "scale"

    scale: PerAxis = 2
    mode: Literal["nearest", "linear"] = "nearest"

    def _scales(self, shape):
        return per_axis(self.scale, shape.rank, "scale")

    def extents(self, shape):
        return tuple(size * scale for size, scale in zip(shape.size, self._scales(shape), strict=True))

    def lists(self, shape):
        along = _linear if self.mode == "linear" else _nearest
        return tuple(along(size, scale) for size, scale in zip(shape.size, self._scales(shape), strict=True))

    def window(self, shape):
        scales = self._scales(shape)
        seen = tuple(2 if self.mode == "linear" and scale > 1 else 1 for scale in scales)
        return seen, tuple(Fraction(1, scale) for scale in scales)


def _nearest(size: int, scale: int) -> List:
    return [[(to // scale, 1.0)] for to in range(size * scale)]


def _linear(size: int, scale: int) -> List:
    found = []
    for to in range(size * scale):
        centre = min(max((to + 0.5) / scale - 0.5, 0), size - 1)
        source = math.floor(centre)
        taps = [(source, 1 - (centre - source)), (source + 1, centre - source)]
        found.append([(i, weight) for i, weight in taps if weight > 0])
    return found


def sides(value, shape: Shape, what: str) -> list[tuple[int, int]]:
    """(before, after) of depth, height and width."""
    rank = shape.rank
    values = [value] * rank if isinstance(value, int) else value
    if len(values) != rank:
        raise ValueError(f"{what} has {len(values)} entries, the input has {rank} spatial axes")
    return [(0, 0)] * (3 - rank) + [(v, v) if isinstance(v, int) else tuple(v) for v in values]


@register("pad")
class Pad(Resample):
    """A border around the image: zeros, a constant `value`, a reflection without its edge, or the edge repeated."""

    lone = "padding"

    padding: Sides
    mode: Literal["zero", "constant", "reflect", "edge"] = "zero"
    value: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    @field_validator("value")
    @classmethod
    def is_of_constant(cls, value, others):
        if others.data.get("mode") != "constant":
            raise ValueError("it belongs to `mode: constant`")
        return value

    def fill(self):
        return self.value

    def sides(self, shape: Shape) -> list[tuple[int, int]]:
        return sides(self.padding, shape, "padding")

    def extents(self, shape):
        for axis, size, (before, after) in zip(AXES, shape.size, self.sides(shape), strict=True):
            if self.mode == "reflect" and max(before, after) >= size:
                raise ValueError(f"the {axis} of {size} reflects at most {size - 1} pixels, not {max(before, after)}")
        return tuple(n + sum(more) for n, more in zip(shape.size, self.sides(shape), strict=True))

    def lists(self, shape):
        return tuple(
            [self._taps(i, size) for i in range(-before, size + after)]
            for size, (before, after) in zip(shape.size, self.sides(shape), strict=True)
        )

    def _taps(self, source: int, size: int) -> list[tuple[int, float]]:
        if self.mode == "reflect":
            source = abs(source) if source < size else 2 * (size - 1) - source
        elif self.mode == "edge":
            source = min(max(source, 0), size - 1)
        return [(source, 1.0)] if 0 <= source < size else []


@register("crop")
class Crop(Resample):
    """The image without some `pixels` on each side, or what of it has a `size`, or that of the layer named `like`, and
    lies in the middle.
    """

    lone = "pixels"

    pixels: Sides | None = None
    size: PerAxis | None = None
    like: Name | None = None

    @model_validator(mode="after")
    def is_told_once(self):
        if [self.pixels, self.size, self.like].count(None) != 2:
            raise ValueError("it takes one of `pixels`, `size` and `like`")
        return self

    def reference(self):
        return self.like

    def fitted(self, reference):
        if not reference.rank:
            raise ValueError(f'"{self.like}" is flat: it has no size')
        return self.model_copy(update={"size": list(reference.axes), "like": None})

    def sides(self, shape: Shape) -> list[tuple[int, int]]:
        """(before, after) of depth, height and width; the odd pixel is taken after."""
        if self.pixels is not None:
            return sides(self.pixels, shape, "pixels")
        wanted = [*shape.size[: 3 - shape.rank], *per_axis(self.size, shape.rank, "size")[3 - shape.rank :]]
        for axis, size, left in zip(AXES, shape.size, wanted, strict=True):
            if left > size:
                raise ValueError(f"its {axis} of {left} is larger than the input's {size}")
        less = [size - left for size, left in zip(shape.size, wanted, strict=True)]
        return [(n // 2, n - n // 2) for n in less]

    def extents(self, shape):
        for axis, size, (before, after) in zip(AXES, shape.size, self.sides(shape), strict=True):
            if before + after >= size:
                raise ValueError(f"{before} + {after} pixels off the {axis} of {size} leave nothing")
        return tuple(n - sum(less) for n, less in zip(shape.size, self.sides(shape), strict=True))

    def lists(self, shape):
        return tuple(
            [[(i, 1.0)] for i in range(before, size - after)]
            for size, (before, after) in zip(shape.size, self.sides(shape), strict=True)
        )
