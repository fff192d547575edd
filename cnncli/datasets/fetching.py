"""Downloads: every file through its checksum, into a temporary name first, from one mirror after the other."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from cnncli.datasets.archives import unpack
from cnncli.datasets.catalogue import Entry, File, entry_of, known
from cnncli.datasets.files import open_regular, reason, shown
from cnncli.datasets.home import data_home
from cnncli.errors import DataError
from cnncli.resources import bundled

RETRIES = 2  # by pooch, after 1 and 2 s, for what may pass: no connection, a lost one, 5xx, wrong bytes
PASSING = (408, 425, 429)  # the 4xx answers that a second attempt may not get
CHUNK = 2**16


class Refused(Exception):
    """A mirror's failure that no second attempt can mend; pooch repeats only ValueError and requests' own."""


def download(
    name: str, data_dir: Path | str | None = None, mirrors: Sequence[str] = (), progress: bool = False
) -> list[Path]:
    """The files of a catalogue's data set, fetched into `data_home(data_dir)/NAME` where they are not there yet.

    `mirrors` are base addresses (http, https) or local folders, tried in order instead of the catalogue's own. A file
    that is there with the right checksum is left alone, one with another is replaced. `progress` draws a bar a file on
    stderr. Raises DataError where the name is unknown, the folder cannot be written, or no mirror gives the right
    bytes: then files that are complete stay, and nothing partial does. Where the files come in an archive, that is
    fetched, checked, unpacked and removed.
    """
    name, entry = known(name), entry_of(name)
    if entry.bundled:
        return [bundled("data") / name / file.name for file in entry.files]
    remaining = list(mirrors) or list(entry.mirrors)
    for mirror in remaining:
        _check_mirror(mirror)
    folder = (data_home(data_dir) / name).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in entry.files if not _is_there(folder, file)]
        if missing and entry.archive:
            _fetch_archive(name, folder, entry, remaining, progress)
        else:
            for file in missing:
                _fetch(name, folder, file, remaining, progress)
    except OSError as error:
        raise DataError(f"{shown(error.filename or folder)}: cannot be written: {reason(error)}") from None
    return [folder / file.name for file in entry.files]


def _check_mirror(mirror: str) -> None:
    try:
        parts = urlsplit(mirror)
        usable = "://" not in mirror or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not mirror or not mirror.isprintable():
        raise DataError(f"{shown(mirror)}: not a mirror: give an http or https address, or a folder")


def _is_there(folder: Path, file: File) -> bool:
    """Whether the file is there with its checksum; OSError where something else than a file has its name."""
    try:
        with open_regular(folder / file.name) as stored:
            if file.checksum is None:
                return os.fstat(stored.fileno()).st_size == file.size
            kind, _, digest = file.checksum.partition(":")
            return hashlib.file_digest(stored, kind).hexdigest() == digest
    except FileNotFoundError:
        return False


def _fetch_archive(name: str, folder: Path, entry: Entry, mirrors: list[str], progress: bool) -> None:
    """Fetch the archive, where it is not there yet, and unpack its files; only one that was there is kept."""
    brought = _is_there(folder, entry.archive)
    if not brought:
        _fetch(name, folder, entry.archive, mirrors, progress)
    unpack(folder / entry.archive.name, entry.files, folder)
    if not brought:
        (folder / entry.archive.name).unlink()


def _fetch(name: str, folder: Path, file: File, mirrors: list[str], progress: bool) -> None:
    """Fetch one file from the first mirror that gives it; those that failed move to the end of `mirrors`."""
    failures = []
    for mirror in list(mirrors):
        failure = _fetch_from(mirror, folder, file, progress)
        if failure is None:
            (folder / file.name).chmod(0o644)  # made as a temporary file, it was for its owner alone
            return
        address = re.sub(r"//[^/]*@", "//", shown(mirror))  # a password is not for logs
        failures.append(f"{address} ({failure})")
        mirrors.append(mirrors.pop(0))
    raise DataError(
        f"{name}: no mirror gave {file.name}: {', '.join(failures)}: name another with --mirror URL_OR_FOLDER"
    )


def _fetch_from(mirror: str, folder: Path, file: File, progress: bool) -> str | None:
    """Fetch one file from one mirror; why that failed, or None. OSError where `folder` cannot be written."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")  # it announces each download on stderr
    checksums = {file.name: file.checksum}
    store = pooch.Pooch(folder, mirror.rstrip("/") + "/", checksums, retry_if_failed=RETRIES)
    get = _from_web(file, progress) if "://" in mirror else _from_folder(Path(mirror), file)
    try:
        store.fetch(file.name, downloader=get)
    except Refused as error:
        return str(error)
    except requests.HTTPError as error:
        return f"HTTP {error.response.status_code}"
    except requests.Timeout:
        return "no answer in time"
    except requests.RequestException as error:
        return _root(error)
    except ValueError:
        return "wrong checksum"
    return None


def _from_web(file: File, progress: bool) -> Callable:
    import pooch
    import requests

    # Without the header a server may send the .gz unpacked, and its length and checksum would be others.
    web = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK, headers={"Accept-Encoding": "identity"})

    def get(url: str, output_file: str, _pooch) -> None:
        try:
            with open(output_file, "wb") as output:
                web(url, Limited(output, file.size), _pooch)
        except requests.HTTPError as error:
            status = error.response.status_code
            if 400 <= status < 500 and status not in PASSING:
                raise Refused(f"HTTP {status}") from None
            raise
        except requests.RequestException:
            raise
        except ValueError:
            raise Refused("not a usable address") from None

    return get


def _from_folder(folder: Path, file: File) -> Callable:
    def get(_url: str, output_file: str, _pooch) -> None:
        try:
            source = open_regular(folder / file.name)
        except OSError as error:
            raise Refused(reason(error)) from None
        with source, open(output_file, "wb") as output:
            shutil.copyfileobj(source, Limited(output, file.size), CHUNK)

    return get


class Limited:
    """A file to write to that refuses more than `size` bytes, so that an endless answer does not fill the disk."""

    def __init__(self, file: BinaryIO, size: int | None):
        self.file, self.size, self.written = file, size, 0

    def write(self, chunk: bytes) -> None:
        self.written += len(chunk)
        if self.size is not None and self.written > self.size:
            raise Refused(f"more than {self.size} bytes")
        self.file.write(chunk)

    def flush(self) -> None:
        self.file.flush()


def _root(error: BaseException) -> str:
    """The system's own words at the root of a connection's failure, such as "Connection refused"."""
    words, seen = "connection failed", 0
    while error is not None and seen < 10:
        words = getattr(error, "strerror", None) or words
        error, seen = error.__cause__ or error.__context__, seen + 1
    return words
