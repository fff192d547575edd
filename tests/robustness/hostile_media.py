"""Hostile pictures, sounds and folders for `cnncli datasets`, and what its one line must say."""

import io
import os
import struct
import zlib

import numpy as np
from hostile import DATA, FIFO, OK, Case, bytes_of, data, files, linked, made
from hostile_checkpoints import good, packed
from PIL import Image


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


def flat(width, height, depth=8, colour=2, extra=()):
    """A PNG of zeros, of any kind."""
    bits = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth
    return png(width, height, plain(1 + width * bits // 8, height, 1), *extra, depth=depth, colour=colour)


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


def wav(frames=b"\0" * 64, channels=1, rate=8000, bits=16, kind=1, length=None, extra=b""):
    frame = channels * bits // 8
    start = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate, rate * frame % 2**32, frame % 2**16, bits)
    body = start + extra + struct.pack("<4sI", b"data", len(frames) if length is None else length) + frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def among(content, suffix="png", count=4):
    """Several of a picture among good ones, in the training split, none of them the first."""

    def make(folder):
        splits = [f"{split}/{kind}" for split in ("train", "test") for kind in ("cat", "dog")]
        good = {f"{of}/{i}.png": SMALL for of in splits for i in range(2)}
        files(good | dict.fromkeys([f"train/dog/{i}.{suffix}" for i in range(2, 2 + count)], content()))(folder)

    return make


def jpeg(mode, side, **options):
    return lambda: saved(Image.new(mode, (side, side)), "JPEG", **options)


def led(start):
    """A JPEG whose segments begin with others."""
    good = saved(Image.new("RGB", (4, 4)), "JPEG")
    return lambda: good[:2] + start() + good[2:]


def segment(kind, content):
    return b"\xff" + bytes([kind]) + struct.pack(">H", 2 + len(content)) + content


def bmp(width, height, rows, kind=1, bits=8):
    """A BMP file, of run-length encoded rows if nothing else is said."""
    sizes = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(rows), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(rows), 0, 0, 1078) + sizes + bytes(1024) + rows


def shown(name, content, *says, code=DATA):
    """A picture that is to be predicted by a network of a few numbers."""
    return Case(f"predict: {name}", lambda folder: predicted(folder, content()), code, says)


def predicted(folder, content):
    (folder / "x").write_bytes(content)
    bytes_of(folder, "net.safetensors", packed(good()[0].encode(), good()[1]))
    return ["predict", "--run", "net.safetensors", "x"]


def sounds(content, name="yes/0.wav"):
    good = {f"{kind}/{i}.wav": wav() for kind in ("yes", "no") for i in range(3)}
    return files(good | {name: content})


def nested(folder, depth=200):
    path = folder / "data"
    for _ in range(depth):
        path = path / "d"
    path.mkdir(parents=True)
    (path / "a.png").write_bytes(SMALL)


def odd_folder(folder):
    files({f"{kind}/{i}.png": SMALL for kind in ("cat", "dog") for i in range(3)})(folder)
    os.rename(folder / "data", os.path.join(os.fsencode(folder), b"\xff\n"))
    return ["datasets", os.fsdecode(b"\xff\n")]


CASES = [
    data("a picture of 2^31 pixels a side", pets(png(2**31 - 1, 2**31 - 1, plain(1, 1))), "0.png"),
    data("a picture of 9,000 pixels a side", pets(made(lambda: png(9000, 9000, plain(9000, 9000)))), "0.png"),
    data(
        "a grey picture of 9,000 pixels a side",
        pets(made(lambda: png(9000, 9000, plain(9000, 9000, 1), colour=0))),
        "0.png",
    ),
    data("a picture whose rows end early", pets(made(lambda: png(4000, 4000, plain(4000, 10)))), code=OK),
    data("a picture that goes on", pets(made(lambda: png(4, 4, plain(9000, 9000)))), code=OK),
    data("a picture of no pixels", pets(png(0, 0, plain(1, 1))), "0.png"),
    data(
        "a picture with a text bomb",
        pets(
            png(
                4,
                4,
                plain(4, 4),
                *[chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(2**20 - 1))) for i in range(200)],
            )
        ),
        "0.png",
    ),
    data(
        "a picture with a profile bomb",
        pets(made(lambda: png(4, 4, plain(4, 4), chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**28)))))),
        "0.png",
    ),
    data("a picture of 20,000 scans", pets(made(many_scans), "cat/0.jpg"), "0.jpg"),
    data(
        "small pictures blown up by the first",
        files(
            {
                f"{split}/{kind}/{i}.png": SMALL
                for split in ("train", "test")
                for kind in ("cat", "dog")
                for i in range(1, 9)
            }
            | {"train/cat/0.png": made(lambda: png(4000, 4000, plain(4000, 4000)))}
        ),
        "data",
        "size of the first",
    ),
    data("grey pictures of 8,000 pixels a side", among(lambda: flat(8000, 8000, colour=0)), "2.png", "declares"),
    data("pictures of 8,000 bits a side", among(lambda: flat(8000, 8000, depth=1, colour=0)), "2.png", "declares"),
    data(
        "pictures of 8,000 colours of a palette a side",
        among(lambda: flat(8000, 8000, colour=3, extra=[chunk(b"PLTE", bytes(768))])),
        "2.png",
        "declares",
    ),
    data("grey pictures below any limit", among(lambda: flat(6800, 6800, colour=0)), code=OK),
    data("pictures of bits below any limit", among(lambda: flat(6800, 6800, depth=1, colour=0)), code=OK),
    data("pictures in colour below any limit", among(lambda: flat(4800, 4800), count=3), code=OK),
    data(
        "pictures of 16-bit grey below any limit", among(lambda: flat(5500, 5500, depth=16, colour=0), count=2), code=OK
    ),
    data("CMYK pictures of several scans", among(jpeg("CMYK", 5700, progressive=True), "jpg"), "2.jpg", "declares"),
    data("pictures of several scans", among(jpeg("RGB", 5700, progressive=True), "jpg"), "2.jpg", "declares"),
    data("pictures of several scans below any limit", among(jpeg("RGB", 3500, progressive=True), "jpg", 2), code=OK),
    data("a JPEG that begins with 10 MB of fill", pets(made(led(lambda: b"\xff" * 10**7)), "cat/z.jpg"), "z.jpg"),
    data(
        "a JPEG of 10,000 segments of EXIF",
        pets(made(led(lambda: segment(0xE1, b"Exif\0\0" + bytes(1000)) * 10_000)), "cat/z.jpg"),
        "z.jpg",
        "metadata",
    ),
    data(
        "a JPEG of Photoshop's data without content",
        pets(
            made(led(lambda: segment(0xED, b"Photoshop 3.0\0" + b"8BIM" + (bytes(8) + b"8BIM") * 5000) * 300)),
            "cat/z.jpg",
        ),
        "z.jpg",
        "metadata",
    ),
    data(
        "a JPEG of tables and sizes without end",
        pets(made(led(lambda: segment(0xDB, bytes(65 * 1000)) * 300)), "cat/z.jpg"),
        "z.jpg",
        "tables",
    ),
    data(
        "a JPEG of as many tables as are read",
        pets(made(led(lambda: segment(0xDB, bytes(65 * 1000)) * 50)), "cat/z.jpg"),
        code=OK,
    ),
    data(
        "a JPEG of 500,000 comments",
        pets(made(led(lambda: segment(0xFE, b"") * 500_000)), "cat/z.jpg"),
        "z.jpg",
        "segments",
    ),
    data("a JPEG that begins with stray bytes", pets(made(led(lambda: b"\xff\0" * 10**6)), "cat/z.jpg"), "z.jpg"),
    *(
        data(
            f"a PNG of 300,000 empty chunks {kind.decode()}",
            pets(made(lambda kind=kind: png(4, 4, plain(4, 4), chunk(kind, b"") * 300_000)), "cat/z.png"),
            "z.png",
            "chunks",
        )
        for kind in (b"prVt", b"IDAT")
    ),
    data(
        "a PNG of 300,000 empty chunks behind its rows",
        pets(made(lambda: png(4, 4, plain(4, 4))[:-12] + chunk(b"prVt", b"") * 300_000 + chunk(b"IEND", b""))),
        "0.png",
        "chunks",
    ),
    shown("2 million comments in a PBM", lambda: b"P1 8 8\n" + b"#\n" * 2_200_000, "words"),
    shown("half a million comments in a PBM", lambda: b"P1 8 8\n" + b"#\n" * 500_000, "1000 comments"),
    shown("a PPM of 8 MB of spaces", lambda: b"P6" + b" " * 8_000_000, "header"),
    shown("a PPM of 8 MB of comments", lambda: b"P6 " + b"#\n" * 4_000_000, "header"),
    shown("a PGM of 101 greys", lambda: b"P5 3000 3000 100\n" + bytes(9_000_000), "convert it"),
    shown("a BMP of a line of 60 million", lambda: bmp(60_000_000, 1, b"\1\1\0\0\0\0"), "declares"),
    shown("a BMP of a line of 15 million", lambda: bmp(15_000_000, 1, b"\1\1\0\0\0\0"), "run-length"),
    shown("a WEBP without losses", lambda: saved(Image.new("RGB", (5700, 5700)), "WEBP", lossless=True), "declares"),
    data(
        "small pictures blown up by the first, below any limit",
        lambda folder: files(
            {f"{split}/{kind}/0.png": SMALL for split in ("train", "test") for kind in ("cat", "dog")}
            | {"train/cat/0.png": flat(2800, 2800)}
        )(folder),
        code=OK,
    ),
    data("a GIF for a PNG", pets(saved(Image.new("L", (4, 4)), "GIF")), "0.png", "not a JPEG or PNG"),
    data(
        "PostScript for a PNG",
        pets(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n(owned) (w) file\n"),
        "0.png",
        "not a JPEG",
    ),
    data("a picture that is a FIFO", pets(FIFO), "0.png", "not a regular file"),
    data("a picture that is a link to /dev/zero", pets(linked("/dev/zero")), "0.png", "not a regular file"),
    data("a picture that is a link to itself", pets(linked("0.png")), "0.png"),
    data("a picture of a name with a newline", pets(b"x", "cat/\n0.png"), "\\n0.png"),
    data(
        "a class of a name with an escape sequence", pets(SMALL, "\x1b[31m/0.png"), "\\x1b[31m", "no name for a class"
    ),
    data("a class of a name that runs backwards", pets(SMALL, "\u202egnp/0.png"), "no name for a class"),
    data("a class that is a link to its parent", pets(linked(".."), "cat/up"), code=OK),
    data("a class that is a link to the root", pets(linked("/"), "cat/root"), code=OK),
    data("200 folders in each other", nested, "data"),
    data("a WAV file that declares 4 GB", sounds(wav(length=2**32 - 2)), "0.wav", "truncated"),
    data("a WAV file of 65,535 channels", sounds(wav(bytes(4 * 65535), channels=65535, bits=32, kind=3)), "0.wav"),
    data(
        "sounds blown up by the first",
        files(
            {
                f"{split}/{kind}/{i}.wav": wav(bytes(40_000))
                for split in ("train", "test")
                for kind in ("no", "yes")
                for i in range(1, 9)
            }
            | {"train/no/0.wav": wav(bytes(40_000), channels=4000)}
        ),
        "data",
        "length of the longest",
    ),
    data(
        "a WAV file of a million empty chunks",
        sounds(lambda p: p.write_bytes(wav(extra=struct.pack("<4sI", b"junk", 0) * 10**6))),
        "0.wav",
    ),
    data(
        "a WAV file of infinities",
        sounds(wav(np.full(16, np.inf, "<f4").tobytes(), bits=32, kind=3)),
        "0.wav",
        "not finite",
    ),
    data(
        "a WAV file of two channels whose sum is infinite",
        files(
            {
                f"{kind}/{i}.wav": wav(np.full(32, 3e38, "<f4").tobytes(), channels=1 + i // 2, bits=32, kind=3)
                for kind in ("no", "yes")
                for i in range(3)
            }
        ),
        code=OK,
    ),
    data("a WAV file of no frames", sounds(wav(b"")), "0.wav"),
    data("a WAV file of a format of 4 GB", sounds(wav()[:16] + b"\xff\xff\xff\xff" + wav()[20:]), "0.wav"),
    data("a WAV file that is a FIFO", sounds(FIFO), "0.wav", "not a regular file"),
    data(
        "a WAV file of an index of 200 digits",
        files({f"a_b_{'9' * 200}.wav": wav(), "a_b_1.wav": wav(), "a_b_7.wav": wav()}),
        code=OK,
    ),
    data("nothing", lambda folder: (folder / "data").mkdir(), "data", "no data set"),
    data(
        "a folder of a name with a newline",
        lambda folder: (folder / "da\nta").mkdir() or ["datasets", "da\nta"],
        "da\\nta",
    ),
    data("a home of nobody", lambda folder: ["datasets", "~nobody-is-called-so/x"], "nobody"),
    data("a home that is no text", lambda folder: ["datasets", os.fsdecode(b"~\xff/x")]),
    data("a good folder of a name that is no text", lambda folder: odd_folder(folder), code=OK),
    data("a home of data that is /dev/zero", lambda folder: ["datasets", "mnist", "--data-dir", "/dev/zero"], "mnist"),
    data("a FIFO for a data set", lambda folder: os.mkfifo(folder / "data"), "data"),
    data("/dev/zero for a data set", lambda folder: ["datasets", "/dev/zero"], "/dev/zero"),
    data("two thousand dots", lambda folder: ["datasets", "../" * 2000], "../"),
]
