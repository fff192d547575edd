"""Folders of `.npy` arrays, and the files themselves, plain and compressed, whole and damaged."""

import contextlib
import gzip
import io
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnncli.datasets import Input, load, npy
from cnncli.errors import DataError

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = [np.uint8, np.bool_, np.int16, np.float16, np.float32, np.float64, ">f4", ">u2"]


def encoded(array, packed=False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asanyarray(array))
    return gzip.compress(buffer.getvalue(), 1) if packed else buffer.getvalue()


def read(path):
    with npy.opened(path) as stored:
        return np.concatenate(list(stored.parts()))


def refused(path):
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@quick
@given(st.data(), st.sampled_from(KINDS), st.booleans(), st.booleans(), st.integers(1, 200))
def test_round_trip(tmp_path, data, kind, packed, fortran, part):
    array = data.draw(hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)))
    path = tmp_path / ("a.npy.gz" if packed else "a.npy")
    path.write_bytes(encoded(np.asfortranarray(array) if fortran else array, packed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npy, "PART", part)
        np.testing.assert_array_equal(read(path), array)


@pytest.mark.parametrize("packed", [False, True])
def test_truncated_at_every_length_is_refused(tmp_path, packed):
    path, content = tmp_path / ("a.npy.gz" if packed else "a.npy"), encoded(np.arange(12.0))
    for length in range(len(content)):
        path.write_bytes(gzip.compress(content[:length]) if packed else content[:length])
        refused(path)
    assert refused(path) == "truncated: its header declares 12 of float64, less follows"
    path.write_bytes(gzip.compress(content + b"\0") if packed else content + b"\0")
    assert refused(path) == "too long: more follows than an array of 12"


def test_a_gzip_stream_cut_at_every_length_is_refused(tmp_path):
    path, content = tmp_path / "a.npy.gz", encoded(np.arange(12.0), packed=True)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(path)
    path.write_bytes(content[:-8] + b"\0\0\0\0" + content[-4:])
    assert refused(path).endswith("damaged gzip stream: Error -3 while decompressing data: incorrect data check")


@pytest.mark.parametrize("shape", [(2**50, 28), (2**40, 2**40), (10**30,)])
@pytest.mark.parametrize("packed", [False, True])
def test_a_shape_that_lies_takes_no_memory(tmp_path, monkeypatch, shape, packed):
    path, header = tmp_path / ("a.npy.gz" if packed else "a.npy"), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    content = header.getvalue() + bytes(80)
    path.write_bytes(gzip.compress(content) if packed else content)
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("memory was asked for"))
    assert "declares" in refused(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged .npy file: EOF"),
        (b"text" * 9, "damaged .npy file: the magic string is not correct"),
        (b"\x93NUMPY\x03\x00" + bytes(90), "is written in version 3.0 of .npy"),
        (b"\x93NUMPY\x01\x00\x05\x00((((\n", "damaged .npy file: "),
        (encoded(np.array([{}, None])), "holds object, expected numbers"),
        (encoded(np.array(["a", "b"])), "holds <U1, expected numbers"),
        (encoded(np.zeros((3, 0))), "an array of the shape (3, 0) holds no sample"),
        (encoded(np.float32(1)), "an array of the shape () holds no sample"),
    ],
)
def test_what_holds_no_numbers_is_refused(tmp_path, content, message):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    assert refused(path).startswith(message)


def test_what_is_not_a_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.npy")
    assert refused(tmp_path / "fifo.npy") == "not a regular file"
    assert refused(tmp_path) == "not a regular file"


@quick
@given(st.data(), st.booleans())
def test_mutated_files_raise_nothing_but_data_errors(tmp_path, data, packed):
    path = tmp_path / ("a.npy.gz" if packed else "a.npy")
    content = bytearray(encoded(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), packed))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        read(path)


GRIDS = np.add.outer(20 * np.arange(12), np.arange(24) % 20).astype(np.uint8).reshape(12, 2, 3, 4)


@pytest.mark.parametrize("packed", [False, True])
def test_a_class_a_folder_and_a_class_a_file(tmp_path, write_all, packed):
    suffix = ".npy.gz" if packed else ".npy"
    single = {f"{'ab'[i % 2]}/{i}{suffix}": encoded(GRIDS[i], packed) for i in range(12)}
    stacks = {f"{'ab'[i]}{suffix}": encoded(GRIDS[i::2], packed) for i in range(2)}
    for folder, files in (("single", single), ("stacks", stacks)):
        dataset = load(write_all(tmp_path / folder, files))
        assert (dataset.name, dataset.rank, dataset.axes, dataset.channels) == (folder, 3, (2, 3, 4), 1)
        assert (dataset.classes, dataset.task) == (("a", "b"), "classes")
        assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([0] * 5 + [1] * 5, [0, 1])
        both = np.concatenate([dataset.train.images, dataset.test.images])
        assert both.dtype == np.uint8
        labels = np.concatenate([dataset.train.labels, dataset.test.labels])
        order = np.argsort(both[:, 0, 0, 0, 0])
        np.testing.assert_array_equal(both[order, ..., 0], GRIDS)
        np.testing.assert_array_equal(labels[order], np.arange(12) % 2)


@pytest.mark.parametrize("folders", ["{part}/{name}.npy", "{part}/{name}/1.npy"])
def test_train_and_test_folders(tmp_path, write_all, folders):
    files = {
        folders.format(part=part, name=name): encoded(GRIDS[i] if "1.npy" in folders else GRIDS[[i, i]])
        for i, (part, name) in enumerate((part, name) for part in ("train", "test") for name in "ab")
    }
    dataset = load(write_all(tmp_path, files))
    copies = 1 if "1.npy" in folders else 2  # equal samples are left out only where something is held out
    np.testing.assert_array_equal(dataset.train.images[..., 0], np.repeat(GRIDS[:2], copies, 0))
    np.testing.assert_array_equal(dataset.test.images[..., 0], np.repeat(GRIDS[2:4], copies, 0))
    assert dataset.test.labels.tolist() == [0] * copies + [1] * copies


def test_equal_samples_are_on_one_side(tmp_path, write_all):
    dataset = load(write_all(tmp_path, {"a.npy": encoded(np.tile(GRIDS, (3, 1, 1, 1))), "b.npy": encoded(GRIDS[:5])}))
    assert np.bincount(dataset.train.labels).tolist() == [10, 4]
    assert np.bincount(dataset.test.labels).tolist() == [2, 1]
    train, test = ({x.tobytes() for x in part.images[part.labels == 0]} for part in (dataset.train, dataset.test))
    assert (len(train), len(test), train & test) == (10, 2, set())


@pytest.mark.parametrize(
    ("sample", "network", "size"),
    [
        ((2, 3, 4), Input((2, 3, 4), 1), (2, 3, 4, 1)),
        ((2, 3, 4, 5), Input((2, 3, 4), 5), (2, 3, 4, 5)),
        ((5, 2, 3, 4), Input((2, 3, 4), 5), (2, 3, 4, 5)),
        ((1, 2, 3, 4), None, (2, 3, 4, 1)),
        ((2, 3, 4, 5), None, (2, 3, 4, 5)),
        ((3, 4), Input((3, 4), 1), (1, 3, 4, 1)),
        ((4, 2), Input((4,), 2), (1, 1, 4, 2)),
        ((4,), Input((4,), 1), (1, 1, 4, 1)),
    ],
)
def test_axes_and_channels(tmp_path, write_all, sample, network, size):
    array = np.arange(2 * np.prod(sample), dtype=np.float32).reshape(2, *sample)
    dataset = load(write_all(tmp_path, {"a.npy": encoded(array), "b.npy": encoded(array + 7)}), None, network)
    assert dataset.train.images.shape == (2, *size)
    both = np.concatenate([dataset.train.images[0], dataset.test.images[0]]).reshape(2, *size)
    if network and network.channels == 5 and sample[0] == 5:
        array = np.moveaxis(array, 1, -1)
    np.testing.assert_array_equal(both[np.argsort(both.reshape(2, -1)[:, 0])], array.reshape(2, *size))


@pytest.mark.parametrize("kind", KINDS)
def test_types(tmp_path, write_all, kind):
    numbers = np.array([[[0, 1], [1, 0]], [[1, 1], [0, 0]]]).astype(kind)
    dataset = load(write_all(tmp_path, {"a.npy": encoded(numbers), "b.npy": encoded(numbers)}), None, Input((2, 2), 1))
    assert dataset.train.images.dtype == np.uint8  # nothing but 0 and 1
    assert set(np.unique(dataset.train.images)) == {0, 1 if kind == np.uint8 else 255}
    if kind not in (np.uint8, np.bool_):
        dataset = load(write_all(tmp_path, {"a.npy": encoded(7 * numbers)}), None, Input((2, 2), 1))
        assert dataset.train.images.dtype == np.float32
        assert set(np.unique(dataset.train.images)) == {0, 1, 7}


@pytest.mark.parametrize("form", ["{}.npy", "{}/1.npy"])
@pytest.mark.parametrize("binary", ["train/a", "train/b", "test/a", "test/b"])
def test_some_files_of_0_and_1_are_numbers_like_the_others(tmp_path, write_all, form, binary):
    names = ("train/a", "train/b", "test/a", "test/b")
    numbers = {name: np.full((2, 2), 1.0 if name == binary else 7 + i) for i, name in enumerate(names)}
    files = {form.format(name): encoded(x[None] if form == "{}.npy" else x) for name, x in numbers.items()}
    dataset = load(write_all(tmp_path, files), None, Input((2, 2), 1))
    for split, part in ((dataset.train, names[:2]), (dataset.test, names[2:])):
        assert split.images.dtype == np.float32
        np.testing.assert_array_equal(split.images[:, 0, :, :, 0], [numbers[name] for name in part])


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        ("b.npy", GRIDS[:, :1], "samples are 1x3x4x1 bytes, those of {}/a.npy are 2x3x4x1 bytes"),
        ("b.npy", GRIDS / 7, "samples are 2x3x4x1 numbers, those of {}/a.npy are 2x3x4x1 bytes"),
        ("b.npy", GRIDS[0], "has the shape 2x3x4, expected samples of 3 axes, with channels or without, samples first"),
        ("b.npy", np.full((3, 2, 2, 2), np.nan), "sample 0 holds a number that is not finite as float32"),
        ("b.npy", np.full((3, 2, 2, 2), 1e300), "sample 0 holds a number that is not finite as float32"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, write_all, message_of, file, array, message):
    write_all(tmp_path, {"a.npy": encoded(GRIDS), file: encoded(array)})
    assert message_of(load, tmp_path) == f"{tmp_path / file}: {message.replace('{}', str(tmp_path))}"


def test_samples_that_do_not_fit_are_named(tmp_path, write_all, message_of):
    files = {f"{name}/{i}.npy": encoded(GRIDS[i]) for name in "ab" for i in range(3)}
    write_all(tmp_path, {**files, "b/9.npy": encoded(GRIDS[0, :, :2])})
    assert message_of(load, tmp_path).startswith(f"{tmp_path}/b/9.npy: samples are 2x2x4x1 bytes, those of ")


def test_two_files_of_one_class_and_a_class_too_many(tmp_path, write_all, message_of):
    write_all(tmp_path / "two", {"a.npy": encoded(GRIDS), "a.npy.gz": encoded(GRIDS, packed=True)})
    assert message_of(load, tmp_path / "two") == f"{tmp_path}/two: holds two files of one class"
    write_all(tmp_path / "more", {"train/a.npy": encoded(GRIDS), "test/b.npy": encoded(GRIDS)})
    more = tmp_path / "more"
    assert message_of(load, more) == f"{more}/test/b.npy: is a class that {more}/train lacks"
