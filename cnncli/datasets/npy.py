"""NumPy's `.npy` files, plain or with .gz, part by part.

Described in NumPy's own documentation of numpy.lib.format. Nothing in a file is ever run or unpickled.
"""

import contextlib
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from cnncli.datasets.base import text_of_shape
from cnncli.datasets.files import Declared, fill, open_regular, reason, refuse_bombs, size_of
from cnncli.datasets.gunzip import Gunzip
from cnncli.errors import DataError, printable, told

PART = 2**24  # bytes that are read at a time
SAMPLE = 64  # bytes that a sample takes at least, its digest among them
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Stored(NamedTuple):
    """An open file behind its header: the array's shape and type, and whether its first axis runs fastest."""

    path: Path
    stream: BinaryIO
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    def parts(self) -> Iterator[np.ndarray]:
        """The array, cut along its first axis into parts of a few megabytes where it lies so in the file.

        Raises DataError where the file ends early or goes on behind the array.
        """
        count, size = self.shape[0], math.prod(self.shape[1:]) * self.dtype.itemsize
        step = count if self.fortran else max(1, PART // size)
        for first in range(0, count, step):
            shape = (min(step, count - first), *self.shape[1:])
            stored = np.empty(math.prod(shape) * self.dtype.itemsize, np.uint8)
            if fill(self.stream, stored) < len(stored):
                raise self.truncated()
            part = stored.view(self.dtype)
            yield part.reshape(shape[::-1]).T if self.fortran else part.reshape(shape)
        if self.stream.read(1):  # also makes gzip check its checksum
            raise DataError(
                f"{printable(self.path)}: too long: more follows than an array of {text_of_shape(self.shape)}"
            )

    def taken(self) -> int:
        """The bytes of memory that it takes as uint8, or as float32 where it is anything else; and for longer numbers
        at least half of theirs, as going through them takes time.

        What lies the other way round in the file is first read as it is there.
        """
        stored = self.dtype.itemsize
        final = stored if self.dtype == np.uint8 else np.dtype(np.float32).itemsize
        return math.prod(self.shape) * (max(final, stored // 2) + self.fortran * stored)

    def truncated(self) -> DataError:
        declares = f"its header declares {text_of_shape(self.shape)} of {self.dtype}"
        return DataError(f"{printable(self.path)}: truncated: {declares}, less follows")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Stored]:
    """An array's file, its header found plausible; whatever is raised inside by a damaged file is a DataError.

    Refused are arrays of other things than uint8, whole numbers, booleans and floats, empty ones, and those that
    declare more bytes than the file has, or for a compressed file can be believed to have.
    """
    try:
        with open_regular(path) as file:
            size, stream = os.fstat(file.fileno()).st_size, file
            if _is_packed(path):
                stream = Gunzip(path, file)
            found = _header(path, stream)
            if stream is not file:
                refuse_bombs([Declared(path, found.taken() + SAMPLE * found.shape[0], size)])
            elif math.prod(found.shape) * found.dtype.itemsize > size - file.tell():
                raise found.truncated()
            yield found
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None
    # On damaged headers NumPy, ast and tokenize raise many kinds of exceptions.
    except Exception as error:
        raise DataError(f"{printable(path)}: damaged .npy file: {told(error)}") from None


def refuse_packed(paths: Iterable[Path]) -> None:
    """Raise DataError where the files of a data set declare more than they can together be believed to hold.

    What is not compressed takes what it has.
    """
    files = []
    for path in paths:
        size = taken = size_of(path)
        if _is_packed(path):
            with opened(path) as found:
                taken = found.taken() + SAMPLE * found.shape[0]
        files.append(Declared(path, taken, size))
    refuse_bombs(files)


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _header(path: Path, stream: BinaryIO) -> Stored:
    found = header(path, stream)
    if found.dtype.kind not in "buif":
        raise DataError(f"{printable(path)}: holds {found.dtype}, expected numbers")
    if not found.shape or min(found.shape) < 1:
        raise DataError(f"{printable(path)}: an array of the shape {found.shape} holds no sample")
    return found


def header(path: Path, stream: BinaryIO) -> Stored:
    """An array behind its header, which may declare anything. Raises many kinds of exceptions where it is damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's remarks on odd headers are no concern of the user's
        version = np.lib.format.read_magic(stream)
        if version not in READERS:
            raise DataError(f"{printable(path)}: is written in version {'.'.join(map(str, version))} of .npy")
        shape, fortran, dtype = READERS[version](stream)
    return Stored(path, stream, shape, fortran, dtype)
