"""gzip files that nobody vouches for, unpacked piece by piece.

Described in RFC 1952. Python's own `gzip` goes over names, padding and members without content byte by byte: a megabyte
of them takes it as long as a hundred megabytes of data.
"""

import zlib
from pathlib import Path
from typing import BinaryIO

from cnncli.datasets.files import CHUNK
from cnncli.errors import DataError, printable

MAGIC = b"\x1f\x8b"
PART = 2**14  # bytes that are read at a time; what is left of them is copied at the end of each member
MOST_EMPTY = 1000  # members; further ones have to hold MEMBER bytes each, bgzip's have 64 KiB
MEMBER = 1024


class Gunzip:
    """The content of all members of an open gzip file, in order, to be read once.

    Reading raises DataError, naming `path`, where a member is damaged or has no end, and where there are too many.
    """

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file = path, file
        self.member, self.members, self.given = None, 0, 0
        self.packed = b""  # read and not yet unpacked

    def read(self, count: int) -> bytes:
        """So many bytes, fewer at the end."""
        parts = []
        while data := self._some(count):
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def _some(self, count: int) -> bytes:
        """At least one byte and at most `count`, none at the end."""
        while count and (self.member or self._next()):
            self.packed = self.packed or self.file.read(PART)
            ends = not self.packed
            try:
                data = self.member.decompress(self.packed, min(count, CHUNK))
            except zlib.error as error:
                raise self._damaged(error) from None
            self.packed = self.member.unconsumed_tail
            if self.member.eof:
                self.packed, self.member = self.member.unused_data, None
            self.given += len(data)
            if data:
                return data
            if ends and self.member:
                raise DataError(f"{printable(self.path)}: truncated: its gzip stream has no end")
        return b""

    def readinto(self, view: memoryview) -> int:
        data = self._some(len(view))
        view[: len(data)] = data
        return len(data)

    def _damaged(self, why: object) -> DataError:
        return DataError(f"{printable(self.path)}: damaged gzip stream: {why}")

    def _next(self) -> bool:
        """Go on to the next member, if there is one. Zeros behind a member are padding."""
        if self.members:
            self.packed = self.packed.lstrip(b"\0")
            while not self.packed and (part := self.file.read(PART)):
                self.packed = part.lstrip(b"\0")
        if len(self.packed) < len(MAGIC):
            self.packed += self.file.read(PART)
        if not self.packed:
            return False
        if not self.packed.startswith(MAGIC):
            raise self._damaged(f"Not a gzipped file ({self.packed[: len(MAGIC)]!r})")
        self.members += 1
        if self.members > MOST_EMPTY + self.given // MEMBER:
            raise DataError(
                f"{printable(self.path)}: {self.members} gzip members hold {self.given} bytes: made to keep the"
                " processor busy (pack it again if it is right)"
            )
        self.member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        return True
