"""CIFAR's binary files, written here record by record."""

import os

import numpy as np
import pytest

from cnncli.datasets import DATASETS, cifar, load

LABELS = [3, 0, 9, 1, 1, 5]


def pixel(i: int, row: int, column: int, channel: int) -> int:
    return (7 * i + 5 * row + 3 * column + 50 * channel) % 256


def record(i: int, *labels: int) -> bytes:
    """One picture: the plane of red, of green, of blue, each row by row."""
    planes = [pixel(i, row, column, channel) for channel in range(3) for row in range(32) for column in range(32)]
    return bytes([*labels, *planes])


@pytest.fixture(scope="session")
def ten():
    """CIFAR-10's file names with the bytes of one record in each batch."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    return {name: record(i, LABELS[i]) for i, name in enumerate(names)}


def check(split, first):
    assert split.images.dtype == np.uint8
    assert split.images.flags.c_contiguous
    assert split.labels.dtype == np.int64
    for i, image in enumerate(split.images[:, 0], first):
        expected = [[[pixel(i, row, column, c) for c in range(3)] for column in range(32)] for row in range(32)]
        np.testing.assert_array_equal(image, expected)


def test_cifar_10(tmp_path, write_all, ten):
    dataset = load(write_all(tmp_path / "mine", ten))
    assert (dataset.name, dataset.rank, dataset.axes, dataset.channels) == ("mine", 2, (32, 32), 3)
    assert dataset.classes == tuple("0123456789")
    assert dataset.train.labels.tolist() == LABELS[:5]
    assert dataset.test.labels.tolist() == LABELS[5:]
    check(dataset.train, 0)
    check(dataset.test, 5)


def test_parts_of_a_file_follow_each_other(tmp_path, write_all, ten, monkeypatch):
    monkeypatch.setattr(cifar, "PART", 2)
    batch = b"".join(record(i, i) for i in range(5))
    dataset = load(write_all(tmp_path, {"data_batch_2.bin": batch, "test_batch.bin": ten["test_batch.bin"]}))
    assert dataset.train.labels.tolist() == list(range(5))
    check(dataset.train, 0)


def test_cifar_100_has_fine_labels(tmp_path, write_all):
    write_all(tmp_path, {"train.bin": record(0, 19, 99) + record(1, 1, 0), "test.bin": record(2, 0, 42)})
    dataset = load(tmp_path)
    assert dataset.train.labels.tolist() == [99, 0]
    assert dataset.test.labels.tolist() == [42]
    assert len(dataset.classes) == 100
    check(dataset.train, 0)
    check(dataset.test, 2)


def test_names_of_classes(tmp_path, write_all, ten, message_of):
    write_all(tmp_path, {**ten, "batches.meta.txt": "\n".join(DATASETS["cifar-10"].classes).encode() + b"\n\n"})
    assert load(tmp_path).classes[:3] == ("airplane", "automobile", "bird")
    for content in (b"", b"one\ntwo", b"cat\n" * 10, b"\xff" * 10, b"\n".join(b"a\x07%d" % i for i in range(10))):
        (tmp_path / "batches.meta.txt").write_bytes(content)
        message = message_of(load, tmp_path)
        assert message in [
            f"{tmp_path}/batches.meta.txt: {what}"
            for what in ("is not text", "expected 10 different names, one a line")
        ]


@pytest.mark.parametrize("name", ["cifar-10", "cifar10"])
@pytest.mark.parametrize("sub", ["cifar-10", "", "cifar-10-batches-bin", "cifar-10/cifar-10-batches-bin"])
def test_the_catalogue_s_name(tmp_path, write_all, ten, name, sub):
    write_all(tmp_path / sub, ten)
    dataset = load(name, tmp_path)
    assert (dataset.name, dataset.source) == ("cifar-10", str(tmp_path / sub))
    assert dataset.classes == DATASETS["cifar-10"].classes


def test_files_that_are_missing_are_named(tmp_path, write_all, ten, message_of):
    message = message_of(load, "cifar100", tmp_path)
    assert message.startswith("cifar-100: train.bin, test.bin not found in ")
    assert "`cnncli download cifar-100`" in message
    some = {name: ten[name] for name in ("data_batch_1.bin", "data_batch_4.bin")}
    assert message_of(load, write_all(tmp_path / "a", some)) == f"{tmp_path}/a: lacks test_batch.bin"


def test_damaged_files_are_refused(tmp_path, write_all, ten, message_of):
    path = write_all(tmp_path, ten) / "data_batch_4.bin"
    for length in (0, 1, 3072, 3074):
        path.write_bytes(bytes(length))
        message = message_of(load, tmp_path)
        assert message == f"{path}: truncated or damaged: {length} bytes are no records of 3073"
    path.write_bytes(record(0, 10))
    assert message_of(load, tmp_path) == f"{path}: label 0 is 10, outside 0 .. 9"
    path.unlink()
    os.mkfifo(path)
    assert message_of(load, tmp_path) == f"{path}: not a regular file"
    path.unlink()
    with path.open("wb") as file:
        file.truncate(3073 * 10**9)  # a file of holes
    assert "are available" in message_of(load, tmp_path)
