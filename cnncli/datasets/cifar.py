"""CIFAR-10 and CIFAR-100 in their binary form: records of one or two label bytes and 3,072 of a 32x32 picture.

Described by their publisher at https://www.cs.toronto.edu/~kriz/cifar.html: the planes of red, green and blue follow
each other, each row by row. CIFAR-100 has two labels a record, the coarse one first; the fine one is read.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnncli.datasets.base import Dataset, Split, allocate, check_labels
from cnncli.datasets.files import fill, open_regular, reason
from cnncli.errors import DataError, printable

SIDE, CHANNELS = 32, 3
PIXELS = SIDE * SIDE * CHANNELS
PART = 1000  # records that are read at a time
MOST_NAMES = 2**16  # bytes of a file of class names


class Form(NamedTuple):
    """The files of one of the two, all of which its publisher ships, and the bytes of labels in a record."""

    train: tuple[str, ...]
    test: str
    names: str
    labels: int
    classes: int


FORMS = {
    "cifar-10": Form(tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt", 1, 10),
    "cifar-100": Form(("train.bin",), "test.bin", "fine_label_names.txt", 2, 100),
}


def form_of(folder: Path) -> str | None:
    """Which of the two a folder holds, wholly or in part, None where it holds neither."""
    return next((name for name, form in FORMS.items() if _present(folder, (*form.train, form.test))), None)


def find_files(folder: Path, name: str) -> tuple[list[Path], list[str]]:
    """The files of a form that are in a folder, the test split's last, and the names of those that are not.

    A part of CIFAR-10's training batches is enough for a smaller training split.
    """
    form = FORMS[name]
    train = _present(folder, form.train)
    missing = [*(() if train else form.train), *(() if _present(folder, (form.test,)) else (form.test,))]
    return [folder / file for file in (*train, form.test)], missing


def _present(folder: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if os.path.lexists(folder / name)]


def load_folder(folder: Path, form: str, name: str, source: str, classes: tuple[str, ...] | None = None) -> Dataset:
    """The data set in a folder of binaries of that form; the classes' names are those of its own file, if it is there.

    Raises DataError where a file is missing, is no whole number of records or holds a label of no class.
    """
    (*train, test), missing = find_files(folder, form)
    if missing:
        raise DataError(f"{printable(folder)}: lacks {', '.join(missing)}")
    classes = _names(folder / FORMS[form].names, FORMS[form].classes) or classes
    classes = classes or tuple(map(str, range(FORMS[form].classes)))
    return Dataset(name, source, 2, _read(train, FORMS[form]), _read([test], FORMS[form]), classes)


def _read(paths: list[Path], form: Form) -> Split:
    counts = [_records(path, form) for path in paths]
    pictures = allocate(printable(paths[0].parent), sum(counts), (1, SIDE, SIDE, CHANNELS), np.uint8)
    labels, start = np.empty(len(pictures), np.int64), 0
    for path, count in zip(paths, counts, strict=True):
        _read_file(path, form, pictures[start : start + count, 0], labels[start : start + count])
        start += count
    return Split(pictures, labels)


def _records(path: Path, form: Form) -> int:
    """How many records a file holds, by its length."""
    try:
        with open_regular(path) as file:
            size, record = os.fstat(file.fileno()).st_size, form.labels + PIXELS
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None
    if size == 0 or size % record:
        raise DataError(f"{printable(path)}: truncated or damaged: {size} bytes are no records of {record}")
    return size // record


def _read_file(path: Path, form: Form, pictures: np.ndarray, labels: np.ndarray) -> None:
    """Read the records of a file into pictures (N, 32, 32, 3) and labels (N,)."""
    part = np.empty((min(PART, len(labels)), form.labels + PIXELS), np.uint8)
    try:
        with open_regular(path) as file:
            for first in range(0, len(labels), PART):
                records = part[: len(labels) - first]
                if fill(file, records.reshape(-1)) < records.size:
                    raise DataError(f"{printable(path)}: truncated while it was read")
                labels[first : first + PART] = records[:, form.labels - 1]
                planes = records[:, form.labels :].reshape(-1, CHANNELS, SIDE, SIDE)
                for channel in range(CHANNELS):  # a plane at a time is 3 times as fast as a transposition
                    pictures[first : first + PART, ..., channel] = planes[:, channel]
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None
    check_labels(printable(path), labels, len(labels), form.classes)


def _names(path: Path, classes: int) -> tuple[str, ...] | None:
    """The names in a text file, one a line; None where it is not there."""
    if not os.path.lexists(path):
        return None
    try:
        with open_regular(path) as file:
            text = file.read(MOST_NAMES).decode()
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise DataError(f"{printable(path)}: is not text") from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(set(names)) != classes or len(names) != classes or not all(map(str.isprintable, names)):
        raise DataError(f"{printable(path)}: expected {classes} different names, one a line")
    return names
