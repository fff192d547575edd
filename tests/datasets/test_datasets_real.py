"""Published data sets, where they are at hand, as their publishers lay them out."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cnncli.datasets import Input, load

REAL = Path(os.environ.get("CNNCLI_TEST_DATA") or Path(__file__).parents[3] / "shared" / "datasets")

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="real data: neither ../shared/datasets nor CNNCLI_TEST_DATA")


@pytest.fixture
def unpacked(tmp_path):
    """A function that returns the folder of a data set, its archive unpacked; a test is skipped where it is missing."""

    def unpack(name: str) -> Path:
        if not (REAL / name).is_dir():
            pytest.skip(f"real data: no {REAL / name}")
        found = sorted((REAL / name).glob("*.tar*"))
        if not found:
            return REAL / name
        with tarfile.open(found[0]) as archive:
            archive.extractall(tmp_path / name, filter="data")
        return tmp_path / name

    return unpack


def counts(dataset):
    return [np.bincount(split.labels.ravel()).tolist() for split in (dataset.train, dataset.test)]


def test_spoken_digits_have_their_official_split(unpacked):
    digits = load(unpacked("fsdd"), None, Input((8192,), 1))
    assert digits.classes == tuple("0123456789")
    assert counts(digits) == [[270] * 10, [30] * 10]
    assert digits.train.images.shape == (2700, 1, 1, 8192, 1)
    assert 0.9 < np.abs(digits.train.images).max() <= 1


def test_voxels_lose_their_copies(unpacked):
    grids = load(unpacked("modelnet10-voxels"), None, Input((32, 32, 32), 1))
    assert grids.classes == ("chair", "monitor")
    assert counts(grids) == [[672, 362], [168, 90]]
    assert np.unique(grids.train.images[:50]).tolist() == [0, 255]


def test_membranes_are_20_slices_and_10(unpacked):
    slices = load(unpacked("isbi2012-membrane"), None, Input((128, 128), 1))
    assert (slices.task, slices.classes) == ("pixels", ("0", "1"))
    assert (slices.train.labels.shape, slices.test.labels.shape) == ((20, 1, 128, 128), (10, 1, 128, 128))
    assert slices.train.labels.mean() == pytest.approx(0.77, abs=0.01)


def test_flowers(unpacked):
    flowers = load(unpacked("flowers5"), None, Input((32, 32), 3))
    assert flowers.classes == ("daisy", "dandelion", "rose", "sunflower", "tulip")
    assert np.add(*counts(flowers)).tolist() == [764, 1052, 784, 733, 984]
    assert [n // 5 for n in (764, 1052, 784, 733, 984)] == counts(flowers)[1]
    assert flowers.train.images.std() > 50


def test_cifar_10():
    if not (REAL / "cifar-10" / "test_batch.bin").is_file():
        pytest.skip(f"real data: no unpacked {REAL / 'cifar-10'}")
    photographs = load("cifar-10", REAL)
    assert counts(photographs) == [[5000] * 10, [1000] * 10]
    np.testing.assert_allclose(photographs.train.images.mean((0, 1, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)
