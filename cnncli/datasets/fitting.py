"""Making a data set fit a network's input."""

import dataclasses

import numpy as np

from cnncli import memory
from cnncli.datasets.base import Dataset, Split, text_of_shape
from cnncli.errors import DataError


def fit(dataset: Dataset, axes: tuple[int, ...], channels: int) -> Dataset:
    """The data set with samples of the spatial extents `axes`, such as (height, width), and `channels` channels.

    The same data set is returned where it fits already. 2-D uint8 images are resized (Pillow's bilinear filter, which
    averages where it shrinks). Raises DataError where ranks or channels differ, or where floats, signals or volumes
    would have to be resized.
    """
    axes = tuple(axes)
    have, want = text_of_shape((dataset.channels, *dataset.axes)), text_of_shape((channels, *axes))
    differ = f"{dataset.name}: samples are {have}, the model's input is {want}"
    right_size = f"set input.size to {list(dataset.axes)}"
    if len(axes) != dataset.rank:
        raise DataError(f"{differ}, of another number of axes: {right_size}")
    if channels != dataset.channels:
        raise DataError(f"{differ}: set input.channels to {dataset.channels}")
    if axes == dataset.axes:
        return dataset
    if dataset.rank != 2 or dataset.train.images.dtype != np.uint8:
        kind = {1: "signals", 2: "float images", 3: "volumes"}[dataset.rank]
        raise DataError(f"{differ}, and {kind} are not resized: {right_size}")
    try:
        return dataclasses.replace(dataset, train=_resize(dataset.train, axes), test=_resize(dataset.test, axes))
    except MemoryError:
        raise DataError(f"{differ}, and what is resized does not fit into memory: {right_size}") from None


def _resize(split: Split, axes: tuple[int, ...]) -> Split:
    from PIL import Image

    count, _, _, _, channels = split.images.shape
    height, width = axes
    if count * height * width * channels > memory.available():
        raise MemoryError
    resized = np.empty((count, 1, height, width, channels), np.uint8)
    for image, into in zip(split.images[:, 0], resized[:, 0], strict=True):
        for channel in range(channels):  # plane by plane, because Pillow takes a fourth channel for transparency
            plane = Image.fromarray(image[:, :, channel])
            into[:, :, channel] = plane.resize((width, height), Image.Resampling.BILINEAR)
    return Split(resized, split.labels)
