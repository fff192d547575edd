"""The checked specification."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from cnncli.errors import SpecificationError
from cnncli.layers import Layer
from cnncli.spec.check import Checker, Places, split
from cnncli.spec.options import Data, Document, Input, Loss, Train
from cnncli.spec.overrides import apply
from cnncli.spec.yaml import Path, dump, load


@dataclass(frozen=True)
class Entry:
    """A layer in its place. `path` is its name, or its position and kind such as `0_conv`, behind that of the layer
    that holds it: `4_residual.main.0_conv`. `inner` are the lists of layers that it holds itself, by their keys.

    `location` is `lenet.yaml:4` or the override that put it there; neither it nor `line` counts in a comparison.
    """

    path: str
    kind: str
    layer: Layer
    inner: dict[str, tuple["Entry", ...]]
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


def entries(layers: Sequence[Layer], items: list, path: Path, places: Places, prefix: str = "") -> tuple[Entry, ...]:
    """The layers of one list; `items` is that list as it was written, at `path` of the document."""
    found = []
    for position, (layer, item) in enumerate(zip(layers, items, strict=True)):
        kind, options = split(item)
        name, at = f"{prefix}{layer.name or f'{position}_{kind}'}", (*path, position)
        held = {
            key: entries(inner, options[key] if inner else [], (*at, kind, key), places, f"{name}.{key}.")
            for key, inner in layer.inner().items()
        }
        found.append(Entry(name, kind, layer, held, places.order(at)[0], places.find(at)))
    return tuple(found)
