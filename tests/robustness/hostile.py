"""What the tables of hostile input share: a case is a command on files that are made to harm it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from child import Commands, Ended

OK, SPECIFICATION, DATA, CHECKPOINT = 0, 2, 3, 4  # exit codes
MIB = 256  # of memory above the start


@dataclass(frozen=True)
class Case:
    """`make` writes files into an empty folder and returns the words of a command, which must end with `code`.

    Its one line of error holds every one of the words in `says`.
    """

    name: str
    make: Callable[[Path], list]
    code: int
    says: tuple[str, ...] = ()

    def problems(self, commands: Commands, folder: Path, seconds: float) -> tuple[Ended, list[str]]:
        """How its command ends in an empty folder, and what is wrong with that."""
        words = self.make(folder)
        before = sorted(folder.rglob("*"))
        ended = commands.run(folder, *words)
        found = [] if ended.code == self.code else [f"exit code {ended.code} in place of {self.code}"]
        if "Traceback" in ended.err + ended.out:
            found.append("a traceback")
        if self.code == OK:
            found += ["writes on stderr"] if ended.err else []
        else:
            found += [] if ended.err.count("\n") == 1 and ended.err.startswith("error: ") else ["not one line"]
            found += [] if ended.err[:-1].isprintable() else ["writes what a terminal obeys"]
            found += ["writes on stdout"] if ended.out else []
            found += [f"does not say {word!r}" for word in self.says if word not in ended.err]
        found += ["left something behind"] if sorted(folder.rglob("*")) != before else []
        found += ["slow"] if ended.seconds > seconds else []
        found += ["too much memory"] if ended.mib > MIB else []
        return ended, found


def bytes_of(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def data(name, make, *says, code=DATA):
    return Case(f"data: {name}", lambda folder: [*(make(folder) or ["datasets", "data"])], code, says)


def files(contents):
    """A function that writes files below data/; None for one that is left out, a function for one that it makes."""

    def make(folder):
        for name, content in contents.items():
            path = folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            content(path) if callable(content) else path.write_bytes(content)

    return make


def made(content):
    """What makes a file whose bytes are only made when they are wanted."""
    return lambda path: path.write_bytes(content())


def linked(target):
    """What makes a link in place of a file."""
    return lambda path: os.symlink(target, path)


def hollow(size):
    """What makes a file of so many bytes that are nowhere on the disk."""

    def make(path):
        path.touch()
        os.truncate(path, size)

    return make


FIFO, FOLDER = os.mkfifo, os.mkdir
