"""NumPy's `.npy` files, plain or with .gz, part by part.

Described in NumPy's own documentation of numpy.lib.format. Nothing in a file is ever run or unpickled.
"""

import contextlib
import gzip
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from cnncli.datasets.base import text_of_shape
from cnncli.datasets.files import fill, open_regular, reason, refuse_bomb
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
        with open_regular(path) as file, contextlib.ExitStack() as stack:
            size, stream = os.fstat(file.fileno()).st_size, file
            if path.suffix.lower() == ".gz":
                stream = stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb"))
            found = _header(path, stream)
            declared = math.prod(found.shape) * found.dtype.itemsize
            if stream is not file:
                refuse_bomb(path, declared + SAMPLE * found.shape[0], size)
            elif declared > size - file.tell():
                raise found.truncated()
            yield found
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None
    except EOFError:
        raise DataError(f"{printable(path)}: truncated: its gzip stream has no end") from None
    # On damaged headers and streams NumPy, ast, tokenize and zlib raise many kinds of exceptions.
    except Exception as error:
        raise DataError(f"{printable(path)}: damaged .npy file: {told(error)}") from None


def _header(path: Path, stream: BinaryIO) -> Stored:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's remarks on odd headers are no concern of the user's
        version = np.lib.format.read_magic(stream)
        if version not in READERS:
            raise DataError(f"{printable(path)}: is written in version {'.'.join(map(str, version))} of .npy")
        shape, fortran, dtype = READERS[version](stream)
    if dtype.kind not in "buif":
        raise DataError(f"{printable(path)}: holds {dtype}, expected numbers")
    if not shape or min(shape) < 1:
        raise DataError(f"{printable(path)}: an array of the shape {shape} holds no sample")
    return Stored(path, stream, shape, fortran, dtype)
