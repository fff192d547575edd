"""Layers in their places: `repeat` and blocks written out, and names replaced by what they name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnncli.errors import SpecificationError
from cnncli.layers import Layer
from cnncli.layers.repeat import Repeat
from cnncli.spec.blocks import MOST_LAYERS, Use, layers_in, used
from cnncli.spec.check import Places, split
from cnncli.spec.words import quote, suggest
from cnncli.spec.yaml import Path

INPUT = "input"  # what layers call the network's input


@dataclass(frozen=True)
class Entry:
    """A layer in its place. `path` is its name, or its position and kind such as `0_conv`, behind that of the layer
    that holds it: `4_residual.main.0_conv`. `inner` are the lists of layers that it holds itself, by their keys.

    It reads the layer before it, or the one at the path `source`, and those at the paths `others`; it knows the shape
    of what the one at the path `reference` makes. `location` is `lenet.yaml:4` or the override that put it there;
    neither it nor `line` counts in a comparison.
    """

    path: str
    kind: str
    layer: Layer
    inner: dict[str, tuple["Entry", ...]]
    line: int = field(compare=False)
    location: str = field(compare=False)
    source: str | None = None
    others: tuple[str, ...] = ()
    reference: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a list of layers is: its `path` in the document, what the paths of its layers begin with, and the paths of
    named layers that it can read. `used`: where the blocks are used whose layers these are. `coming`: the names of its
    layers and of those in the lists around it.
    """

    path: Path
    prefix: str
    known: dict[str, str]
    used: tuple[str, ...] = ()
    coming: frozenset[str] = frozenset()


class Writer:
    """Makes entries of the checked `layers` of a document, which `items` are as they were written."""

    def __init__(self, layers: Sequence[Layer], items: list, places: Places):
        self.layers, self.items, self.places = layers, items, places

    def entries(self) -> tuple[Entry, ...]:
        """Raises SpecificationError for too many layers, or a name that cannot be read where it stands."""
        count = 0
        for position, layer in enumerate(self.layers):
            count += layers_in(layer)
            if count > MOST_LAYERS:
                where = self.places.find(("layers", position))
                raise SpecificationError(f"{where}: layers[{position}]: more than {MOST_LAYERS:,} layers up to here")
        return self.listed(self.layers, self.items, Place(("layers",), "", {INPUT: INPUT}))

    def listed(self, layers: Sequence[Layer], items: list, place: Place) -> tuple[Entry, ...]:
        """The entries of one list of layers."""
        found: list[Entry] = []
        names = place.coming | {layer.name for layer in layers if layer.name}
        place = replace(place, known=dict(place.known), coming=names)
        for position, (layer, item) in enumerate(zip(layers, items, strict=True)):
            kind, options = split(item)
            path, at = f"{place.prefix}{layer.name or f'{position}_{kind}'}", (*place.path, position)
            location = f"{self.places.find(at)}{used(place.used)}"
            source = layer.source and self.resolved(layer.source, place, location, path)
            written = self.written(layer, options, replace(place, path=(*at, kind), prefix=f"{path}."))
            if written is None:
                others = tuple(self.resolved(name, place, location, path) for name in layer.others())
                reference = layer.reference() and self.resolved(layer.reference(), place, location, path)
                inner = {
                    key: self.listed(
                        held,
                        below(options, key),
                        replace(place, path=(*at, kind, *steps(key)), prefix=f"{path}.{key}."),
                    )
                    for key, held in layer.inner().items()
                }
                line = self.places.order(at)[0]
                written = [Entry(path, kind, layer, inner, line, location, source, others, reference)]
            elif source and not written[0].source:
                written[0] = replace(written[0], source=source)
            found += written
            if layer.name:
                place.known[layer.name] = written[-1].path
        return tuple(found)

    def written(self, layer: Layer, options: Any, place: Place) -> list[Entry] | None:
        """The entries that stand in the place of a layer, if it is none itself."""
        if isinstance(layer, Repeat):
            copies = [
                replace(place, path=(*place.path, "layers"), prefix=f"{place.prefix}{n}.") for n in range(layer.times)
            ]
            return [entry for copy in copies for entry in self.listed(layer.layers, options["layers"], copy)]
        if isinstance(layer, Use):
            place = replace(
                place, path=("blocks", layer.block, "layers"), used=(*place.used, self.places.find(place.path))
            )
            return list(self.listed(layer.layers, layer.items, place))
        return None

    def resolved(self, name: str, place: Place, location: str, path: str) -> str:
        """The path of the layer that a name stands for at a place."""
        if name in place.known:
            return place.known[name]
        if name in place.coming:
            problem = f"{quote(name)} is not before it"
        elif name in all_names(self.layers):
            problem = f"{quote(name)} is inside another list of layers, and can be read in that list alone"
        else:
            problem = f"no layer is named {quote(name)}{suggest(name, place.known)}"
        raise SpecificationError(f"{location}: layer {path}: {problem}")


def steps(key: str) -> Path:
    """The keys and positions that a key of `Layer.inner` stands for."""
    return tuple(int(step) if step.isdigit() else step for step in key.split("."))


def below(options: Any, key: str) -> list:
    """The list of items of a key of `Layer.inner`, as it was written; a list that is left out is empty."""
    for step in steps(key):
        options = options[step] if isinstance(step, int) else options.get(step) or []
    return options


def all_names(layers: Sequence[Layer]) -> Iterator[str]:
    for layer in layers:
        if layer.name:
            yield layer.name
        for inner in layer.inner().values():
            yield from all_names(inner)
