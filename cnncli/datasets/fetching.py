"""Downloads: every file through its checksum, beside its place first, from one mirror after the other."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cnncli.datasets import web
from cnncli.datasets.archives import unpack
from cnncli.datasets.catalogue import Entry, File, entry_of, known
from cnncli.datasets.files import open_regular, reason
from cnncli.datasets.home import data_home
from cnncli.datasets.partial import workplace
from cnncli.datasets.web import Bar, Refused, TooSlow, no_bar
from cnncli.errors import DataError, printable
from cnncli.resources import bundled

RETRIES = 2  # by pooch, after 1 and 2 s, for what may pass: no connection, a lost one, 5xx, wrong bytes


def download(
    name: str, data_dir: Path | str | None = None, mirrors: Sequence[str] = (), bar: Bar | None = None
) -> list[Path]:
    """The files of a catalogue's data set, fetched into `data_home(data_dir)/NAME` where they are not there yet.

    `mirrors` are base addresses (http, https) or local folders, tried in order instead of the catalogue's own. A file
    that is there with the right checksum is left alone, one with another is replaced. Where the files come in an
    archive, that is fetched, checked, unpacked and removed. `bar` draws each file's progress.

    Raises DataError where the name is unknown, the folder cannot be written, or no mirror gives the right bytes: then
    files that are complete stay. What came of the next one stays in the folder's `.partial`, and is continued by the
    next download, as it is after an interruption or a crash. Processes that fetch the same do so one after the other.
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
        if _missing(folder, entry):
            _fetch_missing(name, folder, entry, remaining, bar or no_bar)
    except OSError as error:
        raise DataError(f"{printable(error.filename or folder)}: cannot be written: {reason(error)}") from None
    return [folder / file.name for file in entry.files]


def _missing(folder: Path, entry: Entry) -> list[File]:
    return [file for file in entry.files if not _is_there(folder / file.name, file)]


def _check_mirror(mirror: str) -> None:
    try:
        parts = urlsplit(mirror)
        usable = "://" not in mirror or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not mirror or not mirror.isprintable():
        raise DataError(f"{printable(mirror)}: not a mirror: give an http or https address, or a folder")


def _is_there(path: Path, file: File) -> bool:
    """Whether the file is at `path` with its checksum; OSError where something else than a file has its name."""
    try:
        with open_regular(path) as stored:
            if file.checksum is None:
                return os.fstat(stored.fileno()).st_size == file.size
            kind, _, digest = file.checksum.partition(":")
            return hashlib.file_digest(stored, kind).hexdigest() == digest
    except FileNotFoundError:
        return False


def _fetch_missing(name: str, folder: Path, entry: Entry, mirrors: list[str], bar: Bar) -> None:
    sources = [entry.archive] if entry.archive else entry.files
    with workplace(folder, [*(file.name for file in sources), *map(_part, sources)]) as place:
        missing = _missing(folder, entry)  # another process may have been here while this one waited
        if missing and entry.archive:
            _fetch_archive(name, folder, place, entry, mirrors, bar)
        else:
            for file in missing:
                os.replace(_fetch(name, place, file, mirrors, bar), folder / file.name)


def _fetch_archive(name: str, folder: Path, place: Path, entry: Entry, mirrors: list[str], bar: Bar) -> None:
    """Unpack the archive's files, after it was fetched; one that a user put into the folder is used, and kept."""
    brought = folder / entry.archive.name
    if _is_there(brought, entry.archive):
        unpack(brought, entry.files, folder, place)
    else:
        fetched = _fetch(name, place, entry.archive, mirrors, bar)
        unpack(fetched, entry.files, folder, place)
        fetched.unlink()


def _part(file: File) -> str:
    """The name of a file while it is not whole."""
    return f"{file.name}.part"


def _fetch(name: str, place: Path, file: File, mirrors: list[str], bar: Bar) -> Path:
    """Fetch one file from the first mirror that gives it; those that failed move to the end of `mirrors`."""
    failures = []
    for mirror in list(mirrors):
        failure = _fetch_from(mirror, place, file, bar)
        if failure is None:
            (place / file.name).chmod(0o644)  # a temporary file is for its owner alone
            return place / file.name
        address = re.sub(r"//[^/]*@", "//", printable(mirror))  # a password is not for logs
        failures.append(f"{address} ({failure})")
        mirrors.append(mirrors.pop(0))
    raise DataError(
        f"{name}: no mirror gave {file.name}: {', '.join(failures)}: name another with --mirror URL_OR_FOLDER"
    )


def _fetch_from(mirror: str, place: Path, file: File, bar: Bar) -> str | None:
    """Fetch one file from one mirror; why that failed, or None. OSError where `place` cannot be written."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")  # it announces each download on stderr
    checksums = {file.name: file.checksum}
    store = pooch.Pooch(place, mirror.rstrip("/") + "/", checksums, retry_if_failed=RETRIES)
    get = _from_web(place / _part(file), file, bar) if "://" in mirror else _from_folder(Path(mirror), file)
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
    except TooSlow:
        return "too slow"
    except ValueError:
        return "wrong checksum"
    return None


def _from_web(part: Path, file: File, bar: Bar) -> Callable:
    def get(url: str, output_file: str, _pooch) -> None:
        web.fetch(url, part, file.size, bar)
        os.replace(part, output_file)  # what pooch finds to have a wrong checksum, it removes

    return get


def _from_folder(folder: Path, file: File) -> Callable:
    def get(_url: str, output_file: str, _pooch) -> None:
        try:
            source = open_regular(folder / file.name)
        except OSError as error:
            raise Refused(reason(error)) from None
        with source, open(output_file, "wb") as output:
            stored = os.fstat(source.fileno()).st_size
            if stored != file.size:
                raise Refused(f"has {stored} bytes, expected {file.size}")
            shutil.copyfileobj(source, output, web.CHUNK)

    return get


def _root(error: BaseException) -> str:
    """The system's own words at the root of a connection's failure, such as "Connection refused"."""
    words, seen = "connection failed", 0
    while error is not None and seen < 10:
        words = getattr(error, "strerror", None) or words
        error, seen = error.__cause__ or error.__context__, seen + 1
    return words
