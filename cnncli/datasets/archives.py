"""Data sets that come in one .tar.gz: the files that are known, and nothing else, out of it."""

import gzip
import hashlib
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from cnncli.datasets.catalogue import File
from cnncli.datasets.files import CHUNK, open_regular
from cnncli.errors import DataError, printable, told

BESIDE = 2**20  # bytes that may be in an archive besides its files
MOST_ENDS = 8  # reads behind the end: to pass over a file of 2^40 bytes that are not there, tarfile makes 10^8 of them


def unpack(archive: Path, files: Sequence[File], folder: Path, place: Path) -> None:
    """Write those `files` of an archive into `folder`, whatever folder they are in there, whole or not at all.

    Nothing is extracted by a name of the archive's: only regular members of the expected names and sizes are read, the
    first of each. They grow in `place`, a folder on the same disk. Raises DataError where the archive is damaged, lacks
    one, or holds one of another length or checksum; OSError where a file cannot be written.
    """
    expected = {file.name: file for file in files}
    most = sum(file.size for file in files) + BESIDE
    try:
        with (
            open_regular(archive) as stored,
            gzip.GzipFile(fileobj=stored) as unpacked,
            # as a stream: it never goes back, so that no header can send it in a circle
            tarfile.open(fileobj=_Capped(archive, unpacked, most), mode="r|") as tar,
        ):
            for member in tar:
                file = expected.get(Path(member.name).name)
                if file and member.isreg():
                    _write(archive, tar.extractfile(member), member.size, expected.pop(file.name), folder, place)
    except Exception as error:  # on damaged headers tarfile raises some ten kinds
        if isinstance(error, (DataError, OSError)) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise DataError(f"{printable(archive)}: damaged archive: {told(error)}") from None
    if expected:
        raise DataError(f"{printable(archive)}: lacks {', '.join(expected)}")


class _Capped:
    """A stream to read from, of which no more than `most` bytes are believed."""

    def __init__(self, archive: Path, stream: BinaryIO, most: int):
        self.archive, self.stream, self.left, self.ends = archive, stream, most, 0

    def read(self, count: int) -> bytes:
        data = self.stream.read(count)
        self.ends += not data
        if self.ends > MOST_ENDS:
            raise EOFError("it ends within a file")
        self.left -= len(data)
        if self.left < 0:
            raise DataError(
                f"{printable(self.archive)}: unpacks to more than its files have: damaged, or made to fill the disk"
            )
        return data


def _write(archive: Path, source: BinaryIO, size: int, file: File, folder: Path, place: Path) -> None:
    if size != file.size:
        raise DataError(f"{printable(archive)}: its {file.name} has {size} bytes, expected {file.size}")
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=place, delete=False) as written:
        try:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                written.write(chunk)
            if written.tell() != size or (file.sha256 and digest.hexdigest() != file.sha256):
                raise DataError(f"{printable(archive)}: its {file.name} has a wrong checksum")
            written.flush()
            os.fsync(written.fileno())
            os.chmod(written.name, 0o644)  # made as a temporary file, it was for its owner alone
            os.replace(written.name, folder / file.name)
        except BaseException:
            os.unlink(written.name)
            raise
