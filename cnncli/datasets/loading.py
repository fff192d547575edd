"""From a name or a path to a data set in memory. Nothing here touches the network."""

import os
from pathlib import Path

from cnncli.datasets import cifar, folders, idx, image_folder, npy_folder, pairs, volume_pairs, wav_folder
from cnncli.datasets.base import Dataset, Input
from cnncli.datasets.catalogue import Entry, entry_of, known
from cnncli.datasets.home import data_home
from cnncli.datasets.npz import load_npz
from cnncli.errors import DataError, printable
from cnncli.resources import bundled

FOLDERS_OF = (image_folder, wav_folder, npy_folder)
FORMATS = {  # each of the first four also in train/ and test/
    "images": "a folder for each class with .jpg, .jpeg or .png files",
    "pairs": "images/ and masks/ with images or .npy files of equal names: a class for each pixel",
    "sound": "a folder for each class with .wav files, or files named CLASS_SPEAKER_INDEX.wav",
    "volumes": "a folder for each class with .npy files, or a CLASS.npy or CLASS.npy.gz for each class, samples first",
    "cifar": "the binary files of CIFAR-10 or CIFAR-100",
    "idx": "the four IDX files that MNIST has, each with or without .gz",
    "npz": "an archive of x_train, y_train, x_test and y_test",
}


def load(
    name_or_path: str | os.PathLike[str], data_dir: Path | str | None = None, network: Input | None = None
) -> Dataset:
    """The data set of that name in the catalogue, else the one at that path (a folder named mnist is `./mnist`).

    A catalogue's data set is looked for in the folder NAME of `data_home(data_dir)` and in that folder itself. A path
    is a `.npz` or a folder of one of the FORMATS; what they hold in detail is said by `load_npz` and by each reader's
    `load_folder`. Files are decoded to what `network` takes; without it, to the size of the first of them.

    Raises DataError, in one line, where it is not there, damaged, or not a data set.
    """
    name = os.fspath(name_or_path)
    try:
        return _load(name, data_dir, network)
    except MemoryError:
        raise DataError(f"{printable(name)}: does not fit into memory") from None


def _load(name: str, data_dir: Path | str | None, network: Input | None) -> Dataset:
    if known(name):
        return _load_named(known(name), data_dir)
    try:
        path = Path(os.path.expanduser(name))
        there = os.path.exists(path)  # pathlib's own raises for a name that is too long
    except ValueError:  # no user, and no file, has a name with such characters
        there = False
    if not there:
        entry_of(name)
    if path.is_dir():
        return _load_folder(path, network)
    if path.suffix.lower() == ".npz":
        return load_npz(path)
    raise DataError(f"{printable(path)}: not a data set: give a .npz or a folder (`cnncli datasets` says of what)")


def locate(name: str, data_dir: Path | str | None = None) -> Path | None:
    """The folder from which `load` reads a data set of the catalogue, None where its files are missing."""
    entry = entry_of(name)
    if entry.bundled:
        return bundled("data") / name
    return next((folder for folder in _places(name, entry, data_dir) if not _missing(entry, folder)), None)


def _places(name: str, entry: Entry, data_dir: Path | str | None) -> list[Path]:
    home = data_home(data_dir)
    places = [home / name, home]
    return [place for folder in places for place in (folder, folder / entry.folder)] if entry.folder else places


def _missing(entry: Entry, folder: Path) -> list[str]:
    """The files that have to be there and are not."""
    return (cifar.find_files(folder, entry.form) if entry.form else idx.find_files(folder))[1]


def _load_named(name: str, data_dir: Path | str | None) -> Dataset:
    entry, folder = entry_of(name), locate(name, data_dir)
    if folder is not None:
        source = "bundled" if entry.bundled else str(folder)
        if entry.form:
            return cifar.load_folder(folder, entry.form, name, source, entry.classes)
        return idx.load_folder(idx.find_files(folder)[0], name, source, entry.classes)
    home = data_home(data_dir)
    shortest = min((_missing(entry, place) for place in _places(name, entry, data_dir)), key=len)
    files = ", ".join(shortest) + ("" if entry.form else " (or .gz)")
    raise DataError(
        f"{name}: {files} not found in {printable(home / name)} nor in {printable(home)}:"
        f" run `cnncli download {name}`, or name the folder that holds the files with --data-dir"
    )


def _load_folder(folder: Path, network: Input | None) -> Dataset:
    name, source, files = folder.resolve().name, str(folder), idx.find_files(folder)
    if files[0]:
        if files[1]:
            raise DataError(f"{printable(folder)}: lacks {', '.join(files[1])} (or .gz)")
        return idx.load_folder(files[0], name, source)
    inner = folders.enter(folder)
    form = cifar.form_of(inner)
    if form:
        return cifar.load_folder(inner, form, name, source)
    paired = pairs.find(inner)
    if paired:
        reader = volume_pairs if pairs.hold(paired[0], npy_folder.SUFFIXES) else pairs
        return reader.load_folder(*paired, name, source, network)
    train, test = (part and folders.branch(part) for part in folders.splits(inner))
    found = [reader for reader in FOLDERS_OF if train.only(reader.SUFFIXES).count]
    if not found:
        raise DataError(f"{printable(folder)}: holds no data set: expected IDX or CIFAR files, or {_expected()}")
    if len(found) > 1:
        both = " and ".join(reader.SUFFIXES[-1] for reader in found)
        raise DataError(f"{printable(folder)}: holds {both} files: a data set is of one kind")
    parts = (part and part.only(found[0].SUFFIXES) for part in (train, test))
    return found[0].load_folder(*parts, name, source, network)


def _expected() -> str:
    suffixes = [suffix for reader in FOLDERS_OF for suffix in reader.SUFFIXES]
    return f"a sub-folder for each class with {', '.join(suffixes[:-1])} or {suffixes[-1]} files"
