"""YAML 1.2 text to plain data with the place of every value, and back.

The text is anybody's, so the reader takes only what a specification needs: one document of mappings, lists, words and
numbers of the core schema (https://yaml.org/spec/1.2.2/#103-core-schema), without anchors, tags or merge keys. It works
on parser events: the data never becomes deeper or larger than the limits, and costs no second tree of nodes.
"""

import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from cnncli.errors import SpecificationError, one_line
from cnncli.spec.words import quote

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_DIGITS = 30

Path = tuple[str | int, ...]  # the keys and positions that lead from the top of the document to a value
Mark = tuple[int, int]  # (line, column) from 1: of a key, of an item of a list

CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
CONSTANTS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
BARE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass
class Tree:
    """Plain data and where each part of it stands in the text."""

    data: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)


def load(text: str, where: Callable[[int], str]) -> Tree:
    """Read one document; `where(line)` begins the message. Empty text gives None.

    Raises SpecificationError, in one line, for whatever is not plain YAML within the limits of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecificationError(f"{where(1)}: larger than {MAX_CHARACTERS:,} characters")
    reader = _Reader(where)
    try:
        return reader.read(YAML(typ="safe", pure=True).parse(text))
    except SpecificationError:
        raise
    except MarkedYAMLError as error:
        unfinished = "end of stream" in str(error.problem) or "<stream end>" in str(error.problem)
        mark = (error.context_mark if unfinished else None) or error.problem_mark or error.context_mark
        what = ", ".join(one_line(part) for part in (error.context, error.problem) if part)
        hint = "; indent with spaces, not with tabs" if "'\\t'" in what else ""
        line = mark.line + 1 if mark else reader.line
        raise SpecificationError(f"{where(line)}: not valid YAML: {what}{hint}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecificationError(f"{where(line)}: the character U+{error.character:04X} is not allowed") from None
    except Exception:  # damaged text makes ruamel.yaml raise ValueError, OverflowError and others
        raise SpecificationError(f"{where(reader.line)}: not valid YAML, from this line on") from None


class _Reader:
    def __init__(self, where: Callable[[int], str]):
        self.where = where
        self.line = 1
        self.nodes = 0
        self.marks: dict[Path, Mark] = {}

    def fail(self, event: Any, message: str) -> SpecificationError:
        return SpecificationError(f"{self.where(event.start_mark.line + 1)}: {message}")

    def read(self, events: Iterator[Any]) -> Tree:
        self.events = events
        next(events)  # the start of the stream
        start = next(events)
        if isinstance(start, StreamEndEvent):
            return Tree()
        self.refuse_directives(start)
        data = self.node(next(events), (), 1)
        next(events)  # the end of the document
        if not isinstance(after := next(events), StreamEndEvent):
            raise self.fail(after, "a second document begins here; one file holds one specification")
        return Tree(data, self.marks)

    def refuse_directives(self, start: DocumentStartEvent) -> None:
        if start.tags or (start.version is not None and list(start.version) != [1, 2]):
            raise self.fail(start, "directives are not supported, the file is read as YAML 1.2")

    def node(self, event: Any, path: Path, depth: int) -> Any:
        self.line = event.start_mark.line + 1
        self.marks.setdefault(path, (self.line, event.start_mark.column + 1))
        self.check(event, depth)
        if isinstance(event, ScalarEvent):
            return self.scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(path, depth)
        return self.mapping(path, depth)

    def check(self, event: Any, depth: int) -> None:
        if isinstance(event, AliasEvent):
            raise self.fail(event, f"aliases are not supported: {quote('*' + event.anchor)}")
        if event.anchor is not None:
            raise self.fail(event, f"anchors are not supported: {quote('&' + event.anchor)}")
        if event.tag is not None:
            raise self.fail(event, f"tags are not supported: {quote(event.tag)}")
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.fail(event, f"more than {MAX_NODES:,} values")
        if depth > MAX_DEPTH and not isinstance(event, ScalarEvent):
            raise self.fail(event, f"nested more than {MAX_DEPTH} deep")

    def scalar(self, event: ScalarEvent) -> Any:
        if event.style:  # quoted or a block of text
            return event.value
        value = plain(event.value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.fail(event, f"numbers must be finite, found {quote(event.value)}")
        if isinstance(value, int) and len(event.value) > MAX_DIGITS:
            raise self.fail(event, f"a number of {len(event.value):,} digits; at most {MAX_DIGITS} are read")
        return value

    def sequence(self, path: Path, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            values.append(self.node(event, (*path, len(values)), depth + 1))
        return values

    def mapping(self, path: Path, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self.key(event, depth)
            inside = (*path, key)
            if key in values:
                raise self.fail(event, f"duplicate key {quote(key)}, first on line {self.marks[inside][0]}")
            self.marks[inside] = (event.start_mark.line + 1, event.start_mark.column + 1)
            values[key] = self.node(next(self.events), inside, depth + 1)
        return values

    def key(self, event: Any, depth: int) -> str:
        self.check(event, depth)
        if not isinstance(event, ScalarEvent):
            raise self.fail(event, "a key must be a word, found a list or a mapping")
        key = self.scalar(event)
        if not isinstance(key, str):
            raise self.fail(event, f"a key must be a word, found {quote(key)}")
        if key == "<<" and not event.style:
            raise self.fail(event, 'merge keys are not supported: "<<"')
        return key


def plain(text: str) -> Any:
    """The value of an unquoted scalar in the core schema. An integer of too many digits comes back as 0."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if INTEGER.fullmatch(text):
        if len(text) > MAX_DIGITS:
            return 0  # Python refuses to convert more than 4,300 digits, and the caller refuses them anyway
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if FLOAT.fullmatch(text):
        return float(text)
    return math.nan if NOT_FINITE.fullmatch(text) else text


class _Representer(SafeRepresenter):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> Any:
        # The emitter leaves keys such as ":0" bare inside braces, where its own scanner does not read them back.
        style = None if BARE.fullmatch(text) and isinstance(plain(text), str) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_options(self, options: dict[str, Any]) -> Any:
        node = self.represent_mapping("tag:yaml.org,2002:map", options)
        if len(options) == 1:  # `- dropout: 0.5` without braces, as people write it
            node.flow_style = False
        return node


_Representer.add_representer(str, _Representer.represent_text)
_Representer.add_representer(dict, _Representer.represent_options)


def dump(data: Any) -> str:
    """Block style with the innermost lists and mappings on one line; `load` reads the same data from it."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.sort_base_mapping_type_on_output = False
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(data, stream)
    return stream.getvalue()
