"""Named lists of layers with parameters: what a file says under `blocks`, and what becomes of it where it is used.

A value `$stride` in a block's layers stands for what the use gives as `stride`. Nothing is evaluated.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cnncli.layers import LAYERS, Layer
from cnncli.spec.expected import LAYER_NAME_PATTERN, PATTERNS, keys, unknown_key
from cnncli.spec.options import Definition
from cnncli.spec.words import quote, suggest
from cnncli.spec.yaml import Path

MOST_LAYERS = 10_000  # in a network
MOST_NESTED = 8  # blocks that use blocks
MOST_VALUES, DEEPEST = 1000, 8  # in the value of a parameter: it can hold others' values
PARAMETER = re.compile(r"\$([A-Za-z][A-Za-z0-9_-]*)")


class Use(Layer):
    """A block where it is used: its `layers`, and their `items` with all values in their places."""

    block: str
    items: list[Any]
    layers: tuple[Layer, ...]

    def inner(self):
        return {"layers": self.layers}


def naming_problem(name: str, body: Any) -> str | None:
    """What is wrong with the names of a block and its parameters."""
    parameters = body.get("parameters") if isinstance(body, dict) else None
    for word in (name, *(parameters if isinstance(parameters, dict) else ())):
        if not re.fullmatch(LAYER_NAME_PATTERN, word):
            return f"expected {PATTERNS[LAYER_NAME_PATTERN]}, found {quote(word)}"
    if name in LAYERS:
        return f"{quote(name)} is a layer already; give the block another name"
    taken = [word for word in parameters if word in keys(Layer)] if isinstance(parameters, dict) else []
    return f"{quote(taken[0])} is a key of every layer; give the parameter another name" if taken else None


def used(places: Iterable[str]) -> str:
    """` (used at my.yaml:20)`, to end the message of a mistake in a block."""
    places = list(places)
    return f" (used at {', '.join(reversed(places))})" if places else ""


@dataclass(frozen=True)
class Arguments:
    """What a use gives to a block; a lone value is that of the first parameter."""

    name: str
    block: Definition
    options: Any

    @property
    def given(self) -> dict[str, Any]:
        if self.options is None or isinstance(self.options, dict):
            return self.options or {}
        return dict.fromkeys([*self.block.parameters][:1], self.options)

    @property
    def common(self) -> dict[str, Any]:
        """The keys that every layer has."""
        return {key: value for key, value in self.given.items() if key in keys(Layer)}

    def problems(self) -> list[tuple[str | None, str]]:
        """(key, message) of what is not right."""
        known, given = [*keys(Layer), *self.block.parameters], self.given
        if self.options is not None and not given and not isinstance(self.options, dict):
            return [(None, f"block {quote(self.name)} has no parameters, found {quote(self.options)}")]
        unknown = [(key, unknown_key(key, "", known)) for key in given if key not in known]
        large = [(key, f"the value of {quote(key)} is too large") for key in given if not small(given[key])]
        missing = [
            (None, f"missing key {quote(key)}")
            for key, default in self.block.parameters.items()
            if default is None and given.get(key) is None
        ]
        return unknown or large or missing

    def substitute(self, layers: Any) -> tuple[Any, list[tuple[Path, str]]]:
        """`layers` with the values in their places, and (path, message) of each parameter that the block lacks."""
        values, unknown = self.block.parameters | self.given, []

        def put(value: Any, path: Path) -> Any:
            if isinstance(value, list):
                return [put(inner, (*path, i)) for i, inner in enumerate(value)]
            if isinstance(value, dict):
                return {key: put(inner, (*path, key)) for key, inner in value.items()}
            found = PARAMETER.fullmatch(value) if isinstance(value, str) else None
            if not found:
                return value
            if found[1] not in self.block.parameters:
                unknown.append((path, f"unknown parameter {quote(value)}{suggest(found[1], self.block.parameters)}"))
            return values.get(found[1])

        return put(layers, ()), unknown


def small(value: Any) -> bool:
    """Whether a value holds few others, none of them deep."""

    def count(value: Any, depth: int, left: int) -> int:
        """How many of `left` values remain, below 0 if too many."""
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        left = -1 if depth > DEEPEST else left - 1
        for item in inner:
            if left < 0:
                break
            left = count(item, depth + 1, left)
        return left

    return count(value, 0, MOST_VALUES) >= 0


def layers_in(layer: Layer) -> int:
    """How many layers a network has of this one and those that it holds, as often as they run."""
    return 1 + layer.runs * sum(layers_in(held) for inner in layer.inner().values() for held in inner)
