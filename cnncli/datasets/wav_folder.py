"""Folders of WAV files for networks of one axis: a class a sub-folder, or files named CLASS_SPEAKER_INDEX.wav."""

import re
from pathlib import Path

import numpy as np

from cnncli.datasets import folders
from cnncli.datasets.base import Dataset, Input, Split, allocate, text_of_shape
from cnncli.datasets.files import refuse_growth
from cnncli.datasets.riff import read_format, read_wav
from cnncli.errors import DataError, printable

SUFFIXES = (".wav",)
# The Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset: the recordings 0 to 4 of each
# speaker and digit are its test split.
NAMED = re.compile(r"([^_]+)_(.+)_([0-9]+)\.wav", re.IGNORECASE)
TEST_INDICES = 5


def load_folder(
    train: folders.Branch, test: folders.Branch | None, name: str, source: str, network: Input | None = None
) -> Dataset:
    """The data set of a folder of WAV files: float32, as long as the network's input, -1 .. 1 where they are integers.

    A longer file gives its beginning, a shorter one is followed by zeros. Channels are averaged for an input of one,
    and one channel is repeated for an input of several. Without a network, the longest file and the first one's
    channels decide. Raises DataError, naming the file, where one is damaged, has another sample rate than the first or
    channels that do not fit, and where the network is not of one axis.
    """
    named = train.files and not any(train.classes.values()) and all(NAMED.fullmatch(path.name) for path in train.files)
    listed = _by_name(train) if named and test is None else folders.samples(train, test, SUFFIXES[0])
    rate, wanted = _wanted(source, listed, network)
    splits = []
    for files in (listed.train, listed.test):
        signals = allocate(printable(source), len(files), (1, 1, *wanted.axes, wanted.channels), np.float32)
        for signal, (path, _) in zip(signals[:, 0, 0], files, strict=True):
            _read(path, signal, rate)
        splits.append(Split(signals, np.array([label for _, label in files], np.int64)))
    return Dataset(name, source, 1, splits[0], splits[1], listed.classes)


def _by_name(branch: folders.Branch) -> folders.Samples:
    """The samples of a flat folder, split by the index in their names."""
    parts = [NAMED.fullmatch(path.name).groups() for path in branch.files]
    classes = tuple(sorted({label for label, _, _ in parts}, key=lambda label: (folders.natural(label), label)))
    found = folders.Samples([], [], classes)
    for path, (label, _, index) in zip(branch.files, parts, strict=True):
        folders.check_class_name(path, label)
        (found.test if int(index) < TEST_INDICES else found.train).append((path, classes.index(label)))
    if not found.train or not found.test:
        needs = f"needs recordings of indices below {TEST_INDICES}, to test on, and others"
        raise DataError(f"{printable(branch.folder)}: {needs}")
    return found


def _wanted(source: str, listed: folders.Samples, network: Input | None) -> tuple[int, Input]:
    """The first file's sample rate, and the length and channels to read."""
    wave, frames = read_format(listed.train[0][0])
    if network is None:
        paths = [path for path, _ in listed.train + listed.test]
        wanted = Input((max(read_format(path)[1] for path in paths),), wave.channels)
        why = "all get the length of the longest and the channels of the first"
        refuse_growth(source, paths, (*wanted.axes, wanted.channels), np.dtype(np.float32).itemsize, why)
        return wave.rate, wanted
    if len(network.axes) != 1:
        size = text_of_shape((network.channels, *network.axes))
        hint = f"set input.size to [length], such as [{frames}]"
        raise DataError(f"{printable(source)}: holds signals of one axis, the model's input is {size}: {hint}")
    return wave.rate, network


def _read(path: Path, into: np.ndarray, rate: int) -> None:
    """Read a file's beginning into a signal (L, C) of zeros."""
    length, channels = into.shape
    wave, frames = read_wav(path, length)
    if wave.rate != rate:
        raise DataError(f"{printable(path)}: has {wave.rate} samples a second, the first file has {rate}")
    if channels not in (1, wave.channels) and wave.channels != 1:
        differ = f"has {wave.channels} channels, the model's input {channels}"
        raise DataError(f"{printable(path)}: {differ}: set input.channels to 1 or {wave.channels}")
    # two numbers that float32 holds may have a sum that it does not hold
    into[: len(frames)] = frames.mean(1, keepdims=True, dtype=np.float64) if channels == 1 else frames
