"""Folders of WAV files."""

import io
import wave

import numpy as np
import pytest

from cnncli.datasets import Input, load


def sound(*numbers: int, channels=1, rate=8000) -> bytes:
    """A WAV file of 16-bit frames, each with `channels` of the numbers."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.array(numbers, "<i2").tobytes())
    return buffer.getvalue()


@pytest.fixture
def bells(tmp_path, write_all):
    """Two classes of five sounds of 3 to 7 frames: 1, 2, ... and 101, 102, ..."""
    return write_all(
        tmp_path / "bells",
        {
            f"{name}/{i}.wav": sound(*range(first, first + 3 + i))
            for name, first in (("high", 1), ("low", 101))
            for i in range(5)
        },
    )


def test_signals_are_cut_and_padded(bells):
    dataset = load(bells, None, Input((5,), 1))
    assert (dataset.name, dataset.rank, dataset.axes, dataset.channels) == ("bells", 1, (5,), 1)
    assert (dataset.classes, dataset.task) == (("high", "low"), "classes")
    assert dataset.train.images.shape == (8, 1, 1, 5, 1)
    assert dataset.test.images.shape == (2, 1, 1, 5, 1)
    found = []
    for split in (dataset.train, dataset.test):
        assert split.images.dtype == np.float32
        for signal, label in zip(split.images[:, 0, 0, :, 0] * 2**15, split.labels, strict=True):
            length, first = np.count_nonzero(signal), (1, 101)[label]
            assert signal.tolist() == [*range(first, first + length), *[0] * (5 - length)]
            found.append((int(label), length))
    assert sorted(found) == [(label, length) for label in (0, 1) for length in (3, 4, 5, 5, 5)]


def test_without_a_network_the_longest_decides(bells):
    assert load(bells).axes == (7,)


def test_channels_are_kept_averaged_or_repeated(bells):
    for path in bells.glob("*/*.wav"):
        path.write_bytes(sound(10, 20, 30, 50, channels=2))
    signals = {c: load(bells, None, Input((2,), c)).train.images[0, 0, 0] * 2**15 for c in (1, 2)}
    assert signals[2].tolist() == [[10, 20], [30, 50]]
    assert signals[1].tolist() == [[15], [40]]
    for path in bells.glob("*/*.wav"):
        path.write_bytes(sound(10, 20))
    assert (load(bells, None, Input((2,), 3)).train.images[0, 0, 0] * 2**15).tolist() == [[10] * 3, [20] * 3]


def test_train_and_test_folders(bells, write_all):
    parts = {f"{part}/{name}/1.wav": sound(1, 2) for part in ("train", "test") for name in ("a", "b")}
    dataset = load(write_all(bells.parent / "parts", parts))
    assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([0, 1], [0, 1])


def test_names_say_class_and_split(tmp_path, write_all):
    files = {f"set/recordings/{c}_{who}_{i}.wav": sound(c, i + 1) for c in (0, 7, 10) for who in "ab" for i in range(7)}
    dataset = load(write_all(tmp_path, files), None, Input((2,), 1))
    assert dataset.classes == ("0", "7", "10")
    for split, indices in ((dataset.train, (5, 6)), (dataset.test, range(5))):
        numbers = (split.images.reshape(-1, 2) * 2**15).astype(int).tolist()
        expected = [[c, i + 1, label] for label, c in enumerate((0, 7, 10)) for _ in "ab" for i in indices]
        assert [[*pair, label] for pair, label in zip(numbers, split.labels.tolist(), strict=True)] == expected


def test_names_without_a_test_split(tmp_path, write_all, message_of):
    write_all(tmp_path, {"0_a_7.wav": sound(1), "1_a_8.wav": sound(1)})
    message = message_of(load, tmp_path)
    assert message == f"{tmp_path}: needs recordings of indices below 5, to test on, and others"
    (tmp_path / "other.wav").write_bytes(sound(1))
    assert load(tmp_path).task == "unlabelled"


@pytest.mark.parametrize(
    ("content", "channels", "message"),
    [
        (b"text", 1, "not a WAV file: it starts with 74 65 78 74"),
        (sound(1, rate=16000), 1, "has 16000 samples a second, the first file has 8000"),
        (sound(1, 2, channels=2), 3, "has 2 channels, the model's input 3: set input.channels to 1 or 2"),
    ],
)
def test_a_file_that_does_not_fit_is_named(bells, message_of, content, channels, message):
    (bells / "low" / "2.wav").write_bytes(content)
    assert message_of(load, bells, None, Input((5,), channels)) == f"{bells}/low/2.wav: {message}"


def test_a_network_that_takes_no_signals(bells, message_of):
    message = message_of(load, bells, None, Input((8, 8), 1))
    differ, hint = "holds signals of one axis, the model's input is 1x8x8", "set input.size to [length], such as [4]"
    assert message == f"{bells}: {differ}: {hint}"


def test_more_than_the_machine_s_memory_is_refused(bells, message_of):
    assert "are available" in message_of(load, bells, None, Input((2**40,), 1))
