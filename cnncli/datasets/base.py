"""What a data set is, and the checks that every reader ends with."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cnncli import memory
from cnncli.errors import DataError

MAX_CLASSES = 65536  # a stray label of a billion would otherwise ask for a billion class names and outputs
IGNORED = 255  # the label of pixels that nobody labelled: they count in no loss and no measure
# the tasks: a label for each sample, one for each of its pixels, or none: then only its inputs can be reconstructed
CLASSES, PIXELS, UNLABELLED = "classes", "pixels", "unlabelled"


class Input(NamedTuple):
    """What a network takes: spatial extents, such as (height, width), and channels. Readers decode to it."""

    axes: tuple[int, ...]
    channels: int


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their labels: `images` (N, D, H, W, C) uint8 or float32, C-contiguous.

    `labels` are (N,) int64, a class for each sample; or (N, D, H, W) uint8, a class for each pixel, with IGNORED where
    there is none.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split of samples of one size.

    `source` is the path that it was read from, or "bundled"; `rank` is the number of spatial axes (1, 2 or 3): with a
    rank of 2 the images' D is 1, with a rank of 1 D and H are 1. `classes` names the labels 0, 1, ...; there are none
    where samples have no labels: then all of them are 0.
    """

    name: str
    source: str
    rank: int
    train: Split
    test: Split
    classes: tuple[str, ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """The sizes of the spatial axes, such as (height, width)."""
        return self.train.images.shape[4 - self.rank : 4]

    @property
    def channels(self) -> int:
        return self.train.images.shape[4]

    @property
    def task(self) -> str:
        """What the labels are for: CLASSES, PIXELS or UNLABELLED."""
        if not self.classes:
            return UNLABELLED
        return CLASSES if self.train.labels.ndim == 1 else PIXELS

    def counts(self, split: Split) -> list[int]:
        """How many labels of a split, samples' or pixels', are of each class."""
        parts = [split.labels] if split.labels.ndim == 1 else split.labels  # bincount makes them eight times as large
        longest = max(len(self.classes), IGNORED + 1)
        return sum(np.bincount(part.reshape(-1), minlength=longest) for part in parts)[: len(self.classes)].tolist()


def allocate(where: str, count: int, sample: tuple[int, ...], dtype: type) -> np.ndarray:
    """Room for `count` samples; a DataError where there is not so much memory, before any of it is used.

    Without the check the system grants the room and ends the process when it is filled.
    """
    needed, there = count * math.prod(sample) * np.dtype(dtype).itemsize, memory.available()
    if needed > there:
        sizes = f"{count} samples of {text_of_shape(sample)} need {memory.text(needed)} of memory"
        raise DataError(f"{where}: {sizes}, {memory.text(there)} are available: make the model's input smaller")
    return np.zeros((count, *sample), dtype)


def check_images(where: str, images: np.ndarray) -> None:
    """Refuse what has no sample, an empty sample or a number that is not finite, with a DataError.

    `images` is (N, ...), samples first; `where` begins the message.
    """
    if len(images) == 0:
        raise DataError(f"{where}: holds no sample")
    if 0 in images.shape:
        raise DataError(f"{where}: samples of {text_of_shape(images.shape[1:])} are empty")
    if images.dtype.kind == "f":
        finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
        if not finite.all():
            raise DataError(f"{where}: sample {int(finite.argmin())} holds a number that is not finite as float32")


def check_count(where: str, labels: int, samples: int) -> None:
    """Refuse, with a DataError, labels that are not one for each sample."""
    if labels != samples:
        raise DataError(f"{where}: {labels} labels for {samples} samples")


def check_labels(where: str, labels: np.ndarray, samples: int, classes: int = MAX_CLASSES) -> None:
    """Refuse, with a DataError, labels (N,) that are not one for each sample or not in 0 .. classes - 1."""
    check_count(where, len(labels), samples)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        first = int(outside.argmax())
        raise DataError(f"{where}: label {first} is {labels[first]}, outside 0 .. {classes - 1}")


def check_same_size(where: str, test: np.ndarray, train: np.ndarray) -> None:
    """Refuse, with a DataError, test images whose size or type is not that of the training images."""
    if test.shape[1:] != train.shape[1:]:
        sizes = text_of_shape(test.shape[1:]), text_of_shape(train.shape[1:])
        raise DataError(f"{where}: test samples are {sizes[0]}, training samples are {sizes[1]}")
    if test.dtype != train.dtype:
        raise DataError(f"{where}: test samples are {test.dtype}, training samples are {train.dtype}")


def numbered_classes(labels: np.ndarray) -> tuple[str, ...]:
    """The names "0" .. "K-1" for checked training labels (N,) int64, K being the highest label plus one."""
    return tuple(str(label) for label in range(int(labels.max()) + 1))


def pixel_classes(where: str, *labels: np.ndarray) -> tuple[str, ...]:
    """The names "0" .. "K-1" for labels (N, D, H, W) uint8 of pixels, K being the highest that is not IGNORED plus one.

    Raises DataError where all are IGNORED.
    """
    seen = np.zeros(IGNORED + 1, bool)
    for split in labels:
        for sample in split:
            seen[sample] = True
    classes = np.flatnonzero(seen[:IGNORED])
    if not len(classes):
        raise DataError(f"{where}: holds no class, only {IGNORED}, which is ignored")
    return tuple(str(label) for label in range(int(classes[-1]) + 1))


def text_of_shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(extent) for extent in shape)
