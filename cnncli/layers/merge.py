"""Layers that join several values to one: side by side, as a sum, as a product or by their maximum."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from cnncli.kernels import elementwise, merge
from cnncli.layers.base import DATA, LAYERS, Binding, Layer, Name, OneOf, Shape, register

Way = Literal["concat", "add", "multiply", "max"]
MOST = 127  # inputs: the number of a winner is a byte


class Joint(Layer):
    """The base of layers that join several values of one size: `way` says how.

    Where several of them are the maximum, the first has the gradient.
    """

    gate = True
    accumulate = True
    way: ClassVar[Way]
    hint: ClassVar[str] = ""  # ends the message that shapes differ

    @property
    def passes(self):
        return self.way == "add"

    @property
    def fuse_relu(self):
        return self.way == "add"

    def called(self) -> list[str]:
        """What its inputs are called in messages."""
        raise NotImplementedError

    def output_shape(self, *shapes):
        first = shapes[0]
        if self.way == "concat":
            same = len({(shape.size, shape.rank) for shape in shapes}) == 1
        else:
            same = len({(shape.size, shape.channels) for shape in shapes}) == 1
        if not same:
            found = ", ".join(f"{called} is {shape}" for called, shape in zip(self.called(), shapes, strict=True))
            raise ValueError(f"{self.way} needs one {'size' if self.way == 'concat' else 'shape'}: {found}{self.hint}")
        if self.way == "concat":
            if any(shape.mixed for shape in shapes):
                raise ValueError("it joins a flattened image: put it before `flatten`, or a dense layer between")
            return Shape(first.size, sum(shape.channels for shape in shapes), first.rank)
        if any(shape.mixed != first.mixed for shape in shapes):  # elements would not meet those that they do elsewhere
            raise ValueError("it joins a flattened image with another order: put a dense layer behind `flatten`")
        return shapes[-1]

    def bind(self, b: Binding):
        bound = {"concat": concat, "add": add, "multiply": multiply, "max": maximum}[self.way]
        forward, backward = bound(b)
        return forward, [(DATA, backward)] if backward else []


def concat(b: Binding):
    """Channels side by side, those that no input fills 0."""
    total, width, of_y, forward, backward, offset = b.y.channels, b.y.size[2], b.y.row_starts, [], [], 0
    images, y = len(b.y.array), b.y.array
    for x, dx, adds, gated in b.joined:
        place = width, x.channels, offset, total
        forward.append(merge.put_channels.step(images, y, x.array, np.stack([of_y, x.row_starts]), *place))
        if dx is not None:
            rows = np.stack([dx.row_starts, b.dy.row_starts, x.row_starts])
            backward.append(merge.take_channels.step(images, dx.array, b.dy.array, x.array, rows, *place, adds, gated))
        offset += x.channels
    if offset < total:
        forward.append(merge.clear_channels.step(images, y, of_y[None], width, total - offset, offset, total))
    return forward, backward


def add(b: Binding):
    """The sum from left to right; the gradient of each input is the output's own."""
    y, length, of = b.y, _length(b), b.joined[0].x
    forward = []
    for number, (x, *_) in enumerate(b.joined[1:], 2):
        rows = np.stack([y.row_starts, of.row_starts, x.row_starts])
        relu = b.relu and number == len(b.joined)
        forward.append(elementwise.add.step(len(y.array), y.array, of.array, x.array, rows, length, relu))
        of = y
    return forward, []


def multiply(b: Binding):
    """The product from left to right; the gradient of each input is the output's times the product of the others."""
    images, length, forward, backward = len(b.y.array), _length(b), [], []

    def product(y, starts, of):
        steps, one, one_starts = [], of[0].array, of[0].row_starts
        for x in of[1:]:
            rows = np.stack([starts, one_starts, x.row_starts])
            steps.append(merge.multiply.step(images, y, one, x.array, rows, length))
            one, one_starts = y, starts
        return steps, one, one_starts

    inputs = [x for x, *_ in b.joined]
    forward, *_ = product(b.y.array, b.y.row_starts, inputs)
    for number, (x, dx, adds, gated) in enumerate(b.joined):
        if dx is not None:
            starts = np.arange(len(x.row_starts)) * length
            others = inputs[:number] + inputs[number + 1 :]
            spare = b.arena.scratch((images, len(starts) * length)) if len(others) > 1 else x.array
            steps, other, other_starts = product(spare, starts, others)
            rows = np.stack([dx.row_starts, b.dy.row_starts, other_starts, x.row_starts])
            last = dx.array, b.dy.array, other, x.array, rows, length, adds, gated
            backward += [*steps, merge.multiply_gradient.step(images, *last)]
    return forward, backward


def maximum(b: Binding):
    """The maximum; the gradient goes to the first input that reaches it."""
    y, images, length, forward, backward = b.y, len(b.y.array), _length(b), [], []
    starts = np.arange(len(y.row_starts)) * length
    shape = images, len(starts) * length
    winner = b.arena.scratch(shape).view(np.int8) if b.dy is None else b.arena.take(shape, np.int8)
    for number, (x, dx, adds, gated) in enumerate(b.joined):
        rows = np.stack([y.row_starts, x.row_starts, starts])
        forward.append(merge.maximum.step(images, y.array, winner, x.array, rows, length, number))
        if dx is not None:
            rows = np.stack([dx.row_starts, b.dy.row_starts, starts, x.row_starts])
            last = dx.array, b.dy.array, winner, x.array, rows, length, number, adds, gated
            backward.append(merge.maximum_gradient.step(images, *last))
    return forward, backward


def _length(b: Binding) -> int:
    return b.y.size[2] * b.y.channels


@register("branches")
class Branches(Joint):
    """Joins what several lists of layers make of the input (Szegedy et al. 2015); an empty one is the input itself."""

    paths: Annotated[tuple[tuple[Layer, ...], ...], OneOf("layer", LAYERS, many=True, lists=2), Field(max_length=MOST)]
    merge: Way = "concat"

    @property
    def way(self):
        return self.merge

    def inner(self):
        return {f"paths.{number}": path for number, path in enumerate(self.paths)}

    def called(self):
        return list(self.inner())


@register("residual")
class Residual(Joint):
    """The sum of `main` and `shortcut` (He et al. 2016), which begin at the input; an empty shortcut is the input."""

    way = "add"
    hint = "; give it a projection"
    main: Annotated[tuple[Layer, ...], OneOf("layer", LAYERS, many=True, least=1)]
    shortcut: Annotated[tuple[Layer, ...], OneOf("layer", LAYERS, many=True)] = ()

    def inner(self):
        # the shortcut first: then the last layer of main can add it to what it makes
        return {"shortcut": self.shortcut, "main": self.main}

    def called(self):
        return list(self.inner())


@register("merge")
class Merge(Joint):
    """Joins the outputs of earlier layers, by `name`, and its input, in this order (Ronneberger et al. 2015)."""

    lone = "with"
    of: Name | Annotated[list[Name], Field(min_length=1, max_length=MOST - 1)] = Field(alias="with")
    by: Way = "concat"

    @property
    def way(self):
        return self.by

    def others(self):
        return (self.of,) if isinstance(self.of, str) else tuple(self.of)

    def called(self):
        return [*(f'"{name}"' for name in self.others()), "its input"]
