"""From a name or a path to a data set in memory. Nothing here touches the network."""

import os
from pathlib import Path

from cnncli.datasets import idx
from cnncli.datasets.base import Dataset
from cnncli.datasets.catalogue import DATASETS, Entry, entry_of
from cnncli.datasets.files import shown
from cnncli.datasets.home import data_home
from cnncli.datasets.npz import load_npz
from cnncli.errors import DataError
from cnncli.resources import bundled


def load(name_or_path: str | os.PathLike[str], data_dir: Path | str | None = None) -> Dataset:
    """The data set of that name in the catalogue, else the one at that path (a folder named mnist is `./mnist`).

    A catalogue's data set is looked for in the folder NAME of `data_home(data_dir)` and in that folder itself. A path
    is a folder of the four IDX files that MNIST has, each with or without .gz, or a `.npz` (see `load_npz`).

    Raises DataError, in one line, where it is not there, damaged, or not a data set.
    """
    name = os.fspath(name_or_path)
    try:
        return _load(name, data_dir)
    except MemoryError:
        raise DataError(f"{shown(name)}: does not fit into memory") from None


def _load(name: str, data_dir: Path | str | None) -> Dataset:
    if name in DATASETS:
        return _load_named(name, DATASETS[name], data_dir)
    path = Path(os.path.expanduser(name))
    if not os.path.exists(path):  # pathlib's own raises for a name that is too long
        entry_of(name)
    if path.is_dir():
        return _load_folder(path)
    if path.suffix.lower() == ".npz":
        return load_npz(path)
    raise DataError(f"{shown(path)}: not a data set: give a .npz or a folder of IDX files")


def locate(name: str, data_dir: Path | str | None = None) -> Path | None:
    """The folder from which `load` reads a data set of the catalogue, None where its files are missing."""
    if DATASETS[name].bundled:
        return bundled("data") / name
    home = data_home(data_dir)
    return next((folder for folder in (home / name, home) if not idx.find_files(folder)[1]), None)


def _load_named(name: str, entry: Entry, data_dir: Path | str | None) -> Dataset:
    folder = locate(name, data_dir)
    if folder is not None:
        source = "bundled" if entry.bundled else str(folder)
        return idx.load_folder(idx.find_files(folder)[0], name, source, entry.classes)
    home = data_home(data_dir)
    shortest = min((idx.find_files(folder)[1] for folder in (home / name, home)), key=len)
    raise DataError(
        f"{name}: {', '.join(shortest)} (or .gz) not found in {shown(home / name)} nor in {shown(home)}:"
        f" run `cnncli download {name}`, or name the folder that holds the files with --data-dir"
    )


def _load_folder(folder: Path) -> Dataset:
    files, missing = idx.find_files(folder)
    if not files:
        raise DataError(f"{shown(folder)}: holds no data set: expected the IDX files {', '.join(idx.FILES)} (or .gz)")
    if missing:
        raise DataError(f"{shown(folder)}: lacks {', '.join(missing)} (or .gz)")
    return idx.load_folder(files, folder.resolve().name, str(folder))
