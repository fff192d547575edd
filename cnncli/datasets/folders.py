"""Folders of files: a class a sub-folder, or train/ and test/ above them, and what is held out where there is no test/.

A class is named after its sub-folder, and has the files in there and a few folders deeper, in natural order (9 before
10). Hidden files and folders are passed over. Links to files and to folders of classes are followed, others to folders
are not, so that links in a circle lead nowhere.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnncli.datasets.files import reason
from cnncli.errors import DataError, printable

TRAIN, TESTS = "train", ("test", "val", "valid", "validation")  # of several, the first is the test split
HELD_OUT = 5  # one sample in so many, of each class
SYSTEM_FOLDERS = ("__MACOSX",)
MAX_WRAPPERS, MAX_DEPTH = 3, 3


@dataclass(frozen=True)
class Branch:
    """The files of one split: those in the folder itself, and those of each sub-folder."""

    folder: Path
    files: tuple[Path, ...]
    classes: dict[str, tuple[Path, ...]]

    def only(self, suffixes: Sequence[str]) -> "Branch":
        """The same with the files of these suffixes."""

        def chosen(files: Iterable[Path]) -> tuple[Path, ...]:
            return tuple(path for path in files if path.name.lower().endswith(tuple(suffixes)))

        return Branch(self.folder, chosen(self.files), {name: chosen(files) for name, files in self.classes.items()})

    @property
    def count(self) -> int:
        return len(self.files) + sum(map(len, self.classes.values()))


@dataclass(frozen=True)
class Samples:
    """Files with the numbers of their classes, in the order of the classes; and the classes' names, if any."""

    train: list[tuple[Path, int]]
    test: list[tuple[Path, int]]
    classes: tuple[str, ...]


def natural(name: str) -> list:
    """The key that sorts slice_9 before slice_10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def content(folder: Path) -> tuple[list[Path], list[Path]]:
    """The visible sub-folders and other entries of a folder, each in natural order."""
    try:
        with os.scandir(folder) as found:
            entries = [(entry.name, _is_folder(entry)) for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{printable(folder)}: {reason(error)}") from None
    entries.sort(key=lambda entry: (natural(entry[0]), entry[0]))
    folders = [folder / name for name, is_folder in entries if is_folder and name not in SYSTEM_FOLDERS]
    return folders, [folder / name for name, is_folder in entries if not is_folder]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle: who opens it says so
        return False


def enter(folder: Path) -> Path:
    """The folder below wrappers that hold one sub-folder and no data, as archives unpack: photos/photos/cat ..."""
    for _ in range(MAX_WRAPPERS):
        folders, files = content(folder)
        if len(folders) != 1 or folders[0].name.lower() == TRAIN or any(map(is_data, files)):
            break
        folder = folders[0]
    return folder


def is_data(path: Path) -> bool:
    """Whether a file may hold samples: what lies beside data sets are texts and checksums."""
    return path.suffix.lower() in (".jpg", ".jpeg", ".png", ".wav", ".npy", ".gz", ".bin")


def splits(folder: Path) -> tuple[Path, Path | None]:
    """The folders of the train and the test split: folder/train and folder/test, else the folder itself and None.

    A folder train/ without sub-folders is a class of that name.
    """
    below = {path.name.lower(): path for path in content(folder)[0]}
    train = below.get(TRAIN)
    if train is None or not (content(train)[0] or len(below) == 1 or below.keys() <= {TRAIN, *TESTS}):
        return folder, None
    return train, next((below[name] for name in TESTS if name in below), None)


def branch(folder: Path) -> Branch:
    """The files in a folder and below its sub-folders."""
    below, files = content(folder)
    return Branch(folder, tuple(files), {path.name: tuple(_all_files(path, MAX_DEPTH)) for path in below})


def _all_files(folder: Path, depth: int) -> list[Path]:
    below, files = content(folder)
    for path in below:
        if depth and not path.is_symlink():
            files += _all_files(path, depth - 1)
    return files


def samples(train: Branch, test: Branch | None, what: str) -> Samples:
    """The files of class folders, with their classes. `what` names the files that are looked for, such as .wav.

    Files in a folder without sub-folders have no classes. Without a test split, a fifth of each class is held out (see
    `held_out`). Raises DataError where a class is empty, where the test split has one that the training split lacks,
    or where there is nothing to test on.
    """
    classes = tuple(train.classes)
    if not classes:
        return _unlabelled(train, test, what)
    for name, files in train.classes.items():
        check_class_name(train.folder / name, name)
        if not files:
            raise DataError(f"{printable(train.folder / name)}: holds no {what} file")
    found = Samples([], [], classes)
    for label, (name, files) in enumerate(train.classes.items()):
        for path, is_test in zip(files, _held_out_files(train.folder / name, files, test), strict=True):
            (found.test if is_test else found.train).append((path, label))
        found.test.extend((path, label) for path in (test.classes.get(name, ()) if test else ()))
    for name in test.classes if test else ():
        if name not in classes:
            raise DataError(f"{printable(test.folder / name)}: is a class that {printable(train.folder)} lacks")
    if not found.test:
        hint = (
            f"in class sub-folders as {printable(train.folder)} has them" if test else "to test on: a class needs two"
        )
        raise DataError(f"{printable((test or train).folder)}: holds no {what} files {hint}")
    return found


def _unlabelled(train: Branch, test: Branch | None, what: str) -> Samples:
    found = Samples([], [], ())
    for path, is_test in zip(train.files, _held_out_files(train.folder, train.files, test), strict=True):
        (found.test if is_test else found.train).append((path, 0))
    found.test.extend((path, 0) for path in (test.files if test else ()))
    if not found.test:
        raise DataError(f"{printable((test or train).folder)}: holds no {what} files to test on")
    return found


def check_class_name(path: Path, name: str) -> None:
    """Refuse a class name that no table or checkpoint could hold."""
    if not name.isprintable():
        raise DataError(f"{printable(path)}: is no name for a class: it holds characters that cannot be shown")


def _held_out_files(folder: Path, files: Sequence[Path], test: Branch | None) -> list[bool]:
    """Which files of a class are for testing, by their paths in its folder; none where there is a test split."""
    if test:
        return [False] * len(files)
    return held_out([path.relative_to(folder).as_posix().encode(errors="surrogateescape") for path in files])


def held_out(keys: Sequence[bytes]) -> list[bool]:
    """Which samples of a class are for testing: a fifth, at least one of two or more.

    They are those whose keys have the smallest digests: the same on every machine, in whatever order the samples are
    listed, and nearly the same when some are added, which a random number for each position would not be.
    """
    number = max(len(keys) // HELD_OUT, min(1, len(keys) - 1))
    digests = [(hashlib.sha256(key).digest(), i) for i, key in enumerate(keys)]
    chosen = {i for _, i in sorted(digests)[:number]}
    return [i in chosen for i in range(len(keys))]
