"""Folders of JPEG and PNG images: a class a sub-folder, or train/ and test/ above them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnncli.datasets import folders, images
from cnncli.datasets.base import Dataset, Input, Split, allocate, text_of_shape
from cnncli.datasets.files import refuse_growth
from cnncli.errors import DataError, printable

SUFFIXES = (".jpg", ".jpeg", ".png")
WHAT = ".jpg, .jpeg or .png"
MOST_THREADS = 8  # Pillow decodes outside of Python's lock; each thread holds one image at its full size


def load_folder(
    train: folders.Branch, test: folders.Branch | None, name: str, source: str, network: Input | None = None
) -> Dataset:
    """The data set of a folder of images, decoded to the network's input: uint8, in grey or colour, see `pixels`.

    Without a network, all images get the size of the first one, and colour where that has it. Raises DataError, naming
    the file, where one is damaged, and where the network takes no image.
    """
    listed = folders.samples(train, test, WHAT)
    wanted = wanted_of(source, [path for path, _ in listed.train + listed.test], network)
    splits = []
    for files in (listed.train, listed.test):
        labels = np.array([label for _, label in files], np.int64)
        splits.append(Split(decode(source, [path for path, _ in files], wanted), labels))
    return Dataset(name, source, 2, splits[0], splits[1], listed.classes)


def wanted_of(where: str, paths: Sequence[Path], network: Input | None) -> Input:
    """What to decode to: the network's input, else the first image's size. DataError where the network takes none."""
    if network is None:
        with images.quiet(), images.opened(paths[0]) as image:
            wanted = Input(images.size_of(image), 1 if image.mode in images.GREYS else 3)
        refuse_growth(where, paths, (*wanted.axes, wanted.channels), 1, "all get the size of the first")
        return wanted
    if not images.takes_images(network):
        size = text_of_shape((network.channels, *network.axes))
        hint = "set input.size to [height, width] and input.channels to 1 or 3"
        raise DataError(f"{printable(where)}: holds images, the model's input is {size}: {hint}")
    return network


def decode(where: str, paths: Sequence[Path], wanted: Input) -> np.ndarray:
    """Image files as (N, 1, H, W, C) uint8."""
    into = allocate(printable(where), len(paths), (1, *wanted.axes, wanted.channels), np.uint8)

    def fill(i: int) -> None:
        with images.opened(paths[i], beside=images.beside_of(wanted.axes)) as image:
            into[i, 0] = images.pixels(image, *wanted)

    in_threads(fill, len(paths))
    return into


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Call work(0) .. work(count - 1); the first that fails, in this order, decides what is raised."""
    with images.quiet(), ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(work, range(count)):
            pass
