import gzip
import io

import numpy as np
import pytest

from cnncli.datasets.files import fill
from cnncli.datasets.gunzip import MOST_EMPTY, PART, Gunzip
from cnncli.errors import DataError

CONTENT = np.random.default_rng(0).integers(0, 3, 3 * PART, np.uint8).tobytes()


def unpacked(packed, count):
    stream, parts = Gunzip("x.gz", io.BytesIO(packed)), []
    while part := stream.read(count):
        assert len(part) <= count
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("count", [7, 4096, 2**24])
def test_members_and_the_padding_behind_them_are_read_as_one(count):
    halves = [gzip.compress(part, mtime=0) for part in (CONTENT[:1000], b"", CONTENT[1000:])]
    assert unpacked(b"".join(halves), count) == CONTENT
    assert unpacked(bytes(3 * PART).join(halves) + bytes(3 * PART), count) == CONTENT
    assert unpacked(b"", count) == b""


def test_zeros_by_the_million_come_out_of_a_few_bytes():
    numbers = np.ones(2**24, np.uint8)
    stream = Gunzip("x.gz", io.BytesIO(gzip.compress(bytes(2**24))))
    assert fill(stream, numbers) == 2**24
    assert not numbers.any()
    assert stream.read(1) == b""


def test_what_is_damaged_or_has_no_end_is_refused():
    packed = gzip.compress(CONTENT, mtime=0)
    for length in (1, 5, 18, len(packed) // 2, len(packed) - 1):
        with pytest.raises(DataError, match=r"^x\.gz: (truncated|damaged gzip stream): "):
            unpacked(packed[:length], 4096)
    for wrong in (packed + b"text", b"text", packed[:-8] + b"\0\0\0\0" + packed[-4:]):
        with pytest.raises(DataError, match=r"^x\.gz: damaged gzip stream: "):
            unpacked(wrong, 4096)


def test_members_of_nothing_are_counted():
    empty = gzip.compress(b"", mtime=0)
    assert unpacked(empty * MOST_EMPTY, 4096) == b""
    with pytest.raises(DataError, match=r"x\.gz: 1001 gzip members hold 0 bytes"):
        unpacked(empty * (MOST_EMPTY + 1), 4096)
