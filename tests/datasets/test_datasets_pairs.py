"""Pairs of images and masks."""

import io

import numpy as np
import pytest
from PIL import Image

from cnncli.datasets import Input, load
from cnncli.datasets.base import IGNORED


def saved(array, kind="PNG", palette=False) -> bytes:
    buffer, image = io.BytesIO(), Image.fromarray(np.asarray(array))
    if palette:
        image = image.copy()
        image.putpalette([(7 * i) % 256 for i in range(768)])
        assert image.mode == "P"
    image.save(buffer, kind)
    return buffer.getvalue()


def mask(i: int, values=(0, 1, 2, 3)) -> np.ndarray:
    """A mask (4, 6) of the values in turns, another for each i."""
    return np.array(values, np.uint8)[(np.arange(24) + i) % len(values)].reshape(4, 6)


def pairs(numbers, sides=("images", "masks"), values=(0, 1, 2, 3), part="", **options):
    """Files of pairs, the image of number i all i."""
    files = {f"{part}{sides[0]}/slice{i}.png": saved(np.full((4, 6), i, np.uint8)) for i in numbers}
    return files | {f"{part}{sides[1]}/slice{i}.png": saved(mask(i, values), **options) for i in numbers}


@pytest.mark.parametrize("sides", [("images", "masks"), ("image", "label"), ("Images", "Labels")])
@pytest.mark.parametrize("palette", [False, True])
def test_pairs_are_labels_of_pixels(tmp_path, write_all, sides, palette):
    dataset = load(write_all(tmp_path / "cells", pairs(range(12), sides, palette=palette)))
    assert (dataset.name, dataset.rank, dataset.task) == ("cells", 2, "pixels")
    assert (dataset.classes, dataset.axes, dataset.channels) == (("0", "1", "2", "3"), (4, 6), 1)
    for split, numbers in ((dataset.train, range(8)), (dataset.test, range(8, 12))):  # slice9 before slice10
        assert split.images.shape == (len(numbers), 1, 4, 6, 1)
        assert split.images[:, 0, 0, 0, 0].tolist() == list(numbers)
        assert split.labels.dtype == np.uint8
        np.testing.assert_array_equal(split.labels, [[mask(i)] for i in numbers])


@pytest.mark.parametrize("test", ["test", "val", None])
def test_train_and_test_folders(tmp_path, write_all, test):
    files = pairs(range(6), part="train/") | (pairs(range(6, 9), part=f"{test}/") if test else {})
    dataset = load(write_all(tmp_path, files), None, Input((4, 6), 3))
    assert (len(dataset.train.labels), len(dataset.test.labels)) == ((6, 3) if test else (4, 2))
    assert dataset.train.images.shape[1:] == (1, 4, 6, 3)


@pytest.mark.parametrize(
    ("values", "labels", "classes"),
    [
        ((0, 255), (0, 1), 2),  # a mask of black and white
        ((0, 1, 255), (0, 1, IGNORED), 2),
        ((0, 5), (0, 5), 6),
        ((3, 255), (3, IGNORED), 4),
        ((255,), (1,), 2),
    ],
)
def test_what_values_mean(tmp_path, write_all, values, labels, classes):
    dataset = load(write_all(tmp_path, pairs(range(3), values=values)))
    assert len(dataset.classes) == classes
    np.testing.assert_array_equal(dataset.train.labels[:, 0], [mask(i, labels) for i in range(2)])


def test_masks_of_other_modes(tmp_path, write_all):
    files = pairs(range(5))
    files["masks/slice0.png"] = saved(np.repeat(mask(0)[:, :, None], 3, 2))
    files["masks/slice1.png"] = saved(np.stack([mask(1)] * 3 + [np.full((4, 6), 9, np.uint8)], 2))
    files["masks/slice2.png"] = saved(mask(2).astype(np.uint16))
    files["masks/slice3.png"] = saved(np.stack([mask(3), np.full((4, 6), 9, np.uint8)], 2))
    dataset = load(write_all(tmp_path, files))
    np.testing.assert_array_equal(dataset.train.labels[:, 0], [mask(i) for i in range(4)])
    ones = {f"masks/slice{i}.png": saved(mask(i, (0, 1)) > 0) for i in range(5)}
    dataset = load(write_all(tmp_path, ones))
    np.testing.assert_array_equal(dataset.train.labels[:, 0], [mask(i, (0, 1)) for i in range(4)])


def test_masks_are_cut_and_scaled_with_their_images(tmp_path, write_all):
    """An image and a mask of the same picture, of three classes: they agree wherever the image is not blended."""
    picture = np.zeros((20, 48), np.uint8)
    picture[4:12, 10:26], picture[12:, 30:] = 100, 200
    files = {f"images/{i}.png": saved(picture) for i in range(3)}
    files |= {f"masks/{i}.png": saved(picture // 100) for i in range(3)}
    for axes in ((20, 20), (40, 40), (10, 12), (12, 10), (10, 24)):
        dataset = load(write_all(tmp_path, files), None, Input(axes, 1))
        image, labels = dataset.train.images[0, 0, :, :, 0], dataset.train.labels[0, 0]
        assert labels.shape == axes
        plain = image % 100 == 0
        assert plain.mean() > 0.5
        np.testing.assert_array_equal(image[plain] // 100, labels[plain])
        assert set(np.unique(labels)) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images/a.jpg": b""}, "{}/images/a.jpg: has no mask of its name in {}/masks"),
        ({"masks/a.png": b""}, "{}/masks/a.png: has no image of its name in {}/images"),
        ({"images/slice1.jpg": b""}, "{}/images/slice1.png: has the name of slice1.jpg"),
        ({"masks/slice1.png": b"text"}, "{}/masks/slice1.png: is not a JPEG or PNG image"),
        ({"images/slice1.png": b"text"}, "{}/images/slice1.png: is not a JPEG or PNG image"),
        ({"masks/slice1.png": saved(np.zeros((4, 5), np.uint8))}, "{}/masks/slice1.png: is 4x5, its image is 4x6"),
        (
            {"masks/slice1.png": saved(np.arange(72, dtype=np.uint8).reshape(4, 6, 3))},
            "{}/masks/slice1.png: is in colour: a mask holds classes as grey values or as palette indices",
        ),
        (
            {"masks/slice1.png": saved(np.full((4, 6), 256, np.uint16))},
            "{}/masks/slice1.png: holds a class outside 0 .. 255",
        ),
    ],
)
def test_pairs_that_do_not_fit_are_named(tmp_path, write_all, message_of, changed, message):
    write_all(tmp_path, {**pairs(range(4)), **changed})
    assert message_of(load, tmp_path) == message.replace("{}", str(tmp_path))


def test_folders_that_hold_too_little(tmp_path, write_all, message_of):
    write_all(tmp_path / "two", pairs(range(2)))
    two, needs = tmp_path / "two", "needs 3 or more images, so that a third can be held out"
    assert message_of(load, two) == f"{two}: {needs}"
    write_all(tmp_path / "none", {"images/note.txt": b"", "masks/note.txt": b""})
    assert message_of(load, tmp_path / "none") == f"{tmp_path}/none/images: holds no .jpg, .jpeg, .png file"
    write_all(tmp_path / "half", pairs(range(3), part="train/") | {"test/images/1.png": b""})
    assert message_of(load, tmp_path / "half") == f"{tmp_path}/half/test: lacks the sub-folders images and masks"
