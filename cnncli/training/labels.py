"""Whether a network learns what a data set has."""

from cnncli.datasets import Dataset
from cnncli.datasets.base import PIXELS, UNLABELLED
from cnncli.errors import DataError
from cnncli.network import INPUT, Network


def check_labels(network: Network, dataset: Dataset) -> None:
    """Raise DataError where a data set's labels are not what a network learns, or it has fewer outputs than classes."""
    if network.task == INPUT:
        return
    if dataset.task == UNLABELLED:
        raise DataError(f"{dataset.name}: has no classes: put the files of each class into a sub-folder of its name")
    of_pixels = dataset.task == PIXELS
    if of_pixels != (network.task == PIXELS):
        has, learns = ("pixel", "sample") if of_pixels else ("sample", "pixel")
        ends = "a map of the input's size, a channel a class" if of_pixels else "a flat output, a number a class"
        raise DataError(
            f"{dataset.name}: has a label for each {has}, the model learns one for each {learns}: let it end in {ends}"
        )
    if network.output.channels < len(dataset.classes):
        raise DataError(
            f"{dataset.name}: has labels 0 .. {len(dataset.classes) - 1}, the model ends in {network.output.channels} "
            f"outputs: set its last dense layer to {len(dataset.classes)}"
        )
