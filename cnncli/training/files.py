"""Files that outlast a crash: written beside their place, flushed and renamed; or added to, and flushed."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

CHUNK = 2**20  # bytes that are copied at a time
NOT_A_FILE = errno.ELOOP, errno.EISDIR, errno.ENXIO  # what opening a link, a folder and a FIFO without readers gives
FOREIGN = "is a link, or not a file: move it away"
UNSUPPORTED = errno.EINVAL, errno.ENOTSUP  # not every file system flushes folders


def write_atomically(path: Path, pieces: Iterable[bytes]) -> None:
    """Put the `pieces`, one after another, at `path`.

    A reader sees the old file or the new one; a crash leaves at most a .tmp beside it. Raises OSError, whose file name
    is `path`, where the disk does not take it: then the old file stays.
    """
    with naming(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            try:
                os.chmod(temporary, 0o644)
                for piece in pieces:
                    _write(handle, piece)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        flush_folder(path.parent)


def same_file(path: Path, name: Path) -> None:
    """Let `name`, in the same folder, be what `path` is: a second link to it, or where there are none a copy.

    Raises FileNotFoundError where there is no `path`, else OSError as `write_atomically` does.
    """
    temporary = name.with_name(f".{name.name}.link.tmp")
    with naming(name):
        temporary.unlink(missing_ok=True)
        try:
            os.link(path, temporary)
        except FileNotFoundError:
            raise
        except OSError:  # not every file system has links
            with open(path, "rb") as file:
                _copy(file, name)
            return
        try:
            os.replace(temporary, name)
        finally:
            temporary.unlink(missing_ok=True)  # still there where both were the same file already
        flush_folder(path.parent)


def open_own(path: Path, flags: int) -> int:
    """Open a file of a run's folder, made where there is none; returns the descriptor.

    Raises OSError, whose file name is `path`, for a symbolic link, through which a file elsewhere would be written, and
    for what is no file: a FIFO would block for ever.
    """
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags | os.O_CREAT | careful, 0o644)
    except OSError as error:
        if error.errno in NOT_A_FILE:
            raise OSError(errno.EINVAL, FOREIGN, str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, FOREIGN, str(path))
    return handle


def _open_alone(path: Path) -> int:
    """Open a file of a run's folder for writing. Other names of it, as a backup by links has, keep what is in it."""
    handle = open_own(path, os.O_RDWR)
    if os.fstat(handle).st_nlink > 1:
        with os.fdopen(handle, "rb") as file:
            _copy(file, path)
        handle = open_own(path, os.O_RDWR)
    return handle


def _copy(file: BinaryIO, path: Path) -> None:
    write_atomically(path, iter(partial(file.read, CHUNK), b""))


def put(path: Path, offset: int, data: bytes) -> int:
    """Write `data` at an offset, flushed to the disk; what was behind it is dropped, such as half a line.

    Where somebody has shortened the file, its end is taken for the offset. Returns where the data end. Raises OSError,
    whose file name is `path`: then the file ends at the offset, as far as the disk lets it.
    """
    with naming(path):
        handle = _open_alone(path)
        try:
            offset = min(offset, os.fstat(handle).st_size)
            os.ftruncate(handle, offset)
            os.lseek(handle, offset, os.SEEK_SET)
            _write(handle, data)
            os.fsync(handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, offset)
            raise
        finally:
            os.close(handle)
        if not offset:
            flush_folder(path.parent)
        return offset + len(data)


def make_folder(path: Path) -> None:
    """Make a folder and those that it is in, and flush them to the disk. Raises FileExistsError where it is there."""
    if not path.parent.exists():
        with contextlib.suppress(FileExistsError):  # somebody else made it just now
            make_folder(path.parent)
    with naming(path):
        path.mkdir()
        try:
            flush_folder(path.parent)
        except OSError:
            path.rmdir()
            raise


def clear_leftovers(folder: Path, names: tuple[str, ...]) -> None:
    """Remove what a crash left in a folder of writing files of such names, which may be patterns."""
    for leftover in leftovers(folder, names):
        leftover.unlink(missing_ok=True)


def leftovers(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """What a crash left in a folder of writing files of such names, which may be patterns."""
    return [path for name in names for path in folder.glob(f".{name}.*.tmp") if path.is_symlink() or path.is_file()]


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk: a new or renamed file is safe only then."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # files can be made in a folder that cannot be listed
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def _write(handle: int, data: bytes | memoryview) -> None:
    """All of it: a system call may write less, as where the disk is nearly full."""
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


@contextlib.contextmanager
def naming(path: Path):
    """Errors name the file that was asked for, not the temporary one or none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
