"""Folders of `.npy` arrays, for volumes above all: a class a sub-folder with a file a sample, or a class a file.

In a file that is a class, such as chair.npy or chair.npy.gz, samples come first.
"""

import hashlib
from pathlib import Path

import numpy as np

from cnncli.datasets import folders, npy
from cnncli.datasets.base import Dataset, Input, Split, allocate, check_images, text_of_shape
from cnncli.errors import DataError, printable

SUFFIXES = (".npy", ".npy.gz")
VOLUME = 3  # the axes of a sample where no network says how many


def load_folder(
    train: folders.Branch, test: folders.Branch | None, name: str, source: str, network: Input | None = None
) -> Dataset:
    """The data set of a folder of arrays.

    A sample has the network's axes (three without a network), with its channels last, first, or without any. Bytes are
    kept; other numbers become float32 as they are, or, where all are 0 or 1, the bytes 0 and 255, which are the same
    to a network and a quarter as large. Where a file is a class and there is no test split, samples that are equal to
    another of their class are left out before a fifth is held out. Raises DataError, naming the file, where one is
    damaged or of another size than the first.
    """
    rank = len(network.axes) if network else VOLUME
    if train.files and not any(train.classes.values()):
        npy.refuse_packed(train.files + (test.files if test else ()))
        splits, classes = _stacks(train, test, rank, network)
    else:
        listed = folders.samples(train, test, SUFFIXES[0])
        classes = listed.classes
        npy.refuse_packed(path for path, _ in listed.train + listed.test)
        splits = []
        for files in (listed.train, listed.test):
            images = read_files(source, [path for path, _ in files], rank, network)
            splits.append(Split(images, np.array([label for _, label in files], np.int64)))
    check_alike(printable(source), splits[1].images, splits[0].images, "training samples")
    binary = all(split.images.dtype == bool for split in splits)
    train, test = (Split(for_network(split.images, binary), split.labels) for split in splits)
    return Dataset(name, source, rank, train, test, classes)


def for_network(images: np.ndarray, binary: bool) -> np.ndarray:
    """What was read as uint8, float32, or bool where it has but 0 and 1, as uint8 (in its place) or float32."""
    if binary:
        images = images.view(np.uint8)
        return np.multiply(images, np.uint8(255), out=images)
    return images.astype(np.float32) if images.dtype == bool else images


def _stacks(train, test, rank: int, network: Input | None) -> tuple[list[Split], tuple[str, ...]]:
    """A class a file, samples first."""
    classes = tuple(_class_of(path) for path in train.files)
    known = dict(zip(classes, range(len(classes)), strict=True))
    if len(known) < len(classes):
        raise DataError(f"{printable(train.folder)}: holds two files of one class")
    parts: tuple[list, list] = [], []
    for path in train.files:
        images, label = read_array(path, rank, network, stacked=True), known[_class_of(path)]
        if test is None:
            digests = [hashlib.sha256(image).digest() for image in images]
            different = sorted({digest: i for i, digest in reversed(list(enumerate(digests)))}.values())
            out = np.array(folders.held_out([digests[i] for i in different]))
            parts[1].append((path, images[np.array(different)[out]], label))
            images = images[np.array(different)[~out]]
        parts[0].append((path, images, label))
    for path in test.files if test else ():
        if _class_of(path) not in known:
            raise DataError(f"{printable(path)}: is a class that {printable(train.folder)} lacks")
        parts[1].append((path, read_array(path, rank, network, stacked=True), known[_class_of(path)]))
    if not sum(len(images) for _, images, _ in parts[1]):
        raise DataError(f"{printable((test or train).folder)}: holds no sample to test on")
    return [_joined(part) for part in parts], classes


def _joined(parts: list[tuple[Path, np.ndarray, int]]) -> Split:
    first = parts[0][1]
    for path, images, _ in parts:
        check_alike(printable(path), images, first, f"those of {printable(parts[0][0])}")
    if len(parts) == 1:
        return Split(first, np.full(len(first), parts[0][2], np.int64))
    images = np.concatenate([images for _, images, _ in parts])
    return Split(images, np.concatenate([np.full(len(images), label, np.int64) for _, images, label in parts]))


def read_files(source: str, files: list[Path], rank: int, network: Input | None) -> np.ndarray:
    """The samples of files, one each, as `read_array` has them."""
    into = None
    for i, path in enumerate(files):
        image = read_array(path, rank, network, stacked=False)
        if into is None:
            into = allocate(printable(source), len(files), image.shape[1:], image.dtype)
        check_alike(printable(path), image, into, f"those of {printable(files[0])}")
        if into.dtype == bool and image.dtype != bool:
            into = into.astype(np.float32)
        into[i] = image[0]
    return into


def _class_of(path: Path) -> str:
    name = path.name[: path.name.lower().rindex(SUFFIXES[0])]
    folders.check_class_name(path, name)
    return name


def read_array(path: Path, rank: int, network: Input | None, stacked: bool) -> np.ndarray:
    """The samples of a file, one or `stacked`, as (N, D, H, W, C) uint8, float32, or bool where all are 0 or 1."""
    with npy.opened(path) as stored:
        shape = stored.shape if stacked else (1, *stored.shape)
        if len(shape) - 1 not in (rank, rank + 1):
            expected = f"samples of {rank} axes, with channels or without" + (", samples first" if stacked else "")
            raise DataError(f"{printable(path)}: has the shape {text_of_shape(stored.shape)}, expected {expected}")
        dtype = np.uint8 if stored.dtype == np.uint8 else np.float32
        numbers, start = allocate(printable(path), stored.shape[0], stored.shape[1:], dtype), 0
        for part in stored.parts():
            with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the check below refuses
                numbers[start : start + len(part)] = part
            start += len(part)
    numbers = numbers.reshape(shape)
    check_images(printable(path), numbers)
    if dtype == np.float32 and all(((image == 0) | (image == 1)).all() for image in numbers):
        numbers = numbers.astype(bool)
    if len(shape) - 1 == rank:
        numbers = numbers[..., None]
    elif _channels_first(shape[1:], network):
        numbers = np.moveaxis(numbers, 1, -1)
    return np.ascontiguousarray(numbers).reshape(len(numbers), *(1,) * (3 - rank), *numbers.shape[1:])


def _channels_first(sample: tuple[int, ...], network: Input | None) -> bool:
    """Whether a sample of one axis too many has its channels first: where it fits the network only so, or has one."""
    last_fits, first_fits = Input(sample[:-1], sample[-1]) == network, Input(sample[1:], sample[0]) == network
    return not last_fits and (first_fits or sample[0] == 1 != sample[-1])


def check_alike(where: str, images: np.ndarray, others: np.ndarray, whose: str) -> None:
    if images.shape[1:] != others.shape[1:] or (images.dtype == np.uint8) != (others.dtype == np.uint8):
        kinds = {True: "bytes", False: "numbers"}
        have, want = (f"{text_of_shape(a.shape[1:])} {kinds[a.dtype == np.uint8]}" for a in (images, others))
        raise DataError(f"{where}: samples are {have}, {whose} are {want}")
