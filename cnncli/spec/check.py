"""A tree of plain data against the models of `options` and the layers: all problems, the first of the file reported.

The models only declare; this walks them, because a list of layers is written in shapes that pydantic does not know
(a word, one key with a lone value), and because every message needs its line.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from cnncli.errors import SpecificationError, printable
from cnncli.layers import LAYERS, Layer
from cnncli.layers.base import OneOf
from cnncli.spec.blocks import MOST_LAYERS, MOST_NESTED, Arguments, Use, naming_problem, used
from cnncli.spec.expected import explain, keys, relevant
from cnncli.spec.options import Blocks, Definition
from cnncli.spec.words import dotted, quote, shorten, suggest
from cnncli.spec.yaml import Mark, Path


class Places:
    """Where each part of a document was written: a line of the file, or an override."""

    def __init__(self, where: str, marks: dict[Path, Mark]):
        self.where = printable(where)
        self.marks = marks
        self.overrides: dict[Path, str] = {}

    def line(self, number: int) -> str:
        return f"{self.where}:{number}"

    def overridden(self, path: Path, override: str) -> None:
        """Everything at `path` and below it now comes from `override`."""
        for known in (self.marks, self.overrides):
            for below in [p for p in known if len(p) > len(path) and p[: len(path)] == path]:
                del known[below]
        self.overrides[path] = override

    def find(self, path: Path) -> str:
        """`lenet.yaml:4`, or `--set KEY=VALUE`, for the innermost part of `path` that was written."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.overrides:
                return override_label(self.overrides[path[:end]])
            if path[:end] in self.marks:
                return self.line(self.marks[path[:end]][0])
        return self.line(1)

    def order(self, path: Path) -> Mark:
        """(line, column) of the innermost part of `path` that stands in the file."""
        return next((self.marks[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.marks), (1, 1))


def override_label(override: str) -> str:
    return f"--set {shorten(printable(override), 100)}"


class Checker:
    """Builds models from plain data. A part with a problem becomes None; `finish` raises the first problem."""

    def __init__(self, places: Places):
        self.places = places
        self.problems: list[tuple[Mark, Path, Callable[[], str]]] = []
        self.blocks: dict[str, Definition | None] = {}
        self.using: dict[str, str] = {}  # the blocks that are being used, and where
        self.layers = 0

    def problem(self, path: Path, message: Callable[[], str]) -> None:
        # Messages are written when they are wanted: near matches for 10,000 unknown keys would take seconds.
        where = used(self.using.values())
        self.problems.append((self.places.order(path), path, lambda: message() + where))

    def finish(self) -> None:
        """Raise SpecificationError for the problem that stands first in the file."""
        if self.problems:
            _, path, message = min(self.problems, key=lambda problem: problem[0])
            raise SpecificationError(f"{self.places.find(path)}: {message()}")

    def model(self, cls: type[BaseModel], value: Any, path: Path) -> Any:
        """A `cls` from a mapping of its keys; nothing at all stands for an empty mapping."""
        value = {} if value is None else value
        if not isinstance(value, dict):
            place = f"{dotted(path)}: " if path else ""
            known = ", ".join(keys(cls))
            self.problem(path, lambda: f"{place}expected a mapping with the keys {known}, found {quote(value)}")
            return None
        ready, failed = dict(value), set()
        for key, field in keys(cls).items():
            if key in value and (build := self.builder(field)):
                ready[key] = build(value[key], (*path, key))
                if ready[key] is None:
                    failed.add(key)
        try:
            return cls.model_validate(ready)
        except ValidationError as error:
            for e in relevant(error, value):
                if e["loc"][:1] and e["loc"][0] in failed:
                    continue
                self.problem(path + e["path"], lambda e=e: explain(e, cls, value, path))
        return None

    def builder(self, field: Any) -> Callable[[Any, Path], Any] | None:
        """How the value of a field is built before pydantic sees it; None if pydantic reads it as it is."""
        for mark in field.metadata:
            if isinstance(mark, OneOf):
                one_of, method = mark, self.choices if mark.many else self.choice
                method = self.lists if mark.lists else method
                return lambda value, path: method(one_of, value, path)
            if isinstance(mark, Blocks):
                return self.definitions
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            return lambda value, path: self.model(field.annotation, value, path)
        return None

    def lists(self, one_of: OneOf, value: Any, path: Path) -> tuple[Any, ...] | None:
        """A list of lists of words with their options."""
        if not isinstance(value, list) or len(value) < one_of.lists:
            what = f"a list of at least {one_of.lists} lists of {one_of.what}s"
            self.problem(path, lambda: f"{dotted(path)}: expected {what}, found {quote(value)}")
            return None
        built = [self.choices(one_of.inner, inner, (*path, position)) for position, inner in enumerate(value)]
        return None if any(inner is None for inner in built) else tuple(built)

    def choices(self, one_of: OneOf, value: Any, path: Path) -> tuple[Any, ...] | None:
        """A list of words with their options."""
        if not isinstance(value, list) or len(value) < one_of.least:
            what = f"{one_of.what}s" + (f", at least {one_of.least}" if one_of.least else "")
            self.problem(path, lambda: f"{dotted(path)}: expected a list of {what}, found {quote(value)}")
            return None
        built = [self.choice(one_of, item, (*path, position)) for position, item in enumerate(value)]
        kinds = [split(item)[0] for item in value]
        if one_of.once:
            self.unique(kinds, [(*path, position) for position in range(len(kinds))], "the kind")
        names = [getattr(layer, "name", None) for layer in built]
        self.unique(names, [(*path, position, kind, "name") for position, kind in enumerate(kinds)], "the name")
        return None if any(item is None for item in built) else tuple(built)

    def unique(self, words: list[str | None], paths: list[Path], what: str) -> None:
        """No two of the `words` may be the same; `paths` lead to them."""
        first: dict[str, Path] = {}
        for word, path in zip(words, paths, strict=True):
            if word is not None and first.setdefault(word, path) is not path:
                other = self.places.find(first[word])
                message = f"{dotted(path)}: {quote(word)} is already {what} of another item ({other})"
                self.problem(path, lambda message=message: message)

    def choice(self, one_of: OneOf, value: Any, path: Path) -> Any:
        """One word with its options."""
        kind, options = split(value)
        if kind is None:
            self.problem(path, lambda: f"{dotted(path)}: {not_a_choice(one_of, value)}")
            return None
        inside = (*path, kind) if isinstance(value, dict) else path
        known = [*one_of.known]
        if one_of.known is LAYERS:
            known += self.blocks
            self.count(path)
            if kind in self.blocks:
                return self.use(kind, options, path, inside)
        if kind not in one_of.known:
            what = f"unknown {one_of.what} {quote(kind)}"
            self.problem(inside, lambda: f"{dotted(path)}: {what}{suggest(kind, known)}")
            return None
        cls, inside = one_of.known[kind], (*path, kind)
        if options is not None and not isinstance(options, dict):
            if cls.lone is None:
                self.problem(inside, lambda: f"{dotted(path)}: {no_lone(cls, kind, options)}")
                return None
            options = {cls.lone: options}
        return self.model(cls, options, inside)

    def count(self, path: Path) -> None:
        self.layers += 1
        if self.layers > MOST_LAYERS:  # blocks that use others can write more than anybody can wait for
            raise SpecificationError(f"{self.places.find(path)}: more than {MOST_LAYERS:,} layers")

    def definitions(self, value: Any, path: Path) -> dict[str, Definition | None]:
        """The blocks of the file by their names."""
        if not isinstance(value, dict | None):
            self.problem(path, lambda: f"{dotted(path)}: expected a mapping of names to blocks, found {quote(value)}")
            return {}
        for name, body in (value or {}).items():
            at = (*path, name)
            if problem := naming_problem(name, body):
                self.problem(at, lambda at=at, problem=problem: f"{dotted(at)}: {problem}")
            self.blocks[name] = self.model(Definition, body, at)
        return {name: block for name, block in self.blocks.items() if block}

    def use(self, name: str, options: Any, path: Path, inside: Path) -> Layer | None:
        """The layers of a block with the values of its parameters in their places."""
        block = self.blocks[name]
        if block is None:
            return None
        if name in self.using:
            chain = " uses ".join([*self.using, name])
            self.problem(inside, lambda: f"{dotted(path)}: a block cannot use itself: {chain}")
            return None
        if len(self.using) == MOST_NESTED:
            self.problem(inside, lambda: f"{dotted(path)}: blocks in blocks, more than {MOST_NESTED} deep")
            return None
        given, called = Arguments(name, block, options), dotted((*path, name))
        for key, problem in given.problems():
            self.problem((*inside, key) if key else inside, lambda problem=problem: f"{called}: {problem}")
        common = self.model(Layer, given.common, inside)
        if common is None or given.problems():
            return None
        at = ("blocks", name, "layers")
        self.using[name] = self.places.find(inside)
        items, unknown = given.substitute(block.layers)
        for where, problem in unknown:
            self.problem(at + where, lambda where=where, problem=problem: f"{dotted(at + where)}: {problem}")
        layers = None if unknown else self.choices(OneOf("layer", LAYERS, many=True, least=1), items, at)
        del self.using[name]
        return layers and Use(block=name, items=items, layers=layers, **given.common)


def split(value: Any) -> tuple[str | None, Any]:
    """(word, options) of `relu`, `dense: 10` or `conv: {filters: 6}`; the word is None if it is none of these."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    return None, None


def not_a_choice(one_of: OneOf, value: Any) -> str:
    if isinstance(value, dict) and value:
        first = next(iter(value))
        hint = f"; indent its options below {quote(first)}" if first in one_of.known else ""
        return f"expected one {one_of.what}, found {len(value)} keys {quote(value)}{hint}"
    example = next(iter(one_of.known), "relu")
    return f"expected one {one_of.what}, a word such as {example} with or without options, found {quote(value)}"


def no_lone(cls: type[BaseModel], kind: str, options: Any) -> str:
    known = ", ".join(keys(cls)) or "none"
    return f"{kind} takes no lone value, found {quote(options)}; write {kind}: {{KEY: VALUE}} (keys: {known})"
