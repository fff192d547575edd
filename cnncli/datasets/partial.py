"""Where files grow until they are whole: a folder that one process at a time works in, and the next one goes on in."""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cnncli import locks

NAME = ".partial"


@contextmanager
def workplace(folder: Path, kept: Collection[str]) -> Iterator[Path]:
    """The folder `.partial` in `folder`, for this process alone: it waits until no other is there.

    Files of the names `kept` that an earlier process left are there to be continued, anything else is removed; at the
    end so is the folder, if it is empty. Where the system cannot lock it is a temporary folder instead, and nothing is
    continued. Raises OSError where `folder` cannot be written.
    """
    handle = os.open(folder, os.O_RDONLY) if locks.KNOWN else None
    try:
        if handle is None or not locks.lock(handle, wait=True):
            with tempfile.TemporaryDirectory(dir=folder, prefix=NAME) as place:
                yield Path(place)
            return
        place = folder / NAME
        _tidy(place, kept)
        try:
            yield place
        finally:
            with suppress(OSError):  # what is in it will be continued
                place.rmdir()
    finally:
        if handle is not None:
            os.close(handle)  # which gives the lock back, as the end of the process does


def _tidy(place: Path, kept: Collection[str]) -> None:
    if place.is_symlink():
        place.unlink()
    place.mkdir(exist_ok=True)
    for path in place.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in kept or path.is_symlink() or not path.is_file():
            path.unlink()
