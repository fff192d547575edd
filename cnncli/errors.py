"""What can go wrong for a user: one line each, with the exit code that the command ends with."""

import os


def printable(text: str | os.PathLike[str]) -> str:
    """A text or a path with line ends, control characters and undecodable bytes as escapes: a terminal obeys some."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(text))


def one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def told(error: Exception) -> str:
    """What an exception of a library says, on one line and not too long; its type where that is nothing."""
    return one_line(str(error))[:200] or type(error).__name__


class CnncliError(Exception):
    """Anything that a command reports as one line. `str(error)` is that line, without the prefix `error: `."""

    exit_code = 1


class SpecificationError(CnncliError):
    """A specification, an override or an argument that cannot be used."""

    exit_code = 2


class DataError(CnncliError):
    """A data set that is missing, damaged or does not fit the network."""

    exit_code = 3


class CheckpointError(CnncliError):
    """A checkpoint that is missing, damaged or of another network."""

    exit_code = 4


class DivergedError(CnncliError):
    """The loss or a gradient became NaN or infinite."""

    exit_code = 5


class StoppedError(CnncliError):
    """A run was asked to stop, and has saved where it is. A command ends with 128 and the number of the signal."""
