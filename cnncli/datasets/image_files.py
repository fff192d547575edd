"""What image files are made of, looked at before Pillow does, which goes over some parts in Python.

There are bytes in files that it reads one by one, and parts that it copies once for every part behind them: a few
megabytes of these keep it busy for as long as gigabytes of pictures.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO

from cnncli.errors import DataError, printable

MOST_SCANS = 30  # over a progressive JPEG; encoders make about 10, and each takes as long as a picture does
MOST_HEAD = 2**26  # the bytes of a file in which they are counted
MOST_SEGMENTS = 4000  # before the first scan of a JPEG; depth maps of telephones take some hundreds
MOST_PARSED = 64  # of them that Pillow goes through or joins: EXIF and Photoshop's data, tables, sizes. Most have 5
MOST_LOOSE = 2**16  # bytes between segments, or of the header of a PPM
EXIF, PHOTOSHOP, TABLE, SIZES, SCAN, END = 0xE1, 0xED, 0xDB, range(0xC0, 0xD0), 0xDA, 0xD9
NOT_FILL = re.compile(rb"[^\xff]")
BEHIND_NUMBERS = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # a scan goes on behind a zero and a restart
MOST_CHUNKS, CHUNK = 1000, 1024  # of a PNG, besides one for so many bytes; libpng writes 8 KiB in each
SLOW = {  # what Pillow decodes in Python, and up to how many bytes and pixels of it take less than half a second
    "ppm": ("numbers that are neither of 8 nor of 16 bits", 2**20),
    "ppm_plain": ("numbers in words", 2**22),
    "bmp_rle": ("run-length encoded pixels", 2**22),
}
MOST_COMMENTS = 1000  # in such a file; all that follows is copied for each


def refuse_busy(path: Path, file: BinaryIO) -> int:
    """Raise DataError for a JPEG, PNG or PPM file whose parts would keep Pillow busy.

    Returns how many of a JPEG's planes its first scan has, 0 for others; leaves the file at its start.
    """
    file.seek(0)
    magic, planes = file.read(8), 0
    if magic.startswith(b"\xff\xd8\xff"):
        file.seek(0)
        planes = _jpeg(path, file.read(MOST_HEAD))
    elif magic.startswith(b"\x89PNG"):
        _png(path, file)
    elif magic[:1] == b"P":
        _ppm(path, magic + file.read(MOST_LOOSE))
    file.seek(0)
    return planes


def refuse_slow(path: Path, file: BinaryIO, image) -> None:
    """Raise DataError for an opened PPM or BMP image that Pillow decodes in Python, unless it is small."""
    coder = image.tile[0][0] if image.tile else ""
    if coder not in SLOW:
        return
    what, most = SLOW[coder]
    place = file.tell()
    file.seek(0)
    content = file.read(most + 1)
    file.seek(place)
    if max(len(content), image.width * image.height) > most:
        raise DataError(f"{printable(path)}: holds {what}, of which only {most} are read: convert it to PNG")
    if coder == "ppm_plain" and content.count(b"#") > MOST_COMMENTS:
        raise _busy(path, f"holds more than {MOST_COMMENTS} comments")


def _busy(path: Path, what: str) -> DataError:
    return DataError(f"{printable(path)}: {what}: made to keep the processor busy (save it again if it is right)")


def _jpeg(path: Path, content: bytes) -> int:
    from PIL.JpegImagePlugin import MARKER

    place, planes, scans, segments, parsed, loose = 2, 0, 0, 0, 0, 0
    while (start := content.find(b"\xff", place)) >= 0 and (found := NOT_FILL.search(content, start)):
        marker, behind = content[found.start()], found.end()
        loose += found.start() - place - 1
        place = behind
        if MARKER.get(0xFF00 | marker, (0, 0, None))[2]:  # otherwise Pillow goes on behind it, as if it had no content
            segments += 1
            exif = marker == EXIF and content[behind + 2 : behind + 6] == b"Exif"
            parsed += exif or marker in (PHOTOSHOP, TABLE, *SIZES)
            place += max(2, int.from_bytes(content[behind : behind + 2]))
        else:
            loose += 2
        if not scans and (segments > MOST_SEGMENTS or parsed > MOST_PARSED or loose > MOST_LOOSE):
            what = f"{segments} segments, {parsed} of metadata and tables, and {loose} bytes between them"
            raise _busy(path, f"{what} are at its start")
        if marker == SCAN:
            scans += 1
            planes = planes or int.from_bytes(content[behind + 2 : behind + 3])
            if scans > MOST_SCANS:
                raise _busy(path, f"goes over its picture {scans} times")
            numbers = BEHIND_NUMBERS.search(content, place)
            place = numbers.start() if numbers else len(content)
        elif marker == END:
            return planes
    if len(content) == MOST_HEAD and not scans:
        raise _busy(path, f"no picture is in its first {MOST_HEAD} bytes")
    return planes


def _png(path: Path, file: BinaryIO) -> None:
    chunks, place = 0, 8
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        chunks, place = chunks + 1, place + 12 + length
        if chunks > MOST_CHUNKS + place // CHUNK:
            raise _busy(path, f"{chunks} chunks are in its first {place} bytes")
        if kind == b"IEND":
            break
        file.seek(place)


def _ppm(path: Path, head: bytes) -> None:
    """A header is the kind, width, height and, but for bits, the highest number, between spaces and comments."""
    words = 3 if head[1:2] in (b"1", b"4") else 4
    if len(head) > MOST_LOOSE and len(re.sub(rb"#[^\r\n]*", b"", head).split(None, words)) < words:
        raise _busy(path, f"a header does not end in its first {MOST_LOOSE} bytes")
