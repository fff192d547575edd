"""Words for messages: every one of them fits on one line, whatever the user typed."""

import difflib
import json
from collections.abc import Iterable
from typing import Any

from cnncli.errors import printable

LONGEST = 60


def shorten(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def quote(value: Any) -> str:
    """A value as the user may have typed it, on one line, cut to 60 characters."""
    if isinstance(value, str):
        return f'"{shorten(printable(value[: 2 * LONGEST]))}"'
    return shorten(printable(json.dumps(value, ensure_ascii=False)))


def dotted(path: Iterable[str | int]) -> str:
    """`layers[0].conv.filters`"""
    parts = [f"[{part}]" if isinstance(part, int) else f".{shorten(printable(part[: 2 * LONGEST]))}" for part in path]
    return "".join(parts).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    close = difflib.get_close_matches(word[:64].lower(), list(known), n=1)
    return close[0] if close else None


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "filters"? (known: filters, kernel)`, to end a message about an unknown word."""
    known = list(known)
    near = nearest(word, known)
    hint = f'; did you mean "{near}"?' if near else ""
    return f"{hint} (known: {', '.join(known) or 'none'})"
