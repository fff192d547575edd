"""Hostile IDX, CIFAR, npz and npy files for `cnncli datasets`, and what its one line must say."""

import gzip
import io
import math
import os
import struct
import zipfile
import zlib

import numpy as np
from hostile import FIFO, FOLDER, OK, bytes_of, data, files, hollow, linked

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

KEYS = ("x_train", "y_train", "x_test", "y_test")

HUGE = 2**29  # what bombs unpack to
BELOW = 90 * 2**20  # what no limit refuses


def encode(array, kind=0x08):
    return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def idx(**changed):
    """The four files of a small data set, some of them changed."""
    images, labels = np.arange(40, dtype=np.uint8).reshape(10, 2, 2), np.arange(10, dtype=np.uint8) % 3
    good = dict(zip(IDX, map(encode, (images, labels, images, labels)), strict=True))
    names = {"images": IDX[0], "labels": IDX[1]}
    for part, content in changed.items():
        suffix = ".gz" * (isinstance(content, bytes) and content[:2] == b"\x1f\x8b")
        del good[names[part]]
        good[names[part] + suffix] = content
    return files(good)


def zeros(count, head=b""):
    """A gzip stream of `head` and so many zeros, made without holding them."""
    packer, part, rest = zlib.compressobj(9, wbits=31), bytes(2**20), bytes(count % 2**20)
    parts = [head, *[part] * (count // 2**20), rest]
    return b"".join(map(packer.compress, parts)) + packer.flush()


def header(*extents, kind=0x08):
    return bytes([0, 0, kind, len(extents)]) + struct.pack(f">{len(extents)}I", *extents)


def npz(changed=None, method=zipfile.ZIP_DEFLATED):
    """An archive of a small data set; `changed` members are bytes or arrays."""
    x, y = np.arange(40, dtype=np.uint8).reshape(10, 2, 2), np.arange(10) % 3
    members = dict(zip(KEYS, (x, y, x, y), strict=True)) | (changed or {})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content if isinstance(content, bytes) else npy(content))
    return packed.getvalue()


def npy(array):
    written = io.BytesIO()
    np.save(written, array, allow_pickle=True)
    return written.getvalue()


def npy_header(text, version=1):
    text = text.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def shaped(shape, descr="'|u1'", rest=b""):
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}") + rest


def packed_idx(count, *sample, labels=None):
    """Four packed files: so many images of zeros, and so many labels or as many."""
    extents = ((count, *sample), (count if labels is None else labels,)) * 2
    contents = [zeros(math.prod(extent), header(*extent)) for extent in extents]
    return files({f"{name}.gz": content for name, content in zip(IDX, contents, strict=True)})


def archive(content, name="data.npz"):
    def make(folder):
        bytes_of(folder, name, content() if callable(content) else content)
        return ["datasets", name]

    return make


def bomb(declared=None):
    """An archive whose x_train unpacks to HUGE bytes; `declared` is what it says in place of that."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        with made.open("x_train.npy", "w", force_zip64=True) as member:
            member.write(shaped((HUGE // 4, 2, 2)))
            for _ in range(HUGE // 2**24):
                member.write(bytes(2**24))
        for key in KEYS[1:]:
            made.writestr(f"{key}.npy", npy(np.zeros(2, np.uint8)))
    return packed.getvalue()


def hollow_npz(shape, descr="'|u1'", itemsize=1, labels=1):
    """An archive of zeros: x_train of that shape and type, and so many labels in y_train."""
    packed, one = io.BytesIO(), (1, *shape[1:])
    arrays = ((shape, descr, itemsize), ((labels,), "'|u1'", 1), (one, descr, itemsize), ((1,), "'|u1'", 1))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for key, (extents, kind, size) in zip(KEYS, arrays, strict=True):
            left = math.prod(extents) * size
            with made.open(f"{key}.npy", "w", force_zip64=True) as member:
                member.write(shaped(extents, kind))
                for first in range(0, left, 2**20):
                    member.write(bytes(min(2**20, left - first)))
    return packed.getvalue()


def many_members():
    packed = io.BytesIO(npz())
    with zipfile.ZipFile(packed, "a") as archive:
        for i in range(60_000):
            archive.writestr(f"m{i}", b"")
    return packed.getvalue()


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def packed_volumes(names, size, descr="'|u1'", itemsize=1):
    """Files of zeros of so many bytes each, in grids of 16x16x16."""
    content = zeros(size, shaped((size // itemsize // 4096, 16, 16, 16), descr))
    return files({f"{name}.npy.gz": content for name in names})


def volumes(content, name="a/0.npy"):
    cube = npy(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    return files({f"{kind}/{i}.npy": cube for kind in "ab" for i in range(3)} | {name: content})


def cifar(**changed):
    record = bytes(3073)
    return files(
        {"data_batch_1.bin": record * 2, "test_batch.bin": record}
        | {name.replace("__", "."): content for name, content in changed.items()}
    )


EMPTY = gzip.compress(b"", mtime=0)
PACKED = gzip.compress(header(10, 2, 2) + bytes(40), mtime=0)

CASES = [
    data("an IDX file that declares 2^96 bytes", idx(images=header(2**32 - 1, 2**32 - 1, 2**32 - 1)), IDX[0]),
    data(
        "a packed IDX file that declares 2^96 bytes",
        idx(images=gzip.compress(header(2**32 - 1, 2**32 - 1, 2**32 - 1))),
        IDX[0],
    ),
    data("an IDX bomb that says so", idx(images=zeros(HUGE, header(HUGE // 4, 2, 2))), IDX[0], "declares"),
    data("an IDX bomb that hides it", idx(images=zeros(HUGE, header(10, 2, 2))), IDX[0], "too long"),
    data(
        "an IDX bomb below any limit",
        lambda folder: idx(images=zeros(BELOW, header(BELOW // 4, 2, 2)))(folder),
        IDX[1],
        "10 labels for",
    ),
    data("an IDX data set below any limit", lambda folder: packed_idx(BELOW // 128**2 // 2, 128, 128)(folder), code=OK),
    data("IDX labels that become larger", lambda folder: idx(labels=zeros(BELOW, header(BELOW)))(folder), IDX[1]),
    data("IDX images and labels that become larger", lambda folder: packed_idx(BELOW, 1, 1)(folder), IDX[1]),
    data("IDX files that are a bomb together", lambda folder: packed_idx(BELOW // 4, 2, 2)(folder), "other files"),
    data(
        "a million gzip members of nothing",
        lambda folder: idx(images=PACKED + EMPTY * 10**6)(folder),
        IDX[0],
        "members",
    ),
    data(
        "gzip members of nothing between halves of an array",
        lambda folder: idx(images=gzip.compress(header(10, 2, 2)) + EMPTY * 10**6 + gzip.compress(bytes(40)))(folder),
        IDX[0],
        "members",
    ),
    data("a gzip file with padding of 50 MB", lambda folder: idx(images=PACKED + bytes(50_000_000))(folder), code=OK),
    data(
        "a gzip file of a name of 20 MB",
        lambda folder: idx(images=b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 20_000_000)(folder),
        IDX[0],
    ),
    data("IDX labels that are a bomb", idx(labels=zeros(HUGE, header(10))), IDX[1], "too long"),
    data("an IDX file of other numbers", idx(images=header(1, 1, 1, kind=0x0E) + bytes(8)), IDX[0], "float64"),
    data("an IDX file of 255 axes", idx(images=b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0"), IDX[0], "255 axes"),
    data("an IDX file without samples", idx(images=header(0, 2, 2)), IDX[0], "no sample"),
    data("an IDX file of empty samples", idx(images=header(10, 0, 2)), IDX[0], "empty"),
    data("4 billion empty samples", idx(images=header(2**32 - 1, 0, 2)), IDX[0], "empty"),
    data("labels of another count", idx(labels=encode(np.zeros(9, np.uint8))), IDX[1], "9 labels"),
    data("an IDX file that is a link to /dev/zero", idx(images=linked("/dev/zero")), IDX[0], "not a regular file"),
    data("an IDX file that is a link to itself", idx(images=linked(IDX[0])), IDX[0]),
    data("an IDX file that is a FIFO", idx(images=FIFO), IDX[0], "not a regular file"),
    data("an IDX file that is a folder", idx(images=FOLDER), IDX[0], "not a regular file"),
    data("gzip in gzip", idx(images=gzip.compress(gzip.compress(header(10, 2, 2) + bytes(40)))), IDX[0], "not an IDX"),
    data("10,000 gzip members of nothing", idx(images=gzip.compress(b"") * 10_000), IDX[0]),
    data("CIFAR of half a record", cifar(data_batch_1__bin=bytes(3073 + 7)), "data_batch_1.bin", "3073"),
    data("CIFAR of nothing", cifar(data_batch_1__bin=b""), "data_batch_1.bin"),
    data(
        "CIFAR of a class too many",
        cifar(data_batch_1__bin=b"\x0a" + bytes(3072)),
        "data_batch_1.bin",
        "outside 0 .. 9",
    ),
    data("CIFAR of 3 TB that is not there", cifar(data_batch_1__bin=hollow(3073 * 2**30)), "data", "TiB of memory"),
    data("CIFAR that is a link to /dev/zero", cifar(data_batch_1__bin=linked("/dev/zero")), "not a regular file"),
    data("CIFAR that is a FIFO", cifar(test_batch__bin=FIFO), "test_batch.bin", "not a regular file"),
    data(
        "names of classes without end",
        cifar(batches__meta__txt=linked("/dev/zero")),
        "batches.meta.txt",
        "not a regular",
    ),
    data("names of classes that are no text", cifar(batches__meta__txt=b"\xff" * 1000), "batches.meta.txt", "not text"),
    data(
        "names of classes with escape sequences",
        cifar(batches__meta__txt=b"".join(b"\x1b[3%dm\n" % i for i in range(10))),
        "batches.meta.txt",
    ),
    data("an npz bomb", archive(bomb), "data.npz", "declares"),
    data(
        "an npz bomb below any limit",
        archive(lambda: hollow_npz((BELOW // 1024, 32, 32))),
        "data.npz",
        "1 labels for",
    ),
    data(
        "an npz of doubles below any limit",
        archive(lambda: hollow_npz((BELOW // 4096, 32, 32), "'<f8'", 8)),
        "data.npz",
        "1 labels for",
    ),
    data(
        "an npz of many labels below any limit",
        archive(lambda: hollow_npz((BELOW // 12, 1), labels=BELOW // 12)),
        code=OK,
    ),
    data(
        "an npz of labels that become larger",
        archive(lambda: hollow_npz((BELOW // 2, 1), labels=BELOW // 2)),
        "declares",
    ),
    data(
        "an npz of short floats that become longer",
        archive(lambda: hollow_npz((BELOW // 8, 4), "'<f2'", 2)),
        "declares",
    ),
    data("an npz of objects", archive(lambda: npz({"x_train": np.array([Evil()], object)})), "data.npz", "x_train"),
    data(
        "an npz of labels that are objects", archive(lambda: npz({"y_test": np.array([Evil()] * 10, object)})), "y_test"
    ),
    data(
        "an npz of a pickle",
        archive(lambda: npz({"x_train": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x05owned\x85R."})),
        "x_train",
    ),
    data(
        "a pickle for an npz",
        archive(b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x05owned\x85R."),
        "data.npz",
        "not a .npz",
    ),
    data("an npz of a negative shape", archive(lambda: npz({"x_train": shaped((-1, 2, 2))})), "data.npz", "x_train"),
    data("an npz of a shape of 2^63", archive(lambda: npz({"x_train": shaped((2**63, 2, 2))})), "data.npz", "x_train"),
    data("an npz of a shape of 2^200", archive(lambda: npz({"x_train": shaped((2**200,))})), "data.npz", "x_train"),
    data(
        "an npz whose size overflows",
        archive(lambda: npz({"x_train": shaped((2**32, 2**32, 2**32))})),
        "data.npz",
        "x_train",
    ),
    data(
        "an npz of 16 GiB that are not there",
        archive(lambda: npz({"x_train": shaped((2**32, 2, 2))})),
        "data.npz",
        "x_train",
    ),
    data("an npz of a shape of words", archive(lambda: npz({"x_train": shaped("('a',)")})), "data.npz", "x_train"),
    data(
        "an npz of code for a shape",
        archive(lambda: npz({"x_train": shaped("(__import__('os').mkdir('owned'),)")})),
        "data.npz",
        "x_train",
    ),
    data(
        "an npz of records",
        archive(lambda: npz({"x_train": shaped((1,), "[('a', '<f4', (1000000,))]")})),
        "data.npz",
        "x_train",
    ),
    data("an npz of words", archive(lambda: npz({"x_train": np.array(["a" * 1000])})), "data.npz", "x_train"),
    data("an npz of NaN", archive(lambda: npz({"x_train": np.full((10, 2, 2), np.nan)})), "data.npz", "not finite"),
    data("an npz of numbers too large", archive(lambda: npz({"x_train": np.full((10, 2, 2), 1e300)})), "not finite"),
    data("an npz of a label of 2^63", archive(lambda: npz({"y_train": np.full(10, 2**63, np.uint64)})), "y_train"),
    data("an npz of a label of a billion", archive(lambda: npz({"y_train": np.full(10, 10**9)})), "y_train"),
    data("an npz of a negative label", archive(lambda: npz({"y_train": np.full(10, -1)})), "y_train"),
    data("an npz packed by LZMA", archive(lambda: npz(method=zipfile.ZIP_LZMA)), "data.npz", "neither stored"),
    data("an npz packed by bzip2", archive(lambda: npz(method=zipfile.ZIP_BZIP2)), "data.npz", "neither stored"),
    data(
        "an npz with a header of 1 MB",
        archive(lambda: npz({"x_train": npy_header("{" + " " * 2**20 + "}", 2)})),
        "x_train",
    ),
    data("an npz with a header of brackets", archive(lambda: npz({"x_train": npy_header("(" * 9000)})), "x_train"),
    data("an npz of 60,000 members", archive(lambda: many_members()), code=OK),
    data("an npz that leads outside", archive(lambda: npz({"../../x_train": b"x"})), code=OK),
    data(
        "an npz that is a FIFO", lambda f: os.mkfifo(f / "data.npz") or ["datasets", "data.npz"], "not a regular file"
    ),
    data(
        "an npz that is a link to /dev/zero",
        lambda f: os.symlink("/dev/zero", f / "data.npz") or ["datasets", "data.npz"],
        "not a regular file",
    ),
    data("an npy file of objects", volumes(npy(np.array([Evil()], object))), "0.npy"),
    data("an npy file of 2^63 numbers", volumes(shaped((2**63, 1, 1))), "0.npy"),
    data("an npy file of a negative shape", volumes(shaped((-2, 2, -2))), "0.npy"),
    data("an npy file of code", volumes(shaped("(__import__('os').mkdir('owned'),)")), "0.npy"),
    data("an npy file of a version to come", volumes(b"\x93NUMPY\x09\0" + bytes(100)), "0.npy", "version"),
    data(
        "an npy bomb",
        files({f"{c}.npy.gz": zeros(HUGE, shaped((HUGE // 8, 2, 2, 2))) for c in "ab"}),
        "a.npy.gz",
        "declares",
    ),
    data(
        "an npy bomb that hides it",
        files({f"{c}.npy.gz": zeros(HUGE, shaped((4, 2, 2, 2))) for c in "ab"}),
        "a.npy.gz",
        "too long",
    ),
    data(
        "an npy bomb below any limit",
        lambda folder: packed_volumes(["a"], BELOW)(folder),
        "to test on",
    ),
    data(
        "npy files below any limit together",
        lambda folder: packed_volumes([f"{split}/{c}" for split in ("train", "test") for c in "ab"], BELOW // 4)(
            folder
        ),
        code=OK,
    ),
    data(
        "npy files of doubles below any limit together",
        lambda folder: packed_volumes(["train/a", "test/a"], BELOW, "'<f8'", 8)(folder),
        code=OK,
    ),
    data(
        "npy files that are a bomb together",
        lambda folder: packed_volumes([f"{split}/{c}" for split in ("train", "test") for c in "abcd"], BELOW)(folder),
        "a.npy.gz",
        "other files",
    ),
    data(
        "npy samples that are a bomb together",
        lambda folder: packed_volumes([f"{c}/{i}" for c in "ab" for i in range(6)], BELOW)(folder),
        "0.npy.gz",
        "other files",
    ),
    data("npy files that differ", volumes(npy(np.zeros((3, 3, 3), np.uint8))), "npy"),
]
