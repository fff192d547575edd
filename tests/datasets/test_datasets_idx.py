import contextlib
import gzip
import os
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnncli.datasets import load
from cnncli.datasets.idx import FILES, read_idx
from cnncli.errors import DataError

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(path, axes=3):
    """The message of the DataError that reading `path` raises; it must be one line that begins with the path."""
    with pytest.raises(DataError) as caught:
        read_idx(path, axes)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_what_was_written(tmp_path, encode_idx, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(encode_idx(IMAGES)))
    read = read_idx(path, 3)
    np.testing.assert_array_equal(read, IMAGES)
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    assert read.flags.writeable


@quick
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)), st.booleans())
def test_round_trip(tmp_path, encode_idx, array, compressed):
    path = tmp_path / "array"
    content = encode_idx(array)
    path.write_bytes(gzip.compress(content, 1) if compressed else content)
    np.testing.assert_array_equal(read_idx(path, array.ndim), array)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_truncated_at_every_length_is_refused(tmp_path, encode_idx, pack):
    path, content = tmp_path / "images", encode_idx(IMAGES)
    for length in range(len(content)):
        path.write_bytes(pack(content[:length]))
        assert "truncated" in refused(path)
    path.write_bytes(pack(content[:-5]))
    assert refused(path) == "truncated: its header declares 2x4x3 = 24 bytes, 19 follow"


def test_a_gzip_stream_cut_at_every_length_is_refused(tmp_path, encode_idx):
    path, packed = tmp_path / "images", gzip.compress(encode_idx(IMAGES))
    for length in range(len(packed)):
        path.write_bytes(packed[:length])
        refused(path)


def test_too_long_is_refused(tmp_path, encode_idx):
    path = tmp_path / "images"
    path.write_bytes(encode_idx(IMAGES) + b"\0")
    assert refused(path) == "too long: its header declares 2x4x3 = 24 bytes, 25 follow"
    path.write_bytes(gzip.compress(encode_idx(IMAGES) + b"\0"))
    assert refused(path) == "too long: its header declares 2x4x3 = 24 bytes, more than 24 follow"


def test_a_gzip_bomb_is_not_unpacked(tmp_path, encode_idx, monkeypatch):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(encode_idx(IMAGES) + bytes(50_000_000), 1))
    unpacked = 0
    read = gzip._GzipReader.read

    def count(self, size=-1):
        nonlocal unpacked
        chunk = read(self, size)
        unpacked += len(chunk)
        return chunk

    monkeypatch.setattr(gzip._GzipReader, "read", count)
    assert "more than 24" in refused(path)
    assert unpacked < 1_000_000


@pytest.mark.parametrize("junk", [b"junk", b"\x1f\x8b"])
def test_damaged_gzip_is_refused(tmp_path, encode_idx, junk):
    path, packed = tmp_path / "images", gzip.compress(encode_idx(IMAGES))
    path.write_bytes(packed + junk)
    refused(path)
    path.write_bytes(packed[:-8] + b"\0\0\0\0" + packed[-4:])
    assert "damaged gzip" in refused(path)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"<!DOCTYPE html>", "not an IDX file: it starts with the bytes 3c 21 44 4f"),
        (b"\0\0\x07\x03" + bytes(12), "not an IDX file"),
        (b"\0\0\x0d\x03" + bytes(12), "holds float32 (type code 0x0d), only uint8 is read"),
        (b"\0\0\x08\x01" + bytes(4), "holds an array of 1 axes, expected 3"),
        (b"\0\0\x08\xff" + bytes(1020), "holds an array of 255 axes, expected 3"),
    ],
)
def test_another_format_is_refused(tmp_path, start, message):
    path = tmp_path / "images"
    path.write_bytes(start)
    assert refused(path).startswith(message)


@pytest.mark.parametrize("shape", [(2**31, 28, 28), (2**32 - 1,) * 3, (2**31, 2**31, 4)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_lies_takes_no_memory(tmp_path, monkeypatch, shape, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(b"\0\0\x08\x03" + struct.pack(">3I", *shape) + bytes(100)))
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("memory was asked for"))
    assert "declares" in refused(path)


def test_what_is_not_a_regular_file_is_refused(tmp_path, message_of):
    assert refused(tmp_path) == "not a regular file"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert refused(fifo) == "not a regular file"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    refused(loop)
    refused(tmp_path / "absent")
    assert "not a regular file" in message_of(read_idx, "/dev/zero", 3)


def test_a_path_with_a_newline_is_shown_on_one_line(tmp_path, message_of):
    path = tmp_path / "a\nb"
    path.write_bytes(b"junk")
    assert "\n" not in message_of(read_idx, path, 3)


@quick
@given(st.binary(max_size=64), st.sampled_from([b"", b"\0\0\x08\x03", b"\0\0\x08\x03" + bytes(11), b"\x1f\x8b\x08"]))
def test_random_bytes_raise_nothing_but_data_errors(tmp_path, tail, start):
    path = tmp_path / "images"
    path.write_bytes(start + tail)
    with contextlib.suppress(DataError):
        read_idx(path, 3)


@quick
@given(st.data())
def test_mutated_gzip_raises_nothing_but_data_errors(tmp_path, encode_idx, data):
    path, packed = tmp_path / "images", bytearray(gzip.compress(encode_idx(IMAGES)))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(packed)
    with contextlib.suppress(DataError):
        read_idx(path, 3)


def test_a_folder_is_a_data_set(tiny_folder):
    dataset = load(str(tiny_folder))
    assert (dataset.name, dataset.source, dataset.rank) == ("tiny", str(tiny_folder), 2)
    assert dataset.classes == ("0", "1", "2")
    assert (dataset.axes, dataset.channels) == ((3, 2), 1)
    for split, count, first in ((dataset.train, 6, 0), (dataset.test, 4, 36)):
        assert split.images.shape == (count, 1, 3, 2, 1)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert split.images[0].ravel().tolist() == list(range(first, first + 6))


TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        (TRAIN_LABELS, [0, 1, 2], "3 labels for 6 samples"),
        (TEST_LABELS, [0, 1, 7, 8], "label 2 is 7, outside 0 .. 2"),
        (TRAIN_IMAGES, np.zeros((0, 3, 2)), "holds no sample"),
        (TEST_IMAGES, np.zeros((4, 0, 2)), "samples of 0x2 are empty"),
        (TEST_IMAGES, np.zeros((4, 2, 3)), "test samples are 2x3, training samples are 3x2"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tiny_folder, encode_idx, file, array, message, message_of):
    (tiny_folder / f"{file}.gz").unlink(missing_ok=True)
    path = tiny_folder / file
    path.write_bytes(encode_idx(np.array(array, np.uint8)))
    assert message_of(load, tiny_folder) == f"{path}: {message}"


def test_a_file_that_is_missing_is_named(tiny_folder, message_of):
    (tiny_folder / TEST_LABELS).unlink()
    message = message_of(load, tiny_folder)
    assert message == f"{tiny_folder}: lacks {TEST_LABELS} (or .gz)"
