"""Pairs of `.npy` arrays of equal names, in folders images/ and masks/: a class for each voxel."""

from pathlib import Path

import numpy as np

from cnncli.datasets import npy, npy_folder, pairs
from cnncli.datasets.base import IGNORED, Dataset, Input, Split, allocate, text_of_shape
from cnncli.errors import DataError, printable

SUFFIXES = (npy_folder.SUFFIXES, npy_folder.SUFFIXES)


def load_folder(train: Path, test: Path | None, name: str, source: str, network: Input | None = None) -> Dataset:
    """The data set of pairs of arrays: a sample is as in `npy_folder`, a mask has its axes and holds whole numbers.

    What these mean, and what is held out, is as in `pairs`. Raises DataError, naming the file, where one is damaged, or
    where a mask has another size than its image.
    """
    rank = len(network.axes) if network else npy_folder.VOLUME
    parts = pairs.parts(train, test, SUFFIXES)
    npy.refuse_packed(path for part in parts for path in part.images + part.masks)
    splits = [_read(source, part, rank, network) for part in parts]
    npy_folder.check_alike(printable(source), splits[1].images, splits[0].images, "training samples")
    binary = all(split.images.dtype == bool for split in splits)
    splits = [Split(npy_folder.for_network(split.images, binary), split.labels) for split in splits]
    return pairs.named(name, source, rank, splits)


def _read(source: str, part: pairs.Pairs, rank: int, network: Input | None) -> Split:
    images = npy_folder.read_files(source, part.images, rank, network)
    size = images.shape[1:4]
    labels = allocate(printable(source), len(images), size, np.uint8)
    for into, path in zip(labels, part.masks, strict=True):
        mask = npy_folder.read_array(path, rank, Input(size[3 - rank :], 1), stacked=False)[0]
        if mask.shape != (*size, 1):
            sizes = text_of_shape(mask.shape), text_of_shape((*size, 1))
            raise DataError(f"{printable(path)}: is {sizes[0]}, its image is {sizes[1]}")
        if mask.min() < 0 or mask.max() > IGNORED or (mask != np.floor(mask)).any():
            raise DataError(f"{printable(path)}: holds a number that is no class in 0 .. {IGNORED}")
        into[:] = mask[..., 0]
    return Split(images, labels)
