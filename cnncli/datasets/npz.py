"""NumPy archives: a zip of `x_train`, `y_train`, `x_test` and `y_test`."""

import contextlib
import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnncli.datasets import npy
from cnncli.datasets.base import (
    IGNORED,
    Dataset,
    Split,
    allocate,
    check_images,
    check_labels,
    check_same_size,
    numbered_classes,
    pixel_classes,
)
from cnncli.datasets.files import Declared, open_regular, reason, refuse_bombs
from cnncli.errors import DataError, printable, told

KEYS = ("x_train", "y_train", "x_test", "y_test")
LABEL = np.dtype(np.int64).itemsize
RANKS = {2: 1, 3: 2, 4: 2, 5: 3}  # the spatial axes of an array of so many axes


def load_npz(path: Path) -> Dataset:
    """The data set in a `.npz` archive.

    `x_train` and `x_test` hold samples first, channels last or none, uint8 (kept) or floats (taken as they are, as
    float32): (N, L) is 1-D, (N, H, W) 2-D without channels, (N, H, W, C) 2-D, (N, D, H, W, C) 3-D. Three axes are
    always grey images, never signals with channels: those are written (N, 1, L, C). `y_train` and `y_test` hold whole
    numbers 0, 1, ... of shape (N,) or (N, 1), the highest training label setting the number of classes; or a class for
    each pixel, (N, L), (N, H, W) or (N, D, H, W), where 255 is IGNORED.

    Raises DataError, beginning with the path, for anything else. Nothing in the file is ever run or unpickled.
    """
    arrays = _read_arrays(path)
    train, test = _split(printable(path), arrays, "train"), _split(printable(path), arrays, "test")
    if train.labels.ndim != test.labels.ndim:
        raise DataError(f"{printable(path)}: of y_train and y_test, only one holds labels of pixels")
    if train.labels.ndim > 1:
        classes = pixel_classes(printable(path), train.labels, test.labels)
    else:
        classes = numbered_classes(train.labels)
        check_labels(f"{printable(path)}: y_test", test.labels, len(test.labels), len(classes))
    check_same_size(f"{printable(path)}: x_test", arrays["x_test"], arrays["x_train"])
    check_same_size(f"{printable(path)}: x_test", test.images, train.images)
    return Dataset(path.stem, str(path), RANKS[arrays["x_train"].ndim], train, test, classes)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's remarks on odd headers are no concern of the user's
            if file.read(4) != b"PK\x03\x04":
                raise DataError(f"{printable(path)}: not a .npz archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                _check_members(path, archive, os.fstat(file.fileno()).st_size)
                return {key: _read_member(path, archive, key) for key in KEYS}
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None
    except DataError:
        raise
    except Exception as error:  # as below
        raise DataError(f"{printable(path)}: damaged archive: {told(error)}") from None


def _check_members(path: Path, archive: np.lib.npyio.NpzFile, stored: int) -> None:
    """Refuse an archive that lacks an array, declares too many bytes, or is packed by a method without a bound."""
    missing = [key for key in KEYS if key not in archive.files]
    if missing:
        raise DataError(f"{printable(path)}: lacks {', '.join(missing)}; it needs {', '.join(KEYS)}")
    members = [member for member in archive.zip.infolist() if member.filename.removesuffix(".npy") in KEYS]
    for member in members:
        # zipfile unpacks a whole chunk of bzip2 or LZMA at once, whatever size it grows to; np.savez writes neither
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"{printable(path)}: {member.filename} is neither stored nor deflated, as np.savez writes it"
            )
    refuse_bombs([Declared(path, sum(_taken(path, archive, member) for member in members), stored)])


def _taken(path: Path, archive: np.lib.npyio.NpzFile, member: zipfile.ZipInfo) -> int:
    """The bytes of memory that a member takes while it is read, by its header and by the size that the archive says."""
    key = member.filename.removesuffix(".npy")
    with _reading(path, key), archive.zip.open(member.filename) as stream:
        found = _header(path, stream)
    if found is None:
        return member.file_size
    stored = max(1, found.dtype.itemsize)
    count = member.file_size // stored
    if key.startswith("x_"):
        return found._replace(shape=(count,)).taken()
    final = LABEL if math.prod(found.shape[1:]) == 1 else 1  # a class for each sample, or for each of its pixels
    return count * (stored + final)


def _header(path: Path, stream: BinaryIO) -> npy.Stored | None:
    """An array behind its header, None where a member is not one."""
    if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        return None
    stream.seek(0)
    return npy.header(path, stream)


@contextlib.contextmanager
def _reading(path: Path, key: str) -> Iterator[None]:
    """What a damaged member raises inside is a DataError."""
    try:
        yield
    except DataError:
        raise
    # zipfile, zlib, tokenize, ast and NumPy raise some twenty kinds of exceptions, MemoryError, NotImplementedError and
    # RuntimeError among them.
    except Exception as error:
        raise DataError(f"{printable(path)}: {key} cannot be read: {told(error)}") from None


def _read_member(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    """An array as it is stored, but longer and shorter floats than float32 as such: part by part."""
    with _reading(path, key):
        member = f"{key}.npy"
        if key.startswith("x_") and member in archive.zip.namelist():
            with archive.zip.open(member) as stream:
                found = _header(path, stream)
                if found and _is_odd_float(found.dtype) and found.shape and min(found.shape) > 0:
                    return _as_float32(f"{printable(path)}: {key}", found)
        array = archive[key]
    if not isinstance(array, np.ndarray):
        raise DataError(f"{printable(path)}: {key} is not a NumPy array")
    return array


def _is_odd_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" and dtype != np.float32


def _as_float32(where: str, found: npy.Stored) -> np.ndarray:
    numbers, start = allocate(where, found.shape[0], found.shape[1:], np.float32), 0
    for part in found.parts():
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused later
            numbers[start : start + len(part)] = part
        start += len(part)
    return numbers


def _split(where: str, arrays: dict[str, np.ndarray], part: str) -> Split:
    raw, labels, where_labels = arrays[f"x_{part}"], arrays[f"y_{part}"], f"{where}: y_{part}"
    images = _images(f"{where}: x_{part}", raw)
    if labels.dtype.kind in "iu" and labels.ndim > 1 and labels.shape == raw.shape[: 1 + RANKS[raw.ndim]]:
        if labels.min() < 0 or labels.max() > IGNORED:
            raise DataError(f"{where_labels}: holds labels outside 0 .. {IGNORED}")
        return Split(images, np.ascontiguousarray(labels, np.uint8).reshape(images.shape[:4]))
    labels = _labels(where_labels, labels)
    check_labels(where_labels, labels, len(images))
    return Split(images, labels.astype(np.int64))


def _images(where: str, images: np.ndarray) -> np.ndarray:
    """Images as stored, made (N, D, H, W, C) uint8 or float32, C-contiguous."""
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise DataError(f"{where}: is {images.dtype}, expected uint8 or floats")
    if not 2 <= images.ndim <= 5:
        raise DataError(f"{where}: has {images.ndim} axes, expected (N,L), (N,H,W), (N,H,W,C) or (N,D,H,W,C)")
    if images.dtype != np.uint8:
        images = images.astype(np.float32, copy=False)
    check_images(where, images)
    sample = images.shape[1:]
    size = {1: (1, 1, *sample, 1), 2: (1, *sample, 1), 3: (1, *sample), 4: sample}[len(sample)]
    return np.ascontiguousarray(images).reshape(len(images), *size)


def _labels(where: str, labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: is {labels.dtype}, expected whole numbers")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"{where}: has the shape {labels.shape}, expected (N,) or (N, 1)")
    return labels
