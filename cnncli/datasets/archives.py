"""Data sets that come in one .tar.gz: the files that are known, and nothing else, out of it."""

import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from cnncli.datasets.catalogue import File
from cnncli.datasets.files import CHUNK, shown
from cnncli.errors import DataError


def unpack(archive: Path, files: Sequence[File], folder: Path) -> None:
    """Write those `files` of an archive into `folder`, whatever folder they are in there, whole or not at all.

    Raises DataError where the archive is damaged, lacks one, or holds one of another length or checksum; OSError where
    the folder cannot be written.
    """
    expected = {file.name: file for file in files}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                file = expected.get(Path(member.name).name)
                if file and member.isreg():
                    _write(archive, tar.extractfile(member), member.size, expected.pop(file.name), folder)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{shown(archive)}: damaged archive: {' '.join(str(error).split())}") from None
    if expected:
        raise DataError(f"{shown(archive)}: lacks {', '.join(expected)}")


def _write(archive: Path, source, size: int, file: File, folder: Path) -> None:
    if size != file.size:
        raise DataError(f"{shown(archive)}: its {file.name} has {size} bytes, expected {file.size}")
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as written:
        try:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                written.write(chunk)
            if file.sha256 and digest.hexdigest() != file.sha256:
                raise DataError(f"{shown(archive)}: its {file.name} has a wrong checksum")
            written.close()
            os.chmod(written.name, 0o644)  # made as a temporary file, it was for its owner alone
            os.replace(written.name, folder / file.name)
        except BaseException:
            os.unlink(written.name)
            raise
