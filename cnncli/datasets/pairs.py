"""Pairs of images and masks of equal names, in folders images/ and masks/: a class for each pixel."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnncli.datasets import folders, images
from cnncli.datasets.base import IGNORED, Dataset, Input, Split, allocate, pixel_classes, text_of_shape
from cnncli.datasets.image_folder import SUFFIXES, in_threads, wanted_of
from cnncli.errors import DataError, printable

IMAGES, MASKS = ("images", "image", "imgs"), ("masks", "mask", "labels", "label")
MASK_SUFFIXES = (".png",)  # what is stored with losses has no exact classes
HELD_OUT = 3  # one in so many
COLOUR = ("LA", "RGB", "RGBA")
FOREGROUND = 255  # in masks of nothing but 0 and 255


class Pairs(NamedTuple):
    """Image and mask files of equal stems, in natural order."""

    images: list[Path]
    masks: list[Path]


def find(folder: Path) -> tuple[Path, Path | None] | None:
    """The folders that hold images/ and masks/ for training and for testing, None where there are none."""
    train, test = folders.splits(folder)
    return (train, test) if _sides(train) else None


def hold(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a folder's images are files of these suffixes."""
    return bool(folders.branch(_sides(folder)[0]).only(suffixes).files)


def load_folder(train: Path, test: Path | None, name: str, source: str, network: Input | None = None) -> Dataset:
    """The data set of pairs, images decoded to the network's input as in `image_folder`, masks cut and scaled with
    them by nearest neighbour.

    A mask's grey values, or the indices of its palette, are the classes, and 255 is IGNORED; where all masks hold
    nothing but 0 and 255, 255 is class 1. Without a test split the last third in natural order is held out, in one
    piece, because slices of a stack and frames of a film resemble their neighbours. Raises DataError, naming the file,
    where an image has no mask or another size than its mask, and where a mask is damaged or in colour.
    """
    train_part, test_part = parts(train, test, (SUFFIXES, MASK_SUFFIXES))
    wanted = wanted_of(source, train_part.images + test_part.images, network)
    return named(name, source, 2, [_decode(source, part, wanted) for part in (train_part, test_part)])


def parts(train: Path, test: Path | None, suffixes: tuple[tuple[str, ...], tuple[str, ...]]) -> tuple[Pairs, Pairs]:
    """The pairs to train and to test on; `suffixes` are those of images and of masks."""
    first = _matched(train, suffixes)
    if test is not None:
        return first, _matched(test, suffixes)
    count = len(first.images) - len(first.images) // HELD_OUT
    if count == len(first.images):
        raise DataError(f"{printable(train)}: needs {HELD_OUT} or more images, so that a third can be held out")
    return Pairs(first.images[:count], first.masks[:count]), Pairs(first.images[count:], first.masks[count:])


def named(name: str, source: str, rank: int, splits: list[Split]) -> Dataset:
    """The data set of two splits with the values of their masks for labels, which become those of classes."""
    if not any(_has_others(split.labels) for split in splits):
        for split in splits:
            split.labels[split.labels == FOREGROUND] = 1
        classes = ("0", "1")
    else:
        classes = pixel_classes(printable(source), *(split.labels for split in splits))
    return Dataset(name, source, rank, splits[0], splits[1], classes)


def _has_others(labels: np.ndarray) -> bool:
    """Whether there are other values than 0 and 255."""
    return any(((mask != 0) & (mask != FOREGROUND)).any() for mask in labels)


def _sides(folder: Path) -> tuple[Path, Path] | None:
    """The sub-folders of images and of masks."""
    below = {path.name.lower(): path for path in folders.content(folder)[0]}
    sides = [next((below[name] for name in names if name in below), None) for names in (IMAGES, MASKS)]
    return None if None in sides else tuple(sides)


def _matched(folder: Path, suffixes: tuple[tuple[str, ...], tuple[str, ...]]) -> Pairs:
    sides = _sides(folder)
    if sides is None:
        raise DataError(f"{printable(folder)}: lacks the sub-folders {IMAGES[0]} and {MASKS[0]}")
    stems = [_stems(side, of) for side, of in zip(sides, suffixes, strict=True)]
    for side, mine, others, what in ((0, *stems, "mask"), (1, *stems[::-1], "image")):
        alone = next((stem for stem in mine if stem not in others), None)
        if alone is not None:
            raise DataError(f"{printable(mine[alone])}: has no {what} of its name in {printable(sides[1 - side])}")
    return Pairs(list(stems[0].values()), [stems[1][stem] for stem in stems[0]])


def _stems(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for path in folders.branch(folder).only(suffixes).files:
        stem = path.name[: -max(len(suffix) for suffix in suffixes if path.name.lower().endswith(suffix))]
        if stem in found:
            raise DataError(f"{printable(path)}: has the name of {printable(found[stem].name)}")
        found[stem] = path
    if not found:
        raise DataError(f"{printable(folder)}: holds no {', '.join(suffixes)} file")
    return found


def _decode(source: str, pairs: Pairs, wanted: Input) -> Split:
    (height, width), count = wanted.axes, len(pairs.images)
    beside = images.beside_of(wanted.axes)
    into = allocate(printable(source), count, (1, height, width, wanted.channels), np.uint8)
    labels = allocate(printable(source), count, (1, height, width), np.uint8)

    def fill(i: int) -> None:
        with images.opened(pairs.images[i], beside=beside) as image:
            size = images.size_of(image)
            into[i, 0] = images.pixels(image, *wanted)
        with images.opened(pairs.masks[i], beside=beside) as mask:
            if (mask.height, mask.width) != size:
                sizes = text_of_shape((mask.height, mask.width)), text_of_shape(size)
                raise DataError(f"{printable(pairs.masks[i])}: is {sizes[0]}, its image is {sizes[1]}")
            labels[i, 0] = _classes_of(pairs.masks[i], mask, wanted.axes)

    in_threads(fill, count)
    return Split(into, labels)


def _classes_of(path: Path, mask, axes: tuple[int, int]) -> np.ndarray:
    """The values of a mask (H, W) uint8, cut and scaled as `images.pixels` does it."""
    from PIL import Image, ImageChops, ImageOps

    plane, *others = (
        [mask.getchannel(name) for name in mask.getbands() if name != "A"] if mask.mode in COLOUR else [mask]
    )
    if any(ImageChops.difference(plane, other).getbbox() for other in others):
        raise DataError(f"{printable(path)}: is in colour: a mask holds classes as grey values or as palette indices")
    lowest, highest = plane.getextrema()
    if lowest < 0 or highest > IGNORED:
        raise DataError(f"{printable(path)}: holds a class outside 0 .. {IGNORED}")
    plane = plane.convert("L") if plane.mode == "1" else plane  # 0 and FOREGROUND
    return np.asarray(ImageOps.fit(plane, axes[::-1], Image.Resampling.NEAREST)).astype(np.uint8)
