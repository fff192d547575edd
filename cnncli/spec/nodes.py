"""The layers of a specification in the order in which they run, with the shapes between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnncli.errors import SpecificationError
from cnncli.layers import Layer, Shape
from cnncli.spec.specification import Entry, Specification
from cnncli.spec.words import one_line

SHAPES_SHOWN = 6


@dataclass(frozen=True)
class Node:
    """A layer at its place: its path, the values it reads, their shapes, and the shape of what it makes.

    Value 0 is the network's input, value i + 1 is what node i makes. A layer that holds lists of layers comes after
    them and reads what each of them ends in.
    """

    path: str
    layer: Layer
    inputs: tuple[int, ...]
    shapes: tuple[Shape, ...]
    output: Shape

    @property
    def shape(self) -> Shape:
        """The shape of the first input."""
        return self.shapes[0]


def input_shape(specification: Specification) -> Shape:
    axes = specification.input.size
    return Shape((1,) * (3 - len(axes)) + tuple(axes), specification.input.channels, len(axes))


def nodes(specification: Specification) -> list[Node]:
    """All layers, those that others hold before these.

    Raises SpecificationError for the first layer whose input does not fit, with the shapes that lead to it.
    """
    found: list[Node] = []
    values = [input_shape(specification)]

    def follow(entries: Sequence[Entry], value: int) -> int:
        """Append the nodes of a list of layers that begins at a value; returns the value that it ends in."""
        for entry in entries:
            inputs = tuple(follow(inner, value) for inner in entry.inner.values()) or (value,)
            shapes = tuple(values[i] for i in inputs)
            try:
                output = entry.layer.output_shape(*shapes)
                for parameter in entry.layer.parameters(shapes[0]).values():
                    parameter.init.check(parameter.file_shape)
            except ValueError as error:
                message = f"layer {entry.path} ({entry.kind}): {one_line(str(error))}"
                raise SpecificationError(f"{entry.location}: {message}; {_so_far(values[0], found)}") from None
            found.append(Node(entry.path, entry.layer, inputs, shapes, output))
            values.append(output)
            value = len(found)
        return value

    follow(specification.layers, 0)
    return found


def _so_far(first: Shape, known: list[Node]) -> str:
    steps = [f"input {first}", *(f"{node.path} {node.output}" for node in known)]
    cut = ["..."] if len(steps) > SHAPES_SHOWN else []
    return f"shapes so far: {', '.join(cut + steps[-SHAPES_SHOWN:])}"
