import contextlib
import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnncli.datasets import load
from cnncli.errors import DataError

SIZES = [
    ((5,), 1, (1, 1, 5, 1)),
    ((5, 4), 2, (1, 5, 4, 1)),
    ((5, 4, 3), 2, (1, 5, 4, 3)),
    ((2, 5, 4, 3), 3, (2, 5, 4, 3)),
]


def arrays(sample=(5, 4), dtype=np.uint8, **changed):
    count = int(np.prod(sample))
    images = np.arange(6 * count).reshape(6, *sample).astype(dtype)
    labels = np.array([0, 1, 2, 0, 1, 2])
    return {"x_train": images[:4], "y_train": labels[:4], "x_test": images[4:], "y_test": labels[4:], **changed}


def refused(path):
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize(("sample", "rank", "size"), SIZES)
def test_every_rank_and_type(tmp_path, sample, rank, size, dtype, save):
    path = tmp_path / "mine.npz"
    stored = arrays(sample, dtype)
    save(path, **stored)
    dataset = load(path)
    assert (dataset.name, dataset.source, dataset.rank) == ("mine", str(path), rank)
    assert dataset.classes == ("0", "1", "2")
    for split, part in ((dataset.train, "train"), (dataset.test, "test")):
        assert split.images.shape == (len(stored[f"x_{part}"]), *size)
        assert split.images.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
        assert split.images.flags.c_contiguous
        assert split.images.flags.writeable
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.images.ravel(), stored[f"x_{part}"].ravel())
        np.testing.assert_array_equal(split.labels, stored[f"y_{part}"])


def test_fortran_order_and_columns_of_labels(tmp_path):
    path = tmp_path / "mine.npz"
    plain = arrays((5, 4, 3))
    labels = {key: plain[key].astype(np.uint64)[:, None] for key in ("y_train", "y_test")}
    np.savez(path, **arrays((5, 4, 3), x_train=np.asfortranarray(plain["x_train"]), **labels))
    dataset = load(path)
    assert dataset.train.images.flags.c_contiguous
    np.testing.assert_array_equal(dataset.train.images[:, 0], plain["x_train"])
    assert dataset.train.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": np.array([{}, None, 1, 2])}, "x_train cannot be read: Object arrays cannot be loaded"),
        ({"x_train": np.zeros((4, 5, 4), np.int16)}, "x_train: is int16, expected uint8 or floats"),
        ({"x_train": np.zeros((4, 5, 4), np.complex64)}, "x_train: is complex64, expected"),
        ({"x_train": np.zeros(4, np.uint8)}, "x_train: has 1 axes, expected"),
        ({"x_train": np.zeros((4, 1, 1, 1, 1, 1), np.uint8)}, "x_train: has 6 axes, expected"),
        ({"x_train": np.zeros((0, 5, 4), np.uint8)}, "x_train: holds no sample"),
        ({"x_test": np.zeros((2, 0, 4), np.uint8)}, "x_test: samples of 0x4 are empty"),
        ({"x_test": np.zeros((2, 4, 5), np.uint8)}, "x_test: test samples are 4x5, training samples are 5x4"),
        ({"x_test": np.zeros((2, 5, 4, 1), np.uint8)}, "x_test: test samples are 5x4x1, training samples are 5x4"),
        ({"x_test": np.zeros((2, 5, 4), np.float32)}, "x_test: test samples are float32, training samples are uint8"),
        ({"x_train": np.full((4, 5, 4), np.nan)}, "x_train: sample 0 holds a number that is not finite"),
        ({"x_train": np.full((4, 5, 4), 1e300)}, "x_train: sample 0 holds a number that is not finite"),
        ({"y_train": np.arange(3)}, "y_train: 3 labels for 4 samples"),
        ({"y_train": np.zeros((4, 2), int)}, "y_train: has the shape (4, 2), expected"),
        ({"y_train": np.zeros(4)}, "y_train: is float64, expected whole numbers"),
        ({"y_train": np.array([0, 1, -1, 2])}, "y_train: label 2 is -1, outside 0 .. 65535"),
        ({"y_train": np.array([0, 2**64 - 1, 1, 2], np.uint64)}, f"y_train: label 1 is {2**64 - 1}, outside"),
        ({"y_test": np.array([1, 3])}, "y_test: label 1 is 3, outside 0 .. 2"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changed, message):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays(**changed))
    assert refused(path).startswith(message)


def test_a_missing_array_is_named(tmp_path):
    path = tmp_path / "mine.npz"
    stored = arrays()
    del stored["y_test"], stored["x_test"]
    np.savez(path, **stored)
    assert refused(path) == "lacks x_test, y_test; it needs x_train, y_train, x_test, y_test"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **arrays())
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02")  # the first record of the directory: its unpacked size is 24 bytes further
    path.write_bytes(content[: at + 24] + (2**31).to_bytes(4, "little") + content[at + 28 :])
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("it was unpacked"))
    assert refused(path).startswith("declares what takes 21474")


def test_a_shape_that_lies_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    for shape in ((2**50, 28, 28), (2**40, 2**40), (-1, 5, 4), (10**30,), (4, 5, 5)):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        np.savez(path, **{key: array for key, array in arrays().items() if key != "x_train"})
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("x_train.npy", header.getvalue() + bytes(80))
        assert refused(path).startswith("x_train cannot be read")


def test_other_members_and_methods(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays(), x_extra=np.array([{}]))
    load(path)  # an array that is not asked for is never read
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for key in arrays():
            archive.writestr(f"{key}.npy", b"")
    assert refused(path) == "x_train.npy is neither stored nor deflated, as np.savez writes it"
    with zipfile.ZipFile(path, "w") as archive:
        for key in arrays():
            archive.writestr(f"{key}.npy", b"text")
    assert refused(path) == "x_train is not a NumPy array"


def test_what_is_not_an_archive_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    os.mkfifo(path)
    assert refused(path) == "not a regular file"
    path.unlink()
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x80\x04]\x94."):
        path.write_bytes(content)
        refused(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from([np.savez, np.savez_compressed]))
def test_mutated_archives_raise_nothing_but_data_errors(tmp_path, data, save):
    path, buffer = tmp_path / "mine.npz", io.BytesIO()
    save(buffer, **arrays((2, 2)))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    with contextlib.suppress(DataError):
        load(path)


@pytest.mark.parametrize(("sample", "rank", "size"), SIZES)
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_labels_of_pixels(tmp_path, sample, rank, size, kind):
    path, axes = tmp_path / "mine.npz", size[3 - rank : 3]
    labels = (np.arange(6 * np.prod(axes)) % 3).reshape(6, *axes).astype(kind)
    labels[0, 0] = 255
    np.savez(path, **arrays(sample, y_train=labels[:4], y_test=labels[4:]))
    dataset = load(path)
    assert (dataset.task, dataset.classes) == ("pixels", ("0", "1", "2"))
    for split, expected in ((dataset.train, labels[:4]), (dataset.test, labels[4:])):
        assert split.labels.dtype == np.uint8
        np.testing.assert_array_equal(split.labels, expected.reshape(-1, *size[:3]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((4, 5, 4), 256), "y_train: holds labels outside 0 .. 255"),
        (np.full((4, 5, 4), -1), "y_train: holds labels outside 0 .. 255"),
        (np.zeros((4, 5, 4), int), "of y_train and y_test, only one holds labels of pixels"),
    ],
)
def test_labels_of_pixels_that_do_not_fit(tmp_path, labels, message):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays(y_train=labels))
    assert refused(path) == message
    np.savez(path, **arrays(y_train=np.full((4, 5, 4), 255), y_test=np.full((2, 5, 4), 255)))
    assert refused(path) == "holds no class, only 255, which is ignored"
