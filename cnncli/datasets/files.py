"""Opening files that a user names, without trusting them."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnncli.errors import DataError

BOMB_BYTES = 256 * 2**20  # below this a bomb costs a fraction of a second and is then refused by its own contents
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


def shown(path: str | os.PathLike[str]) -> str:
    """A path as a message shows it: on one line, whatever characters it holds."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def refuse_bomb(path: Path, declared: int, stored: int) -> None:
    """Raise DataError where a compressed file of `stored` bytes declares more bytes than it can be believed to hold."""
    if declared > max(BOMB_BYTES, BOMB_RATIO * stored):
        raise DataError(
            f"{shown(path)}: declares {declared} bytes in a file of {stored}: damaged, or made to fill the memory"
            " (store it uncompressed if it is right)"
        )


def fill(stream: BinaryIO, numbers: np.ndarray) -> int:
    """Read into `numbers` (uint8, 1-D) until it is full or the stream ends; the count of bytes read."""
    view, done = memoryview(numbers), 0
    while done < len(view):
        count = stream.readinto(view[done : done + CHUNK])
        if not count:
            break
        done += count
    return done
