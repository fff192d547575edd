"""Every parser of what users give, with small valid files to begin from: what all fuzzers here share.

A parser takes bytes, and either returns or raises the one error that its command ends with; anything else is a defect.
"""

import atexit
import gzip
import io
import os
import re
import shutil
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "robustness"))

from signing import signed

from cnncli import network, spec
from cnncli.datasets import cifar, idx, images, npy_folder, npz, pairs, riff
from cnncli.errors import CheckpointError, CnncliError, DataError, SpecificationError
from cnncli.training import checkpoint

MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True)
class Parser:
    """`parse` reads bytes. `repair` makes the checksums of damaged bytes right, so that more of them is read."""

    parse: Callable[[bytes], object]
    error: type[CnncliError]
    seeds: Callable[[], list[bytes]]
    tokens: tuple[bytes, ...] = ()
    repair: Callable[[bytes], bytes] | None = None

    def outcome(self, content: bytes) -> str:
        """ "parsed" or "refused". Lets through what is neither."""
        try:
            self.parse(content)
        except self.error as error:
            line = str(error)
            if "\n" in line or not line:
                raise AssertionError(f"not one line: {line!r}") from error
            return "refused"
        return "parsed"


@cache
def folder() -> Path:
    """A folder in memory for files that are read by their paths. It goes when this process ends."""
    made = tempfile.mkdtemp(dir=MEMORY, prefix="cnncli-fuzz-")
    atexit.register(shutil.rmtree, made)
    return Path(made)


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def parse(content: bytes):
        path = folder() / name
        path.write_bytes(content)
        return read(path)

    return parse


SPECIFICATION = b"""\
name: net
input: {channels: 2, size: [6, 6]}
blocks: {unit: {parameters: {filters: null}, layers: [conv: {filters: $filters, kernel: 3, padding: same}, relu]}}
layers:
  - unit: 4
  - conv: {filters: 4, kernel: 3, padding: [[1, 2], 0], groups: 2, init: {values: [[1, 0, 1], [0, 1, 0], [1, 0, 1]]}}
  - residual: {main: [unit: 4], shortcut: []}
  - max_pool: {size: 2, name: pool}
  - flatten
  - dense: 10
loss: {softmax_cross_entropy: {class_weights: [1, 2, 1, 1, 1, 1, 1, 1, 1, 1]}}
data: {normalize: mean_std, augment: [flip, shift: 2]}
train: {epochs: 4, optimizer: {sgd: {lr: 0.1, momentum: 0.9}}, schedule: {one_cycle: 0.3}, save_every: 5min}
"""
SMALL = b"input: {channels: 1, size: [2, 2]}\nlayers: [flatten, dense: 2]\n"
WORDS = rb"""{ } [ ] : , - # & * ! | > ' " % @ ` ~ ? << --- ... &a *a !!python/object 1e999 .nan .inf 0x 0o null true
-1 0 1e-3 9223372036854775808 99999999999999999999 65536 65537 $filters $x layers train conv dense relu branches repeat
recurrent residual merge upsample pad crop local_conv tiled_conv transposed_conv depthwise_conv batch_norm group_norm
lrn dropout unpool from name init times paths steps kernel filters size stride dilation padding same full""".split()
KEYS = b"train.epochs=3 layers[1].dense.units=9 train.optimizer.adam.betas=[0.9,0.99] data.augment=[] name=x".split()


def specification(content: bytes):
    network.nodes(spec.parse(content.decode("utf-8-sig", "surrogateescape"), "net.yaml"))


def override(content: bytes):
    spec.parse(SMALL.decode(), "net.yaml", [content.decode(errors="surrogateescape")])


def file_of_specification(path: Path):
    return spec.read(str(path))


def encode(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


IMAGES = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
LABELS = np.arange(10, dtype=np.uint8) % 3


def cifar_file(path: Path):
    (folder() / "test_batch.bin").write_bytes(bytes(3073))
    (folder() / "batches.meta.txt").unlink(missing_ok=True)
    return cifar.load_folder(folder(), "cifar-10", "x", "x")


def cifar_names(path: Path):
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder() / name).write_bytes(bytes(3073))
    return cifar.load_folder(folder(), "cifar-10", "x", "x")


def npy(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def zipped(members: dict[str, bytes], method=zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content, method)
    return packed.getvalue()


def archives() -> list[bytes]:
    good = {"x_train": npy(IMAGES), "y_train": npy(LABELS), "x_test": npy(IMAGES[:2]), "y_test": npy(LABELS[:2])}
    floats = good | {"x_train": npy(IMAGES / 3), "x_test": npy(IMAGES[:2] / 3)}
    pixels = good | {"y_train": npy(IMAGES % 3), "y_test": npy(IMAGES[:2] % 3)}
    return [zipped(good), zipped(floats), zipped(pixels), zipped(good, zipfile.ZIP_DEFLATED)]


def one_member(content: bytes):
    """An archive with these bytes for x_train: what a checksum keeps from the reader of arrays."""
    members = {"x_train": content, "y_train": npy(LABELS), "x_test": npy(IMAGES[:2]), "y_test": npy(LABELS[:2])}
    return from_file("member.npz", npz.load_npz)(zipped(members))


def stack(path: Path):
    return npy_folder.read_array(path, 3, None, stacked=True)


def arrays() -> list[bytes]:
    cube = np.arange(16).reshape(2, 2, 2, 2)
    kinds = (np.uint8, np.int64, np.float32, bool, ">f8")
    return [*(npy(cube.astype(kind)) for kind in kinds), npy(np.asfortranarray(cube.astype(np.float32)))]


def pictures(modes: dict[str, tuple[str, ...]]) -> Callable[[], list[bytes]]:
    """Files of 4x6 pixels of each format and mode."""

    def made() -> list[bytes]:
        found, colour = [], Image.fromarray(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))
        for form, mode in ((form, mode) for form, of in modes.items() for mode in of):
            written = io.BytesIO()
            colour.convert(mode).save(written, form, **({"progressive": True} if mode == "RGB" else {}))
            found.append(written.getvalue())
        return found

    return made


PNG, JPEG, MASK = (
    {"PNG": ("1", "L", "P", "LA", "RGB", "RGBA")},
    {"JPEG": ("L", "RGB", "CMYK")},
    {"PNG": ("1", "L", "P")},
)
OTHERS = {"BMP": ("P", "RGB"), "GIF": ("P",), "PPM": ("L", "RGB"), "WEBP": ("RGB", "RGBA")}


def picture(path: Path):
    return images.read_picture(path, (3, 4), 3)


def mask(path: Path):
    with images.quiet(), images.opened(path) as image:
        return pairs._classes_of(path, image, (3, 4))


CHUNK = struct.Struct(">I4s")


def png_checksums(content: bytes) -> bytes:
    """The same with the checksums of its chunks made right."""
    repaired, place = bytearray(content), 8
    while place + 12 <= len(repaired):
        length, _ = CHUNK.unpack_from(repaired, place)
        end = place + 8 + length
        if end + 4 > len(repaired):
            break
        repaired[end : end + 4] = struct.pack(">I", zlib.crc32(repaired[place + 4 : end]))
        place = end + 4
    return bytes(repaired)


def sounds() -> list[bytes]:
    def wav(kind, bits, channels):
        frames, frame = bytes(range(48)), channels * bits // 8
        start = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, 8000, 8000 * frame, frame, bits)
        body = start + struct.pack("<4sI2s", b"LIST", 2, b"ab") + struct.pack("<4sI", b"data", 48) + frames
        return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body

    return [wav(1, 8, 1), wav(1, 16, 2), wav(1, 24, 1), wav(1, 32, 1), wav(3, 32, 2), wav(3, 64, 1)]


def checkpoints() -> list[bytes]:
    from hostile_checkpoints import good, packed

    return [packed(good()[0].encode(), good()[1])]


def length_and_digest(content: bytes) -> bytes:
    """The same with the length of its header and its digest made right, where their places can be found."""
    end = content.rfind(b"}}") + 2
    end += len(content[end:]) - len(content[end:].lstrip(b" "))  # a header is filled up to whole words
    content = struct.pack("<Q", max(0, end - 8)) + content[8:]
    return signed(re.sub(rb'(?<=sha256\\": \\")[0-9a-f]{64}', checkpoint.UNSIGNED.encode(), content))


PARSERS = {
    "specification": Parser(specification, SpecificationError, lambda: [SPECIFICATION, SMALL], tuple(WORDS)),
    "specification file": Parser(
        from_file("net.yaml", file_of_specification), SpecificationError, lambda: [SMALL], tuple(WORDS)
    ),
    "override": Parser(override, SpecificationError, lambda: KEYS, tuple(WORDS)),
    "idx": Parser(from_file("x", lambda path: idx.read_idx(path, 3)), DataError, lambda: [encode(IMAGES)]),
    "idx.gz": Parser(
        from_file("x.gz", lambda path: idx.read_idx(path, 3)),
        DataError,
        lambda: [gzip.compress(encode(IMAGES), mtime=0)],
    ),
    "cifar": Parser(from_file("data_batch_1.bin", cifar_file), DataError, lambda: [bytes(3073) * 2]),
    "cifar names": Parser(
        from_file("batches.meta.txt", cifar_names), DataError, lambda: [b"\n".join(b"name%d" % i for i in range(10))]
    ),
    "npz": Parser(from_file("x.npz", npz.load_npz), DataError, archives),
    "npz member": Parser(one_member, DataError, lambda: [npy(IMAGES), npy(np.asfortranarray(IMAGES))]),
    "npy": Parser(from_file("x.npy", stack), DataError, arrays),
    "npy.gz": Parser(
        from_file("y.npy.gz", stack), DataError, lambda: [gzip.compress(array, mtime=0) for array in arrays()]
    ),
    "png": Parser(from_file("x.png", picture), DataError, pictures(PNG), repair=png_checksums),
    "mask": Parser(from_file("m.png", mask), DataError, pictures(MASK), repair=png_checksums),
    "jpeg": Parser(from_file("x.jpg", picture), DataError, pictures(JPEG)),
    "other pictures": Parser(from_file("x.img", picture), DataError, pictures(OTHERS)),
    "wav": Parser(from_file("x.wav", lambda path: riff.read_wav(path, 20)), DataError, sounds),
    "checkpoint": Parser(
        from_file("x.safetensors", checkpoint.read),
        CheckpointError,
        checkpoints,
        tuple(
            re.findall(rb"\S+", b'{ } [ ] : , " \\" NaN 1e999 -1 18446744073709551616 F32 F64 null shape data_offsets')
        ),
        length_and_digest,
    ),
}
