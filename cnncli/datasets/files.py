"""Opening files that a user names, without trusting them."""

import errno
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnncli.errors import DataError, printable

# What is smaller unpacked costs a fraction of a second, whatever it is. ModelNet10's monitors, grids of 0 and 1, unpack
# from half a MiB to 117.
BOMB_BYTES = 128 * 2**20
CHUNK = 2**20
BOMB_RATIO = 200  # MNIST unpacks to 4.7 times its size, grids that are 98 % empty to about 50; deflate's limit is 1032


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


def refuse_bomb(path: Path, declared: int, stored: int) -> None:
    """Raise DataError where a compressed file of `stored` bytes declares more bytes than it can be believed to hold."""
    if too_large(declared, stored):
        raise DataError(
            f"{printable(path)}: declares {declared} bytes in a file of {stored}: damaged, or made to fill the memory"
            " (store it uncompressed if it is right)"
        )


def refuse_growth(where: str, paths: Sequence[Path], sample: tuple[int, ...], itemsize: int, why: str) -> None:
    """Raise DataError where a sample of a shape for each file would take far more memory than the files hold."""
    needed, stored = len(paths) * math.prod(sample) * itemsize, sum(map(_size, paths))
    if too_large(needed, stored):
        size = f"{len(paths)} samples of {'x'.join(map(str, sample))} take {needed} bytes, the files have {stored}"
        raise DataError(f"{printable(where)}: {size}: {why}")


def _size(path: Path) -> int:
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
