"""`--set train.optimizer.sgd.lr=0.01`: one value of a specification replaced before it is checked.

The value is read by the same YAML reader as the file, never evaluated. The models say where a word stands for a
mapping: the path leads through `sgd`, `sgd: 0.1` and `sgd: {lr: 0.1}` alike.
"""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from cnncli.errors import SpecificationError
from cnncli.layers.base import OneOf
from cnncli.spec.check import Places, override_label, split
from cnncli.spec.expected import keys, unknown_key
from cnncli.spec.options import Document
from cnncli.spec.words import dotted, quote, suggest
from cnncli.spec.yaml import Path, load

KEY = re.compile(r"[^.\[\]]+(\.[^.\[\]]+|\[[0-9]+\])*")
POSITION = re.compile(r"[0-9]{1,9}")

Kind = type[BaseModel] | OneOf | None  # what the models say about a part of the document; None: plain data


def apply(data: Any, overrides: Sequence[str], places: Places) -> Any:
    """A copy of `data` with each `KEY=VALUE` set in turn; `places` learns what came from where.

    Raises SpecificationError, which quotes the override, for a missing `=`, a path that leads nowhere or bad YAML.
    """
    for override in overrides:
        label = override_label(override)
        key, equals, text = override.partition("=")
        if not equals or not KEY.fullmatch(key.strip()):
            raise SpecificationError(f"{label}: expected KEY=VALUE, such as train.optimizer.sgd.lr=0.01")
        value = load(text, lambda line, label=label: label).data
        try:
            data, path = put(data, Document, (), re.findall(r"[^.\[\]]+", key.strip()), value)
        except ValueError as error:
            raise SpecificationError(f"{label}: {error}") from None
        places.overridden(path, override)
    return data


def put(node: Any, kind: Kind, at: Path, rest: list[str], value: Any) -> tuple[Any, Path]:
    """(`node` with `value` at the end of `rest`, the whole path to it); ValueError where the path leads nowhere."""
    if not rest:
        return value, at
    if isinstance(kind, OneOf):
        return put_item(node, kind, at, rest, value) if kind.many else put_option(node, kind, at, rest, value)
    if isinstance(node, list):
        return put_item(node, None, at, rest, value)
    if kind is None and not isinstance(node, dict):
        raise ValueError(f"{dotted(at)} is {quote(node)}, it has no {quote(rest[0])}")
    if not isinstance(node, dict | None):
        raise ValueError(f"{dotted(at) or 'the specification'} is not a mapping, found {quote(node)}")
    known = list(keys(kind)) if kind else list(node)
    if rest[0] not in known:
        raise ValueError(unknown_key(rest[0], dotted(at), known))
    node = node or {}
    inner, path = put(node.get(rest[0]), inner_kind(kind, rest[0]), (*at, rest[0]), rest[1:], value)
    return {**node, rest[0]: inner}, path


def put_item(node: Any, kind: OneOf | None, at: Path, rest: list[str], value: Any) -> tuple[Any, Path]:
    """`rest` begins with a position in a list."""
    items = [] if node is None else node
    if not isinstance(items, list):
        raise ValueError(f"{dotted(at)} is not a list, found {quote(node)}")
    if not POSITION.fullmatch(rest[0]):
        raise ValueError(f"{dotted(at)} is a list: expected a position such as 0, found {quote(rest[0])}")
    position = int(rest[0])
    if position >= len(items):
        have = f"0 to {len(items) - 1}" if items else "none"
        raise ValueError(f"{dotted(at)} has no item {position} (items: {have})")
    place = (*at, position)
    if kind is not None and kind.lists:
        inner, path = put(items[position], kind.inner, place, rest[1:], value)
    elif kind is None or len(rest) == 1:
        inner, path = put(items[position], None, place, rest[1:], value)
    else:
        keep_kind(items[position], place, rest[1])
        inner, path = put_option(items[position], kind, place, rest[1:], value)
    return [*items[:position], inner, *items[position + 1 :]], path


def keep_kind(node: Any, at: Path, word: str) -> None:
    """An item of a list keeps its kind: a wrong position must not turn a relu into a convolution."""
    kind, _ = split(node)
    if kind is not None and kind != word:
        raise ValueError(f"{dotted(at)} is {quote(kind)}, not {quote(word)}; set {dotted(at)} itself to replace it")


def put_option(node: Any, one_of: OneOf, at: Path, rest: list[str], value: Any) -> tuple[Any, Path]:
    """`rest` begins with a word of `one_of`: another word than the present one replaces it."""
    word = rest[0]
    if word not in one_of.known and split(node)[0] == word:  # a block of the file, whose parameters nobody knows here
        inner, path = put(split(node)[1], None, (*at, word), rest[1:], value)
        return {word: inner}, path
    if word not in one_of.known:
        raise ValueError(f"{dotted(at)}: unknown {one_of.what} {quote(word)}{suggest(word, one_of.known)}")
    cls = one_of.known[word]
    kind, options = split(node)
    if kind != word:
        options = None
    elif options is not None and not isinstance(options, dict) and cls.lone and len(rest) > 1:
        options = {cls.lone: options}
    inner, path = put(options, cls, (*at, word), rest[1:], value)
    return {word: inner}, path


def inner_kind(kind: Kind, key: str) -> Kind:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None
    field = keys(kind)[key]
    for mark in field.metadata:
        if isinstance(mark, OneOf):
            return mark
    nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    return field.annotation if nested else None
