"""Specifications on disk: files of the user, and the zoo that travels with cnncli."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cnncli.errors import SpecificationError, printable
from cnncli.resources import bundled
from cnncli.spec.specification import Specification, parse
from cnncli.spec.words import nearest, quote
from cnncli.spec.yaml import MAX_CHARACTERS

SUFFIX = ".yaml"


def models() -> list[tuple[str, Path]]:
    """The networks of the zoo, by name."""
    return sorted((path.stem, path) for path in bundled("models").glob(f"*{SUFFIX}"))


def read(path_or_name: str, overrides: Sequence[str] = ()) -> Specification:
    """The specification in a file, or of that name in the zoo; `.yaml` may be left out. A file wins over the zoo.

    Raises SpecificationError in one line: no such file or model, not a regular file, unreadable, or its first mistake.
    """
    path = find(str(path_or_name))
    return parse(text_of(path), str(path), overrides)


def find(path_or_name: str) -> Path:
    zoo = dict(models())
    name = path_or_name.removesuffix(SUFFIX)
    for candidate in (path_or_name, name + SUFFIX):
        try:
            if stat.S_ISREG(os.stat(candidate).st_mode):
                return Path(candidate)
        except (OSError, ValueError):  # ValueError: a NUL byte
            continue
    if name in zoo:
        return zoo[name]
    if "\0" not in path_or_name and os.path.exists(path_or_name):
        raise SpecificationError(f"{printable(path_or_name)}: not a regular file")
    near = nearest(name, zoo)
    hint = f'; did you mean "{near}"?' if near else ""
    raise SpecificationError(
        f"no file and no model of the zoo is called {quote(path_or_name)}{hint} (cnncli models lists the zoo)"
    )


def text_of(path: Path) -> str:
    """The text of a file of at most 1 MB, in UTF-8 with or without a byte order mark."""
    shown = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise SpecificationError(f"{shown}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_CHARACTERS:
        raise SpecificationError(f"{shown}:1: larger than 1 MB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecificationError(f"{shown}:{line}: not UTF-8 text: byte 0x{content[error.start]:02X}") from None
