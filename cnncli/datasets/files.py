"""Opening files that a user names, without trusting them."""

import errno
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from cnncli.errors import DataError, printable

# What takes no more in memory costs a fraction of a second, whatever it is; while it is read it takes up to twice that.
# ModelNet10's monitors, grids of 0 and 1, go from half a MiB to 117 unpacked, which are 58 as float32.
BOMB_BYTES = 96 * 2**20
CHUNK = 2**20
BOMB_RATIO = 200  # MNIST takes 4.7 times its size, grids that are 98 % empty about 100; deflate's limit is 1032


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading; raise OSError for anything else.

    A FIFO would block for ever, and a device may never end: the file is opened without waiting and looked at after
    that, so that nothing can be put in its place in between.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return os.fdopen(descriptor, "rb")


def reason(error: OSError) -> str:
    """What an OSError says, without its number and its path."""
    return error.strerror or str(error)


class Declared(NamedTuple):
    """A file of `stored` bytes and what its content takes in memory, by its header, in the types that it gets there."""

    path: Path
    taken: int
    stored: int


def refuse_bombs(files: Sequence[Declared]) -> None:
    """Raise DataError where the files of a data set declare more than they can together be believed to hold."""
    taken, stored = sum(file.taken for file in files), sum(file.stored for file in files)
    if too_large(taken, stored):
        worst = max(files, key=lambda file: file.taken)
        refuse = f"{printable(worst.path)}: declares what takes {worst.taken} bytes, in a file of {worst.stored}"
        others = f" ({taken} and {stored} with the data set's other files)" if len(files) > 1 else ""
        why = "damaged, or made to fill the memory (store it uncompressed if it is right)"
        raise DataError(f"{refuse}{others}: {why}")


def refuse_growth(where: str, paths: Sequence[Path], sample: tuple[int, ...], itemsize: int, why: str) -> None:
    """Raise DataError where a sample of a shape for each file would take far more memory than the files hold."""
    needed, stored = len(paths) * math.prod(sample) * itemsize, sum(map(size_of, paths))
    if too_large(needed, stored):
        size = f"{len(paths)} samples of {'x'.join(map(str, sample))} take {needed} bytes, the files have {stored}"
        raise DataError(f"{printable(where)}: {size}: {why}")


def size_of(path: Path) -> int:
    """The bytes of a file, none where it cannot be found."""
    try:
        return os.stat(path).st_size
    except OSError:  # who opens it says so
        return 0


def too_large(needed: int, stored: int) -> bool:
    """Whether `stored` bytes cannot be believed to become so many."""
    return needed > max(BOMB_BYTES, BOMB_RATIO * stored)


def fill(stream: BinaryIO, numbers: np.ndarray) -> int:
    """Read into `numbers` (uint8, 1-D) until it is full or the stream ends; the count of bytes read."""
    view, done = memoryview(numbers), 0
    while done < len(view):
        count = stream.readinto(view[done : done + CHUNK])
        if not count:
            break
        done += count
    return done
