"""Hostile checkpoints: each is a file for `cnncli eval`, and what its one line must say."""

import json
import math
import os
import struct
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from hostile import CHECKPOINT, Case, bytes_of
from signing import signed

from cnncli import spec
from cnncli.datasets.batches import Normalization
from cnncli.network import Network
from cnncli.training.checkpoint import UNSIGNED, Checkpoint, Given, Progress, write

MODEL = "name: tiny\ninput: {channels: 1, size: [2, 2]}\nlayers: [flatten, dense: 2]\n"
NAME = "net.safetensors"


@cache
def good() -> tuple[str, bytes]:
    """The header and the numbers of a checkpoint that was written as `train` writes it."""
    network = Network(spec.parse(MODEL, "tiny.yaml"))
    progress = Progress(Given("digits", None, True, None, {"classes": "0f"}))
    normalization = Normalization(255.0, np.zeros(1), np.ones(1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        write(path, Checkpoint(network, ("a", "b"), normalization, progress))
        content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + length].decode()
    digest = json.loads(json.loads(header)["__metadata__"]["cnncli"])["sha256"]
    return header.replace(digest, UNSIGNED), content[8 + length :]


def packed(header: bytes, numbers: bytes = b"", length: int | None = None) -> bytes:
    """A file with its right digest, if it has a place for one: who makes it to harm can compute that too."""
    content = struct.pack("<Q", len(header) if length is None else length) + header + numbers
    return signed(content)


def changed(change, numbers=None):
    """What makes the good checkpoint after `change(about, header)`: our own text, and the header around it."""

    def content():
        header = json.loads(good()[0])
        about = json.loads(header["__metadata__"]["cnncli"])
        change(about, header)
        header["__metadata__"] = {"cnncli": json.dumps(about)}
        return packed(json.dumps(header).encode(), good()[1] if numbers is None else numbers)

    return content


def metadata(value):
    """Something else in the place of the header's metadata, our text in them."""

    def content():
        header = json.loads(good()[0]) | {"__metadata__": value}
        return packed(json.dumps(header).encode(), good()[1])

    return content


def about(path, value):
    """A change of one value of our own text; `path` is such as progress.step."""

    def change(found, header):
        *way, last = path.split(".")
        for step in way:
            found = found[step]
        found[last] = value

    return changed(change)


def tensor(name="1_dense.weight", **options):
    def change(found, header):
        header[name] = header.get(name, {}) | options

    return changed(change)


def replaced(old, new):
    """The good checkpoint with one text of its header for another."""

    def content():
        text = good()[0]
        assert old in text
        return packed(text.replace(old, new, 1).encode(), good()[1])

    return content


def checkpoint(name, content, *says):
    def make(folder):
        bytes_of(folder, NAME, content() if callable(content) else content)
        return ["eval", NAME]

    return Case(f"checkpoint: {name}", make, CHECKPOINT, (NAME, *says))


def placed(name, make, *says):
    def command(folder):
        make(folder / NAME)
        return ["eval", NAME]

    return Case(f"checkpoint: {name}", command, CHECKPOINT, (NAME, *says))


def sparse(size, start=b""):
    def make(path):
        path.write_bytes(start)
        os.truncate(path, size)

    return make


LARGE = "input: {channels: 65536, size: [8, 8]}\nlayers: [flatten, dense: 65536, dense: 65536, dense: 2]\n"
LARGE_SHAPES = {"1_dense": (65536, 2**22), "2_dense": (65536, 65536), "3_dense": (2, 65536)}


def large_network(found, header):
    """A change to a network of 2^38 numbers, and the header that describes them."""
    found["specification"] = LARGE
    found["normalization"] = {"unit": 255.0, "mean": [0.0] * 65536, "deviation": [1.0] * 65536}
    header.clear()
    end = 0
    for name, shape in LARGE_SHAPES.items():
        for what, of in (("weight", shape), ("bias", shape[:1])):
            start, end = end, end + 4 * math.prod(of)
            header[f"{name}.{what}"] = {"dtype": "F32", "shape": list(of), "data_offsets": [start, end]}


def large_file(path):
    """That network's checkpoint, whose numbers are nowhere on the disk."""
    path.write_bytes(changed(large_network, b"")())
    numbers = sum(math.prod(shape) + shape[0] for shape in LARGE_SHAPES.values())
    os.truncate(path, path.stat().st_size + 4 * numbers)


def huge_pictures(found, header):
    """A change to a network of as many numbers, whose input is 60,000 x 60,000 pixels."""
    found["specification"] = MODEL.replace("channels: 1, size: [2, 2]", "channels: 4, size: [60000, 60000]").replace(
        "flatten", "global_avg_pool"
    )
    found["normalization"] = {"unit": 255.0, "mean": [0.0] * 4, "deviation": [1.0] * 4}


def link(path):
    os.symlink("/dev/zero", path)


def circle(path):
    os.symlink(NAME, path)


DEEP = "[" * 100_000
OVERFLOWING = {"loss": 1e308, "weight": 5e-324, "hits": 0, "top5": 0, "labels": 5, "count": 5}
CASES = [
    checkpoint("nothing", b"", "ends inside"),
    checkpoint("seven bytes", bytes(7), "ends inside"),
    checkpoint("a header of 2^64 - 1 bytes", packed(b"{}", length=2**64 - 1), "ends inside"),
    checkpoint("a header of 2^63 bytes", packed(b"{}", length=2**63), "ends inside"),
    placed("a header of 99 MB", sparse(10**8, struct.pack("<Q", 99 * 10**6) + b"{"), "its header has"),
    checkpoint("an empty header", packed(b""), "damaged"),
    checkpoint("a header of another file", packed(b"{}"), "not a checkpoint of this version of cnncli"),
    checkpoint("JSON 100,000 lists deep", packed(DEEP.encode()), "damaged"),
    checkpoint("JSON 100,000 mappings deep", packed(b'{"a":' * 100_000), "damaged"),
    checkpoint("text 100,000 lists deep", metadata({"cnncli": DEEP}), "damaged"),
    checkpoint("9 million empty lists", packed(b"[" + b"[]," * 9_000_000 + b"[]]"), "values"),
    checkpoint(
        "a million keys", lambda: packed(b"{" + b",".join(b'"k%d":{}' % i for i in range(10**6)) + b"}"), "damaged"
    ),
    checkpoint("a number of 5,000 digits", replaced('"shape":[2,4]', '"shape":[' + "9" * 5000 + ",4]"), "damaged"),
    checkpoint("a key twice", replaced('"1_dense.bias":', '"1_dense.weight":'), "twice"),
    checkpoint(
        "a key of our own text twice", replaced('\\"format\\": ', '\\"format\\": \\"x\\", \\"format\\": '), "twice"
    ),
    checkpoint("a header that is no UTF-8", packed(b'{"\xff":1}'), "damaged"),
    checkpoint("a header that is a list", packed(b"[]"), "damaged"),
    checkpoint("metadata that are a list", metadata([]), "damaged"),
    checkpoint("metadata that are a number", metadata({"cnncli": 1}), "damaged"),
    checkpoint("a tensor that is a number", changed(lambda a, h: h.update({"1_dense.bias": 1})), "damaged"),
    checkpoint("a negative shape", tensor(shape=[-2, -4]), "damaged"),
    checkpoint("a shape of 2^63", tensor(shape=[2**63, 4]), "another network"),
    checkpoint("a shape whose size overflows", tensor(shape=[2**32, 2**32]), "another network"),
    checkpoint("a shape of words", tensor(shape=["a"]), "damaged"),
    checkpoint("a shape of true", tensor(shape=[True, 8]), "damaged"),
    checkpoint("offsets beyond the file", tensor(data_offsets=[0, 2**40]), "declares"),
    checkpoint("offsets that go back", tensor(data_offsets=[32, 0]), "damaged"),
    checkpoint("negative offsets", tensor(data_offsets=[-1, 31]), "damaged"),
    checkpoint("offsets that overlap", tensor("1_dense.bias", data_offsets=[4, 12]), "damaged"),
    checkpoint("numbers that nothing describes", changed(lambda a, h: None, bytes(80)), "declares"),
    checkpoint(
        "a gap between tensors",
        changed(lambda a, h: h["1_dense.weight"].update(data_offsets=[16, 48]), bytes(48)),
        "damaged",
    ),
    checkpoint("numbers of another type", tensor(dtype="F64", data_offsets=[8, 72]), "damaged"),
    checkpoint("a type that there is not", tensor(dtype="F31"), "F31"),
    checkpoint("a tensor that no network has", tensor("x", dtype="F32", shape=[0], data_offsets=[0, 0]), "has no x"),
    checkpoint(
        "a slot that no optimiser has", tensor("x/y", dtype="F32", shape=[0], data_offsets=[0, 0]), "has no x/y"
    ),
    checkpoint(
        "a slot of another shape",
        tensor("momentum/1_dense.bias", dtype="F32", shape=[0], data_offsets=[0, 0]),
        "another network",
    ),
    checkpoint(
        "a tensor of a name with a newline", tensor("x\n\x1b[31m", dtype="F32", shape=[0], data_offsets=[0, 0]), "\\x1b"
    ),
    checkpoint("another format", about("format", "cnncli-999"), "not a checkpoint"),
    checkpoint("no specification", about("specification", None), "its model cannot be used"),
    checkpoint("an exploding specification", about("specification", "a: &a [x]\nb: [*a, *a]\n"), "anchors"),
    checkpoint(
        "a specification of Python's tags", about("specification", "!!python/object/apply:os.mkdir [owned]\n"), "tags"
    ),
    checkpoint("a specification 10,000 lists deep", about("specification", "[" * 10_000), "(model):1:"),
    checkpoint("a specification that leads to a file", about("specification", "/etc/passwd"), "(model):1:"),
    checkpoint("a specification of 900,000 letters", about("specification", "x" * 900_000), "(model):1:"),
    checkpoint(
        "another specification", about("specification", MODEL.replace("dense: 2", "dense: 3")), "another network"
    ),
    checkpoint(
        "a huge network and no numbers",
        about("specification", LARGE.replace("65536, size", "1, size")),
        "another network",
    ),
    checkpoint("a terabyte of numbers that are not there", changed(large_network), "declares"),
    placed("a terabyte of numbers that take no room", large_file, "memory"),
    checkpoint("a normalisation of words", about("normalization.mean", ["x"]), "damaged"),
    checkpoint("a normalisation by 0", about("normalization.deviation", [0.0]), "damaged"),
    checkpoint(
        "a normalisation by infinity", replaced('\\"deviation\\": [1.0]', '\\"deviation\\": [1e999]'), "damaged"
    ),
    checkpoint("a normalisation of NaN", replaced('\\"mean\\": [0.0]', '\\"mean\\": [NaN]'), "damaged"),
    checkpoint("a normalisation for another input", about("normalization.mean", [0.0] * 5), "channels"),
    checkpoint(
        "a normalisation 900 lists deep", about("normalization.mean", json.loads("[" * 900 + "]" * 900)), "damaged"
    ),
    checkpoint("a unit of 0", about("normalization.unit", 0), "damaged"),
    checkpoint("a class of an escape sequence", about("classes", ["\x1b[31m", "b"]), "damaged"),
    checkpoint("classes that are a number", about("classes", 3), "damaged"),
    checkpoint("classes that are one word", about("classes", "ab"), "damaged"),
    checkpoint("a negative step", about("progress.step", -1), "damaged"),
    checkpoint("a step of 2^63", about("progress.step", 2**63), "damaged"),
    checkpoint("a step of words", about("progress.step", "x"), "damaged"),
    checkpoint("a step that is infinite", replaced('\\"step\\": 0', '\\"step\\": 1e999'), "damaged"),
    checkpoint("sums of words", about("progress.tally.loss", "x"), "damaged"),
    checkpoint("sums of NaN", replaced('\\"loss\\": 0.0', '\\"loss\\": NaN'), "damaged"),
    checkpoint("a best of infinity", replaced('\\"best\\": null', '\\"best\\": 1e999'), "damaged"),
    checkpoint("a data set that is a number", about("progress.given.dataset", 1), "damaged"),
    checkpoint("an unknown key", about("progress.given.owned", 1), "damaged"),
    checkpoint("a data set of a NUL", about("progress.given.dataset", "~\0"), "damaged"),
    checkpoint("a data set that is no text", about("progress.given.dataset", "~\ud800x"), "damaged"),
    checkpoint("a folder of data of a NUL", about("progress.given.data_dir", "~\0"), "damaged"),
    checkpoint("-3 threads", about("progress.given.threads", -3), "damaged"),
    checkpoint("a mean loss beyond all numbers", about("progress.tally", OVERFLOWING), "damaged"),
    checkpoint("a negative weight of the loss", about("progress.tally.weight", -1e308), "damaged"),
    checkpoint("a count of 2^64", about("progress.tally.count", 2**64), "damaged"),
    checkpoint("no progress", about("progress", {}), "damaged"),
    checkpoint("weights of NaN", changed(lambda a, h: None, b"\0\0\xc0\x7f" * 10), "NaN"),
    checkpoint("a normalisation by 1e-320", about("normalization.deviation", [1e-320]), "damaged"),
    checkpoint("a normalisation of 1e300", about("normalization.mean", [1e300]), "damaged"),
    checkpoint("a small network for huge pictures", changed(huge_pictures), "needs 53.6 GiB"),
    Case(
        "checkpoint: a small network for a huge picture",
        lambda folder: ["predict", "p.png", "--run", bytes_of(folder, NAME, changed(huge_pictures)())],
        CHECKPOINT,
        (NAME, "needs 53.6 GiB"),
    ),
    placed("a FIFO", os.mkfifo, "no such run or checkpoint"),
    placed("a link to /dev/zero", link, "no such run or checkpoint"),
    placed("a link to itself", circle, "no such run or checkpoint"),
    placed("an empty folder", os.mkdir, "holds neither"),
    placed("a terabyte of zeros", sparse(2**40), "damaged"),
]
