"""What the tables of hostile input share: a case is a command on files that are made to harm it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OK, SPECIFICATION, DATA, CHECKPOINT = 0, 2, 3, 4  # exit codes


@dataclass(frozen=True)
class Case:
    """`make` writes files into an empty folder and returns the words of a command, which must end with `code`.

    Its one line of error holds every one of the words in `says`.
    """

    name: str
    make: Callable[[Path], list]
    code: int
    says: tuple[str, ...] = ()


def bytes_of(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
