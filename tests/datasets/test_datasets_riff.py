"""WAV files: every format that is read, written here by hand or by Python's own module; damaged ones of every kind."""

import contextlib
import os
import struct
import wave

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnncli.datasets.riff import read_format, read_wav
from cnncli.errors import DataError

SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
ALL = 2**40
quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(numbers: bytes, kind=1, channels=1, bits=16, rate=8000, extensible=False, before=b"", frame=None) -> bytes:
    frame = channels * bits // 8 if frame is None else frame
    fmt = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * frame, frame, bits)
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, 0, kind) + SUBFORMAT
    body = b"WAVE" + before + chunk(b"fmt ", fmt) + chunk(b"data", numbers)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def refused(path, most=ALL):
    with pytest.raises(DataError) as caught:
        read_wav(path, most)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("kind", "bits", "stored", "expected"),
    [
        (1, 8, [0, 128, 192, 255], [-1, 0, 0.5, 127 / 128]),
        (1, 16, [-(2**15), 0, 2**14, 2**15 - 1], [-1, 0, 0.5, 1 - 2**-15]),
        (1, 24, [-(2**23), 0, 2**22, -1], [-1, 0, 0.5, -(2**-23)]),
        (1, 32, [-(2**31), 0, 2**30, -(2**8)], [-1, 0, 0.5, -(2**-23)]),
        (3, 32, [-1.5, 0.0, 0.5, 1e-30], [-1.5, 0, 0.5, np.float32(1e-30)]),
        (3, 64, [-1.5, 0.0, 0.5, 1 / 3], [-1.5, 0, 0.5, np.float32(1 / 3)]),
    ],
)
def test_every_format(tmp_path, kind, bits, stored, expected, extensible):
    path = tmp_path / "a.wav"
    if kind == 3:
        numbers = struct.pack(f"<{len(stored)}{'f' if bits == 32 else 'd'}", *stored)
    else:
        numbers = b"".join(n.to_bytes(bits // 8, "little", signed=bits > 8) for n in stored)
    path.write_bytes(wav(numbers, kind, bits=bits, extensible=extensible))
    form, frames = read_wav(path, ALL)
    assert (form.rate, form.channels) == (8000, 1)
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames[:, 0], np.array(expected, np.float32))
    path.write_bytes(wav(numbers, kind, channels=2, bits=bits, extensible=extensible))
    np.testing.assert_array_equal(read_wav(path, ALL)[1], frames.reshape(2, 2))


@quick
@given(
    st.sampled_from([1, 2, 4]),
    st.integers(1, 3),
    st.integers(1, 2**32 - 1),
    st.lists(st.integers(0, 255), min_size=1, max_size=40),
)
def test_what_python_writes(tmp_path, size, channels, rate, numbers):
    path = tmp_path / "a.wav"
    frames = np.resize(np.array(numbers), (len(numbers), channels))
    stored = frames if size == 1 else (frames - 128) * 2 ** (8 * size - 8)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(size)
        file.setframerate(min(rate, (2**32 - 1) // (size * channels)))
        file.writeframes(stored.astype(f"<{'u' if size == 1 else 'i'}{size}").tobytes())
    form, read = read_wav(path, ALL)
    assert read_format(path) == (form, len(numbers))
    assert (form.channels, form.bits) == (channels, 8 * size)
    np.testing.assert_array_equal(read, ((frames - 128) / 128).astype(np.float32))


def test_other_chunks_are_passed_over(tmp_path):
    path = tmp_path / "a.wav"
    plain = wav(b"\0\1\0\2")
    path.write_bytes(wav(b"\0\1\0\2", before=chunk(b"LIST", b"odd") + chunk(b"JUNK", b"")) + chunk(b"id3 ", b"tags"))
    np.testing.assert_array_equal(read_wav(path, ALL)[1][:, 0], np.array([256, 512], np.float32) / 2**15)
    path.write_bytes(plain[:4] + b"\xff\xff\xff\xff" + plain[8:])  # the length of all is often wrong, and never needed
    assert len(read_wav(path, ALL)[1]) == 2


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.arange(1000, dtype="<i2").tobytes()))
    taken, empty = [], np.empty
    monkeypatch.setattr(np, "empty", lambda shape, *rest: taken.append(shape) or empty(shape, *rest))
    assert read_format(path)[1] == 1000
    assert len(read_wav(path, 10)[1]) == 10
    assert taken == [0, 20]


def test_truncated_at_every_length_is_refused(tmp_path):
    path, content = tmp_path / "a.wav", wav(bytes(range(20)))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(path)
    assert refused(path) == "truncated: its chunk 'data' declares 20 bytes, 19 follow"


@pytest.mark.parametrize("length", [2**31, 2**32 - 2, 2**32 - 1])
def test_a_length_that_lies_takes_no_memory(tmp_path, monkeypatch, length):
    path, content = tmp_path / "a.wav", wav(bytes(20))
    path.write_bytes(content[:-24] + struct.pack("<I", length) + content[-20:])
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("memory was asked for"))
    assert refused(path) == f"truncated: its chunk 'data' declares {length} bytes, 20 follow"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a WAV file: it starts with nothing"),
        (b"fLaC" + bytes(20), "not a WAV file: it starts with 66 4c 61 43"),
        (wav(b"")[:36] + b"\n\xff\x00'" + bytes(4), "truncated or damaged: holds no chunk 'data'"),
        (b"RIFF\0\0\0\0WAVE" + chunk(b"data", bytes(4)), "damaged: no format stands before its numbers"),
        (b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", bytes(14)), "damaged: its format has 14 bytes of at least 16"),
        (b"RIFF\0\0\0\0WAVE" + chunk(b"JUNK", b"") * 2000 + wav(bytes(2))[12:], "truncated or damaged: holds no chunk"),
        (wav(bytes(4), kind=2, bits=4), "is written in format 2 with 4 bits, only PCM of 8, 16, 24, 32 bits"),
        (wav(bytes(4), kind=7, bits=8, extensible=True), "is written in format 7 with 8 bits"),
        (wav(bytes(4), kind=1, bits=12), "is written in format 1 with 12 bits"),
        (wav(bytes(4), kind=3, bits=16), "is written in format 3 with 16 bits"),
        (wav(bytes(4), extensible=True).replace(SUBFORMAT, bytes(14)), "is written in format 65534 with 16 bits"),
        (wav(bytes(4), channels=0), "damaged: declares 0 channels, 8000 frames a second, 0 bytes a frame"),
        (wav(bytes(4), rate=0), "damaged: declares 1 channels, 0 frames a second"),
        (wav(bytes(4), frame=3), "damaged: declares 1 channels, 8000 frames a second, 3 bytes a frame"),
        (wav(bytes(3)), "3 bytes of numbers are no frames of 2 bytes"),
        (wav(b""), "0 bytes of numbers are no frames of 2 bytes"),
        (wav(struct.pack("<f", np.nan), 3, bits=32), "holds a number that is not finite as float32"),
        (wav(struct.pack("<d", 1e300), 3, bits=64), "holds a number that is not finite as float32"),
    ],
)
def test_what_is_damaged_is_refused(tmp_path, content, message):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert refused(path).startswith(message)


def test_what_is_not_a_regular_file_is_refused(tmp_path):
    assert refused(tmp_path) == "not a regular file"
    os.mkfifo(tmp_path / "fifo")
    assert refused(tmp_path / "fifo") == "not a regular file"
    assert refused(tmp_path / "absent") == "No such file or directory"


@quick
@given(st.binary(max_size=80), st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", wav(bytes(8))[:20], wav(bytes(8))[:40]]))
def test_random_bytes_raise_nothing_but_data_errors(tmp_path, tail, start):
    path = tmp_path / "a.wav"
    path.write_bytes(start + tail)
    with contextlib.suppress(DataError):
        assert len(read_wav(path, ALL)[1])


@quick
@given(st.data(), st.sampled_from([(1, 8), (1, 24), (3, 32), (3, 64)]), st.booleans())
def test_mutated_files_raise_nothing_but_data_errors(tmp_path, data, form, extensible):
    path = tmp_path / "a.wav"
    content = bytearray(wav(bytes(24), form[0], bits=form[1], extensible=extensible, before=chunk(b"LIST", b"odd")))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    with contextlib.suppress(DataError):
        form, frames = read_wav(path, 5)
        assert frames.shape[1] == form.channels
        assert len(frames) <= 5
