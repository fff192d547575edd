"""Hostile data sets: each is a file or folder for `cnncli datasets`, and what its one line must say."""

import gzip
import io
import os
import struct
import zipfile
import zlib

import numpy as np
from hostile import DATA, OK, Case, bytes_of
from PIL import Image

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
KEYS = ("x_train", "y_train", "x_test", "y_test")
HUGE = 2**29  # what bombs unpack to


def data(name, make, *says, code=DATA):
    return Case(f"data: {name}", lambda folder: [*(make(folder) or ["datasets", "data"])], code, says)


def files(contents):
    """A function that writes files below data/; None for one that is left out, a function for one that it makes."""

    def make(folder):
        for name, content in contents.items():
            path = folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            content(path) if callable(content) else path.write_bytes(content)

    return make


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
    packer, part = zlib.compressobj(9, wbits=31), bytes(2**24)
    return packer.compress(head) + b"".join(packer.compress(part) for _ in range(count // 2**24)) + packer.flush()


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


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def saved(picture, form="PNG", **options):
    written = io.BytesIO()
    picture.save(written, form, **options)
    return written.getvalue()


SMALL = saved(Image.new("RGB", (4, 4), (200, 10, 10)))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, rows, *extra, depth=8, colour=2, interlaced=0):
    start = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    )
    return start + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def plain(width, height, channels=3):
    packer, row = zlib.compressobj(9), bytes(1 + width * channels)
    return b"".join(packer.compress(row) for _ in range(height)) + packer.flush()


def many_scans(count=20_000, side=4000):
    """A progressive JPEG that goes over its picture again and again, a few bytes a time."""
    picture = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    scans = [i for i in range(len(picture) - 1) if picture[i : i + 2] == b"\xff\xda"]
    again = picture[scans[-1] : -2]
    return picture[:-2] + again * count + picture[-2:]


def pets(content, name="cat/0.png"):
    good = {f"{kind}/{i}.png": SMALL for kind in ("cat", "dog") for i in range(3)}
    return files(good | {name: content})


def made(content):
    """What makes a file whose bytes are only made when they are wanted."""
    return lambda path: path.write_bytes(content())


def linked(target):
    """What makes a link in place of a file."""
    return lambda path: os.symlink(target, path)


def hollow(size):
    """What makes a file of so many bytes that are nowhere on the disk."""

    def make(path):
        path.touch()
        os.truncate(path, size)

    return make


FIFO, FOLDER = os.mkfifo, os.mkdir


def wav(frames=b"\0" * 64, channels=1, rate=8000, bits=16, kind=1, length=None, extra=b""):
    frame = channels * bits // 8
    start = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate, rate * frame % 2**32, frame % 2**16, bits)
    body = start + extra + struct.pack("<4sI", b"data", len(frames) if length is None else length) + frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def sounds(content, name="yes/0.wav"):
    good = {f"{kind}/{i}.wav": wav() for kind in ("yes", "no") for i in range(3)}
    return files(good | {name: content})


def volumes(content, name="a/0.npy"):
    cube = npy(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    return files({f"{kind}/{i}.npy": cube for kind in "ab" for i in range(3)} | {name: content})


def cifar(**changed):
    record = bytes(3073)
    return files(
        {"data_batch_1.bin": record * 2, "test_batch.bin": record}
        | {name.replace("__", "."): content for name, content in changed.items()}
    )


def nested(folder, depth=200):
    path = folder / "data"
    for _ in range(depth):
        path = path / "d"
    path.mkdir(parents=True)
    (path / "a.png").write_bytes(SMALL)


CASES = [
    data("an IDX file that declares 2^96 bytes", idx(images=header(2**32 - 1, 2**32 - 1, 2**32 - 1)), IDX[0]),
    data("a packed IDX file that declares 2^96 bytes", idx(images=gzip.compress(header(2**32 - 1, 2**32 - 1, 2**32 - 1))), IDX[0]),
    data("an IDX bomb that says so", idx(images=zeros(HUGE, header(HUGE // 4, 2, 2))), IDX[0], "declares"),
    data("an IDX bomb that hides it", idx(images=zeros(HUGE, header(10, 2, 2))), IDX[0], "too long"),
    data("an IDX bomb below any limit", idx(images=zeros(255 * 2**20, header(255 * 2**18, 2, 2))), IDX[0]),
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
    data("CIFAR of a class too many", cifar(data_batch_1__bin=b"\x0a" + bytes(3072)), "data_batch_1.bin", "outside 0 .. 9"),
    data("CIFAR of 3 TB that is not there", cifar(data_batch_1__bin=hollow(3073 * 2**30)), "data", "GiB"),
    data("CIFAR that is a link to /dev/zero", cifar(data_batch_1__bin=linked("/dev/zero")), "not a regular file"),
    data("CIFAR that is a FIFO", cifar(test_batch__bin=FIFO), "test_batch.bin", "not a regular file"),
    data("names of classes without end", cifar(batches__meta__txt=linked("/dev/zero")), "batches.meta.txt", "not a regular"),
    data("names of classes that are no text", cifar(batches__meta__txt=b"\xff" * 1000), "batches.meta.txt", "not text"),
    data("names of classes with escape sequences", cifar(batches__meta__txt=b"".join(b"\x1b[3%dm\n" % i for i in range(10))), "batches.meta.txt"),
    data("an npz bomb", archive(bomb), "data.npz", "declares"),
    data("an npz bomb below any limit", archive(lambda: npz({"x_train": shaped((255 * 2**18, 2, 2), rest=bytes(255 * 2**20))})), "data.npz"),
    data("an npz of objects", archive(lambda: npz({"x_train": np.array([Evil()], object)})), "data.npz", "x_train"),
    data("an npz of labels that are objects", archive(lambda: npz({"y_test": np.array([Evil()] * 10, object)})), "y_test"),
    data("an npz of a pickle", archive(lambda: npz({"x_train": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x05owned\x85R."})), "x_train"),
    data("a pickle for an npz", archive(b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x05owned\x85R."), "data.npz", "not a .npz"),
    data("an npz of a negative shape", archive(lambda: npz({"x_train": shaped((-1, 2, 2))})), "data.npz", "x_train"),
    data("an npz of a shape of 2^63", archive(lambda: npz({"x_train": shaped((2**63, 2, 2))})), "data.npz", "x_train"),
    data("an npz of a shape of 2^200", archive(lambda: npz({"x_train": shaped((2**200,))})), "data.npz", "x_train"),
    data("an npz whose size overflows", archive(lambda: npz({"x_train": shaped((2**32, 2**32, 2**32))})), "data.npz", "x_train"),
    data("an npz of 16 GiB that are not there", archive(lambda: npz({"x_train": shaped((2**32, 2, 2))})), "data.npz", "x_train"),
    data("an npz of a shape of words", archive(lambda: npz({"x_train": shaped("('a',)")})), "data.npz", "x_train"),
    data("an npz of code for a shape", archive(lambda: npz({"x_train": shaped("(__import__('os').mkdir('owned'),)")})), "data.npz", "x_train"),
    data("an npz of records", archive(lambda: npz({"x_train": shaped((1,), "[('a', '<f4', (1000000,))]")})), "data.npz", "x_train"),
    data("an npz of words", archive(lambda: npz({"x_train": np.array(["a" * 1000])})), "data.npz", "x_train"),
    data("an npz of NaN", archive(lambda: npz({"x_train": np.full((10, 2, 2), np.nan)})), "data.npz", "not finite"),
    data("an npz of numbers too large", archive(lambda: npz({"x_train": np.full((10, 2, 2), 1e300)})), "not finite"),
    data("an npz of a label of 2^63", archive(lambda: npz({"y_train": np.full(10, 2**63, np.uint64)})), "y_train"),
    data("an npz of a label of a billion", archive(lambda: npz({"y_train": np.full(10, 10**9)})), "y_train"),
    data("an npz of a negative label", archive(lambda: npz({"y_train": np.full(10, -1)})), "y_train"),
    data("an npz packed by LZMA", archive(lambda: npz(method=zipfile.ZIP_LZMA)), "data.npz", "neither stored"),
    data("an npz packed by bzip2", archive(lambda: npz(method=zipfile.ZIP_BZIP2)), "data.npz", "neither stored"),
    data("an npz with a header of 1 MB", archive(lambda: npz({"x_train": npy_header("{" + " " * 2**20 + "}", 2)})), "x_train"),
    data("an npz with a header of brackets", archive(lambda: npz({"x_train": npy_header("(" * 9000)})), "x_train"),
    data("an npz of 60,000 members", archive(lambda: many_members()), code=OK),
    data("an npz that leads outside", archive(lambda: npz({"../../x_train": b"x"})), code=OK),
    data("an npz that is a FIFO", lambda f: os.mkfifo(f / "data.npz") or ["datasets", "data.npz"], "not a regular file"),
    data("an npz that is a link to /dev/zero", lambda f: os.symlink("/dev/zero", f / "data.npz") or ["datasets", "data.npz"], "not a regular file"),
    data("a picture of 2^31 pixels a side", pets(png(2**31 - 1, 2**31 - 1, plain(1, 1))), "0.png"),
    data("a picture of 9,000 pixels a side", pets(made(lambda: png(9000, 9000, plain(9000, 9000)))), "0.png"),
    data("a grey picture of 9,000 pixels a side", pets(made(lambda: png(9000, 9000, plain(9000, 9000, 1), colour=0))), "0.png"),
    data("a picture whose rows end early", pets(made(lambda: png(4000, 4000, plain(4000, 10)))), code=OK),
    data("a picture that goes on", pets(made(lambda: png(4, 4, plain(9000, 9000)))), code=OK),
    data("a picture of no pixels", pets(png(0, 0, plain(1, 1))), "0.png"),
    data("a picture with a text bomb", pets(png(4, 4, plain(4, 4), *[chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(2**20 - 1))) for i in range(200)])), "0.png"),
    data("a picture with a profile bomb", pets(made(lambda: png(4, 4, plain(4, 4), chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**28)))))), "0.png"),
    data("a picture of 20,000 scans", pets(made(many_scans), "cat/0.jpg"), "0.jpg"),
    data("small pictures blown up by the first", files({f"{split}/{kind}/{i}.png": SMALL for split in ("train", "test") for kind in ("cat", "dog") for i in range(1, 9)} | {"train/cat/0.png": made(lambda: png(4000, 4000, plain(4000, 4000)))}), "data", "size of the first"),
    data("a GIF for a PNG", pets(saved(Image.new("L", (4, 4)), "GIF")), "0.png", "not a JPEG or PNG"),
    data("PostScript for a PNG", pets(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n(owned) (w) file\n"), "0.png", "not a JPEG"),
    data("a picture that is a FIFO", pets(FIFO), "0.png", "not a regular file") ,
    data("a picture that is a link to /dev/zero", pets(linked("/dev/zero")), "0.png", "not a regular file"),
    data("a picture that is a link to itself", pets(linked("0.png")), "0.png"),
    data("a picture of a name with a newline", pets(b"x", "cat/\n0.png"), "\\n0.png"),
    data("a class of a name with an escape sequence", pets(SMALL, "\x1b[31m/0.png"), "\\x1b[31m", "no name for a class"),
    data("a class of a name that runs backwards", pets(SMALL, "\u202egnp/0.png"), "no name for a class"),
    data("a class that is a link to its parent", pets(linked(".."), "cat/up"), code=OK),
    data("a class that is a link to the root", pets(linked("/"), "cat/root"), code=OK),
    data("200 folders in each other", nested, "data"),
    data("a WAV file that declares 4 GB", sounds(wav(length=2**32 - 2)), "0.wav", "truncated"),
    data("a WAV file of 65,535 channels", sounds(wav(bytes(4 * 65535), channels=65535, bits=32, kind=3)), "0.wav"),
    data("sounds blown up by the first", files({f"{split}/{kind}/{i}.wav": wav(bytes(40_000)) for split in ("train", "test") for kind in ("no", "yes") for i in range(1, 9)} | {"train/no/0.wav": wav(bytes(40_000), channels=4000)}), "data", "length of the longest"),
    data("a WAV file of a million empty chunks", sounds(lambda p: p.write_bytes(wav(extra=struct.pack("<4sI", b"junk", 0) * 10**6))), "0.wav"),
    data("a WAV file of infinities", sounds(wav(np.full(16, np.inf, "<f4").tobytes(), bits=32, kind=3)), "0.wav", "not finite"),
    data("a WAV file of no frames", sounds(wav(b"")), "0.wav"),
    data("a WAV file of a format of 4 GB", sounds(wav()[:16] + b"\xff\xff\xff\xff" + wav()[20:]), "0.wav"),
    data("a WAV file that is a FIFO", sounds(FIFO), "0.wav", "not a regular file"),
    data("a WAV file of an index of 200 digits", files({f"a_b_{'9' * 200}.wav": wav(), "a_b_1.wav": wav(), "a_b_7.wav": wav()}), code=OK),
    data("an npy file of objects", volumes(npy(np.array([Evil()], object))), "0.npy"),
    data("an npy file of 2^63 numbers", volumes(shaped((2**63, 1, 1))), "0.npy"),
    data("an npy file of a negative shape", volumes(shaped((-2, 2, -2))), "0.npy"),
    data("an npy file of code", volumes(shaped("(__import__('os').mkdir('owned'),)")), "0.npy"),
    data("an npy file of a version to come", volumes(b"\x93NUMPY\x09\0" + bytes(100)), "0.npy", "version"),
    data("an npy bomb", files({f"{c}.npy.gz": zeros(HUGE, shaped((HUGE // 8, 2, 2, 2))) for c in "ab"}), "a.npy.gz", "declares"),
    data("an npy bomb that hides it", files({f"{c}.npy.gz": zeros(HUGE, shaped((4, 2, 2, 2))) for c in "ab"}), "a.npy.gz", "too long"),
    data("an npy bomb below any limit", files({f"{c}.npy.gz": zeros(240 * 2**20, shaped((240 * 2**17, 2, 2, 2))) for c in "ab"}), "a.npy.gz"),
    data("npy files that differ", volumes(npy(np.zeros((3, 3, 3), np.uint8))), "npy"),
    data("nothing", lambda folder: (folder / "data").mkdir(), "data", "no data set"),
    data("a folder of a name with a newline", lambda folder: (folder / "da\nta").mkdir() or ["datasets", "da\nta"], "da\\nta"),
    data("a name with a NUL in a home", lambda folder: ["datasets", "~nobody-is-called-so/x"], "nobody"),
    data("a home that is no text", lambda folder: ["datasets", os.fsdecode(b"~\xff/x")]),
    data("a good folder of a name that is no text", lambda folder: odd_folder(folder), code=OK),
    data("a home of data that is /dev/zero", lambda folder: ["datasets", "mnist", "--data-dir", "/dev/zero"], "mnist"),
    data("a FIFO for a data set", lambda folder: os.mkfifo(folder / "data"), "data"),
    data("/dev/zero for a data set", lambda folder: ["datasets", "/dev/zero"], "/dev/zero"),
    data("two thousand dots", lambda folder: ["datasets", "../" * 2000], "../"),
]  # fmt: skip


def odd_folder(folder):
    files({f"{kind}/{i}.png": SMALL for kind in ("cat", "dog") for i in range(3)})(folder)
    os.rename(folder / "data", os.path.join(os.fsencode(folder), b"\xff\n"))
    return ["datasets", os.fsdecode(b"\xff\n")]


def many_members():
    packed = io.BytesIO(npz())
    with zipfile.ZipFile(packed, "a") as archive:
        for i in range(60_000):
            archive.writestr(f"m{i}", b"")
    return packed.getvalue()
