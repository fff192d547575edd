"""Pairs of arrays: a class for each voxel."""

import gzip
import io

import numpy as np
import pytest

from cnncli.datasets import Input, load


def encoded(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asanyarray(array))
    return buffer.getvalue()


def image(i: int) -> np.ndarray:
    return np.arange(i, i + 24, dtype=np.float32).reshape(2, 3, 4)


def mask(i: int, values=(0, 1, 2)) -> np.ndarray:
    return np.array(values)[(np.arange(24) + i) % len(values)].reshape(2, 3, 4)


def pairs(numbers, kind=np.uint8, values=(0, 1, 2)):
    files = {f"images/{i}.npy": encoded(image(i)) for i in numbers}
    return files | {f"masks/{i}.npy.gz": gzip.compress(encoded(mask(i, values).astype(kind))) for i in numbers}


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float64])
def test_pairs_are_labels_of_voxels(tmp_path, write_all, kind):
    dataset = load(write_all(tmp_path / "scans", pairs(range(12), kind)))
    assert (dataset.name, dataset.rank, dataset.task) == ("scans", 3, "pixels")
    assert (dataset.classes, dataset.axes, dataset.channels) == (("0", "1", "2"), (2, 3, 4), 1)
    for split, numbers in ((dataset.train, range(8)), (dataset.test, range(8, 12))):
        assert split.labels.dtype == np.uint8
        np.testing.assert_array_equal(split.images[..., 0], [image(i) for i in numbers])
        np.testing.assert_array_equal(split.labels, [mask(i) for i in numbers])


def test_foreground_and_background(tmp_path, write_all):
    for values, kind in (((0, 255), np.uint8), ((False, True), np.bool_)):
        dataset = load(write_all(tmp_path, pairs(range(3), kind, values)))
        assert dataset.classes == ("0", "1")
        np.testing.assert_array_equal(dataset.train.labels, [mask(i, (0, 1)) for i in range(2)])


def test_volumes_of_0_and_1_are_bytes(tmp_path, write_all):
    files = pairs(range(3)) | {f"images/{i}.npy": encoded(mask(i, (0, 1))) for i in range(3)}
    dataset = load(write_all(tmp_path, files), None, Input((2, 3, 4), 1))
    assert dataset.train.images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.train.images[..., 0], [255 * mask(i, (0, 1)) for i in range(2)])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (mask(0)[:1], "is 1x3x4x1, its image is 2x3x4x1"),
        (mask(0)[0], "has the shape 3x4, expected samples of 3 axes, with channels or without"),
        (mask(0) - 1, "holds a number that is no class in 0 .. 255"),
        (mask(0) + 254, "holds a number that is no class in 0 .. 255"),
        (mask(0) / 2, "holds a number that is no class in 0 .. 255"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(tmp_path, write_all, message_of, array, message):
    write_all(tmp_path, pairs([0, 1, 3]) | {"images/2.npy": encoded(image(2)), "masks/2.npy": encoded(array)})
    assert message_of(load, tmp_path) == f"{tmp_path}/masks/2.npy: {message}"


def test_a_mask_that_is_missing_is_named(tmp_path, write_all, message_of):
    write_all(tmp_path, pairs(range(3)) | {"images/9.npy": encoded(image(9))})
    assert message_of(load, tmp_path) == f"{tmp_path}/images/9.npy: has no mask of its name in {tmp_path}/masks"
