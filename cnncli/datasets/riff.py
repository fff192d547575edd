"""WAV: a RIFF file of chunks, of which `fmt ` says how the numbers in `data` are to be read.

Described in "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991) and, for
WAVE_FORMAT_EXTENSIBLE, in Microsoft's "Multiple Channel Audio Data and WAVE Files" (2001). Python's own `wave` reads no
floats.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from cnncli.datasets.files import fill, open_regular, reason
from cnncli.errors import DataError, printable

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # how an extensible format's identifier ends
READ = {(PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 24): "u1", (PCM, 32): "<i4", (FLOAT, 32): "<f4", (FLOAT, 64): "<f8"}
MOST_CHUNKS = 1000  # a file of empty chunks would otherwise keep the reader busy


class Format(NamedTuple):
    """How a file's numbers are written: PCM or FLOAT, channels, frames a second, bits a number."""

    kind: int
    channels: int
    rate: int
    bits: int

    @property
    def frame(self) -> int:
        """Bytes of one number of every channel."""
        return self.channels * self.bits // 8


def read_format(path: Path) -> tuple[Format, int]:
    """How a WAV file's numbers are written, and the number of its frames. Raises DataError as `read_wav` does."""
    wave, frames, _ = _opened(path, 0)
    return wave, frames


def read_wav(path: Path, most: int) -> tuple[Format, np.ndarray]:
    """The first frames of a WAV file, at most so many, as (frames, channels) float32; integers become -1 .. 1.

    Raises DataError, beginning with the path, where the file cannot be read, is not WAV, is written in another way than
    PCM of 8, 16, 24, 32 bits or floats of 32, 64, is shorter than its header says, has no frame, or where a float is
    not finite. Memory is taken for frames that are there and asked for, and for no others.
    """
    wave, _, stored = _opened(path, most)
    if wave.bits == 24:  # into the upper bytes of 32 bits, which keeps the sign
        wide = np.zeros((len(stored) // 3, 4), np.uint8)
        wide[:, 1:] = stored.reshape(-1, 3)
        numbers = wide.reshape(-1).view("<i4")
    else:
        numbers = stored.view(READ[wave.kind, wave.bits])
    numbers = numbers.reshape(-1, wave.channels)
    if wave.kind == FLOAT:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite
            numbers = numbers.astype(np.float32)
        if not np.isfinite(numbers).all():
            raise DataError(f"{printable(path)}: holds a number that is not finite as float32")
        return wave, numbers
    if wave.bits == 8:  # alone without a sign
        return wave, (numbers.astype(np.float32) - 128) / 128
    return wave, numbers.astype(np.float32) / np.float32(2 ** (31 if wave.bits == 24 else wave.bits - 1))


def _opened(path: Path, most: int) -> tuple[Format, int, np.ndarray]:
    """The format, the number of frames, and the bytes (uint8) of the first `most` of them."""
    try:
        with open_regular(path) as file:
            wave, start, frames = _header(path, file, os.fstat(file.fileno()).st_size)
            stored = np.empty(min(frames, most) * wave.frame, np.uint8)
            file.seek(start)
            if fill(file, stored) < len(stored):
                raise DataError(f"{printable(path)}: truncated while it was read")
            return wave, frames, stored
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from None


def _header(path: Path, file: BinaryIO, size: int) -> tuple[Format, int, int]:
    """The format, where the numbers start, and the number of frames. The file's own length counts, not RIFF's."""
    start = file.read(12)
    if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise DataError(f"{printable(path)}: not a WAV file: it starts with {start[:4].hex(' ') or 'nothing'}")
    wave = None
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        here = file.tell()
        if length > size - here:
            chunk = ascii(name.decode("latin-1"))
            raise DataError(
                f"{printable(path)}: truncated: its chunk {chunk} declares {length} bytes, {size - here} follow"
            )
        if name == b"fmt " and wave is None:
            wave = _format(path, file.read(min(length, 40)))
        if name == b"data":
            if wave is None:
                raise DataError(f"{printable(path)}: damaged: no format stands before its numbers")
            if length == 0 or length % wave.frame:
                raise DataError(f"{printable(path)}: {length} bytes of numbers are no frames of {wave.frame} bytes")
            return wave, here, length // wave.frame
        file.seek(here + length + length % 2)
    raise DataError(f"{printable(path)}: truncated or damaged: holds no chunk 'data'")


def _format(path: Path, chunk: bytes) -> Format:
    if len(chunk) < 16:
        raise DataError(f"{printable(path)}: damaged: its format has {len(chunk)} bytes of at least 16")
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == EXTENSIBLE and len(chunk) == 40 and chunk[26:] == SUBFORMAT:
        kind = struct.unpack_from("<H", chunk, 24)[0]
    wave = Format(kind, channels, rate, bits)
    if (kind, bits) not in READ:
        read = "PCM of 8, 16, 24, 32 bits and floats of 32, 64"
        raise DataError(f"{printable(path)}: is written in format {kind} with {bits} bits, only {read} are read")
    if not channels or not rate or frame != wave.frame:
        declares = f"{channels} channels, {rate} frames a second, {frame} bytes a frame"
        raise DataError(f"{printable(path)}: damaged: declares {declares}")
    return wave
