"""The checked specification."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from cnncli.errors import SpecificationError
from cnncli.spec.check import Checker, Places
from cnncli.spec.entries import Entry, Writer
from cnncli.spec.options import Data, Document, Input, Loss, Train
from cnncli.spec.overrides import apply
from cnncli.spec.yaml import dump, load


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
        layers=Writer(document.layers, data["layers"], places).entries(),
        loss=document.loss,
        data=document.data,
        train=document.train,
        source=text if data is tree.data else dump(data),
    )


def stem(where: str) -> str:
    """A name for a network from the name of its file."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(where).stem).lstrip("._-")
    return name[:64] or "model"
