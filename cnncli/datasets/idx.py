"""IDX, the format of MNIST: 0, 0, a type code, the number of axes, each extent as a big-endian uint32, the numbers.

Described by its publisher at http://yann.lecun.com/exdb/mnist/ (section "FILE FORMATS"). A file may be gzip-compressed.
"""

import contextlib
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from cnncli.datasets.base import (
    Dataset,
    Split,
    check_count,
    check_images,
    check_labels,
    check_same_size,
    numbered_classes,
    text_of_shape,
)
from cnncli.datasets.files import Declared, fill, open_regular, reason, refuse_bombs
from cnncli.datasets.gunzip import MAGIC, Gunzip
from cnncli.errors import DataError, printable

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
LABEL = np.dtype(np.int64).itemsize


class Opened(NamedTuple):
    """An open file behind its header: the shape of its bytes, the header's length, the file's, and how it is stored."""

    path: Path
    stream: BinaryIO
    shape: tuple[int, ...]
    header: int
    stored: int
    compressed: bool


@contextlib.contextmanager
def _opened(path: Path, axes: int) -> Iterator[Opened]:
    """A file with its header read; what a damaged file raises inside is a DataError."""
    try:
        with open_regular(path) as file:
            stored, compressed = os.fstat(file.fileno()).st_size, file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            stream = Gunzip(path, file) if compressed else file
            yield Opened(path, stream, *_read_header(path, stream, axes), stored, compressed)
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None


def declared(path: Path, axes: int, itemsize: int) -> tuple[int, Declared]:
    """How many samples a file declares, and what its numbers take as types of so many bytes.

    What is not compressed takes what it has. Raises DataError as `read_idx` does.
    """
    with _opened(path, axes) as found:
        taken = math.prod(found.shape) * itemsize if found.compressed else found.stored
        return found.shape[0], Declared(path, taken, found.stored)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The uint8 array in an IDX file, gzip-compressed or not, writable, with the number of axes that is asked for.

    Raises DataError, beginning with the path, where the file cannot be read, is not IDX, holds another type or number
    of axes, or where its numbers are fewer or more than its header says. Memory is taken only once the header has
    been found plausible, and never more than the header declares.
    """
    with _opened(path, axes) as found:
        return _read(found)


def _read(found: Opened) -> np.ndarray:
    path, shape, header, stored = printable(found.path), found.shape, found.header, found.stored
    expected = math.prod(shape)
    declares = f"its header declares {text_of_shape(shape)} = {expected} bytes"
    if found.compressed:
        refuse_bombs([Declared(found.path, expected, stored)])
    elif header + expected != stored:
        wrong = "truncated" if stored < header + expected else "too long"
        raise DataError(f"{path}: {wrong}: {declares}, {stored - header} follow")
    numbers = np.empty(expected, np.uint8)
    done = fill(found.stream, numbers)
    if done < expected:
        raise DataError(f"{path}: truncated: {declares}, {done} follow")
    if found.stream.read(1):  # also makes gzip check its checksum
        raise DataError(f"{path}: too long: {declares}, more than {expected} follow")
    return numbers.reshape(shape)


def _read_header(path: Path, stream: BinaryIO, axes: int) -> tuple[tuple[int, ...], int]:
    """The shape that the header declares, and the header's length in bytes."""
    magic = stream.read(4)
    if len(magic) < 4:
        raise DataError(f"{printable(path)}: truncated: {len(magic)} bytes, an IDX header has at least 8")
    if magic[:2] != b"\0\0" or magic[2] not in TYPES:
        raise DataError(f"{printable(path)}: not an IDX file: it starts with the bytes {magic.hex(' ')}")
    if magic[2] != 0x08:
        raise DataError(f"{printable(path)}: holds {TYPES[magic[2]]} (type code {magic[2]:#04x}), only uint8 is read")
    if magic[3] != axes:
        raise DataError(f"{printable(path)}: holds an array of {magic[3]} axes, expected {axes}")
    extents = stream.read(4 * axes)
    if len(extents) < 4 * axes:
        raise DataError(f"{printable(path)}: truncated: {4 + len(extents)} of the header's {4 + 4 * axes} bytes")
    return struct.unpack(f">{axes}I", extents), 4 + 4 * axes


def find_files(folder: Path) -> tuple[list[Path], list[str]]:
    """The IDX files of `folder` in the order of `FILES`, each plain or with .gz, and the names that are not there."""
    found, missing = [], []
    for name in FILES:
        for path in (folder / name, folder / f"{name}.gz"):
            if os.path.lexists(path):
                found.append(path)
                break
        else:
            missing.append(name)
    return found, missing


def load_folder(files: list[Path], name: str, source: str, classes: tuple[str, ...] | None = None) -> Dataset:
    """The data set in four IDX files, in the order of `FILES`; without `classes`, named "0", "1", ... after the labels.

    Raises DataError where a file is damaged, or where images, labels and classes do not fit together.
    """
    found = [declared(path, *of) for path, of in zip(files, 2 * [(3, 1), (1, LABEL)], strict=True)]
    counts = [count for count, _ in found]
    refuse_bombs([size for _, size in found])
    splits = []
    for images_path, labels_path, count in ((*files[:2], counts[1]), (*files[2:], counts[3])):
        images = read_idx(images_path, axes=3)
        check_images(printable(images_path), images)
        check_count(printable(labels_path), count, len(images))
        labels = read_idx(labels_path, axes=1).astype(np.int64)
        check_labels(printable(labels_path), labels, len(images), len(classes) if classes else 256)
        classes = classes or numbered_classes(labels)
        count, height, width = images.shape
        splits.append(Split(images.reshape(count, 1, height, width, 1), labels))
    check_same_size(printable(files[2]), splits[1].images[:, 0, :, :, 0], splits[0].images[:, 0, :, :, 0])
    return Dataset(name, source, 2, splits[0], splits[1], classes)
