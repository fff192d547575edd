"""The checked specification, and the shapes that follow from it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from cnncli.errors import SpecificationError
from cnncli.layers import Layer, Shape
from cnncli.spec.check import Checker, Places, split
from cnncli.spec.options import Data, Document, Input, Loss, Train
from cnncli.spec.overrides import apply
from cnncli.spec.words import one_line
from cnncli.spec.yaml import Path, dump, load

SHAPES_SHOWN = 6


@dataclass(frozen=True)
class Entry:
    """A layer in its place. `path` is its name, or its position and kind such as `0_conv`.

    `location` is `lenet.yaml:4` or the override that put it there; neither it nor `line` counts in a comparison.
    """

    path: str
    kind: str
    layer: Layer
    line: int = field(compare=False)
    location: str = field(compare=False)


@dataclass(frozen=True)
class Specification:
    """A network and how it is trained. `source` is YAML from which `parse` makes an equal specification."""

    name: str
    input: Input
    layers: tuple[Entry, ...]
    loss: Loss
    data: Data
    train: Train
    source: str


def parse(text: str, where: str, overrides: Sequence[str] = ()) -> Specification:
    """Check the YAML `text`; `where` is the file's name in messages, and its stem the name of a network without one.

    Raises SpecificationError in one line, with the file and line of the first problem.
    """
    places = Places(where, {})
    tree = load(text, places.line)
    if tree.data is None:
        raise SpecificationError(f"{places.line(1)}: the file is empty (keys: {', '.join(Document.model_fields)})")
    places.marks = tree.marks
    data = apply(tree.data, overrides, places)
    if isinstance(data, dict) and "name" not in data:
        data = {"name": stem(where), **data}
    checker = Checker(places)
    document = checker.model(Document, data, ())
    checker.finish()
    return Specification(
        name=document.name,
        input=document.input,
        layers=entries(document.layers, data["layers"], ("layers",), places),
        loss=document.loss,
        data=document.data,
        train=document.train,
        source=text if data is tree.data else dump(data),
    )


def stem(where: str) -> str:
    """A name for a network from the name of its file."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(where).stem).lstrip("._-")
    return name[:64] or "model"


def entries(layers: Sequence[Layer], items: list, path: Path, places: Places) -> tuple[Entry, ...]:
    """The layers of one list; `items` is that list as it was written, at `path` of the document."""
    return tuple(
        Entry(
            path=layer.name or f"{position}_{kind}",
            kind=kind,
            layer=layer,
            line=places.order((*path, position))[0],
            location=places.find((*path, position)),
        )
        for position, (layer, (kind, _)) in enumerate(zip(layers, map(split, items), strict=True))
    )


def shapes(specification: Specification) -> list[Shape]:
    """The shape of the input, then of each layer's output.

    Raises SpecificationError for the first layer whose input does not fit, with the shapes that lead to it.
    """
    axes = specification.input.size
    result = [Shape((1,) * (3 - len(axes)) + tuple(axes), specification.input.channels, len(axes))]
    for entry in specification.layers:
        try:
            result.append(entry.layer.output_shape(result[-1]))
        except ValueError as error:
            message = f"layer {entry.path} ({entry.kind}): {one_line(str(error))}"
            raise SpecificationError(f"{entry.location}: {message}; {so_far(specification, result)}") from None
    return result


def so_far(specification: Specification, known: list[Shape]) -> str:
    names = ["input", *(entry.path for entry in specification.layers)]
    steps = [f"{name} {shape}" for name, shape in zip(names, known, strict=False)]
    cut = ["..."] if len(steps) > SHAPES_SHOWN else []
    return f"shapes so far: {', '.join(cut + steps[-SHAPES_SHOWN:])}"
