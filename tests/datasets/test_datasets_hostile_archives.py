"""Archives that are made to harm: whatever is in them, nothing but the expected file is written, to its own name."""

import gzip
import hashlib
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnncli.datasets import File
from cnncli.datasets.archives import BESIDE, unpack
from cnncli.errors import DataError

NAME, CONTENT = "train.bin", bytes(range(256)) * 5
FILES = [File(NAME, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))]
LINKS = {"symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE}
OTHERS = {
    "directory": tarfile.DIRTYPE,
    "device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
NAMES = (
    "../{}",
    "../../../../../../{}",
    "/tmp/{}",
    "a/../../{}",
    "./{}",
    "C:\\{}",
    "{}/",
    "{}/.",
    "\n",
    "",
    "..",
    "/",
    "a" * 300,
)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member.tobuf(tarfile.GNU_FORMAT)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


GOOD = header("cifar/" + NAME, len(CONTENT)) + padded(CONTENT)
END = bytes(1024)
# archives with the file in them: the rest of them is passed over
HARMLESS = {f"named {name!r}": header(name.format("evil"), 4) + padded(b"evil") + GOOD for name in NAMES}
HARMLESS |= {f"{kind} of its name": header(NAME, 0, code, "/etc/passwd") + GOOD for kind, code in LINKS.items()}
HARMLESS |= {f"{kind} of its name": header(NAME, 0, code) + GOOD for kind, code in OTHERS.items()}
HARMLESS |= {f"{kind} elsewhere": header("x", 0, code, "../../x") + GOOD for kind, code in LINKS.items()}
HARMLESS |= {
    "twice": GOOD + header(NAME, len(CONTENT)) + padded(bytes(len(CONTENT))),
    "at ../": header(f"../../{NAME}", len(CONTENT)) + padded(CONTENT),
    "at an absolute place": header(f"/etc/{NAME}", len(CONTENT)) + padded(CONTENT),
    "a link to it, then the file": header("cifar", 0, tarfile.SYMTYPE, "/tmp") + GOOD,
    "junk behind the end": GOOD + END + b"?" * 512,
}
# archives that are refused, with what is said
HARMFUL = {
    "a bomb before it": (header("zeros", BESIDE + 1) + bytes(BESIDE + 1024) + GOOD, "more than its files have"),
    "a bomb behind it": (GOOD + header("zeros", 2 * BESIDE) + bytes(2 * BESIDE), "more than its files have"),
    "a bomb of its name": (header(NAME, 2**40) + bytes(2**20), f"has {2**40} bytes, expected {len(CONTENT)}"),
    "a bomb of a name": (header("x", 2**33, tarfile.GNUTYPE_LONGNAME) + bytes(2 * BESIDE), "more than its files have"),
    "a bomb of a header": (header("x", 2**33, tarfile.XHDTYPE) + bytes(2 * BESIDE), "more than its files have"),
    "a negative size": (header(NAME, -512) + GOOD, f"has -512 bytes, expected {len(CONTENT)}"),
    "a size that leads back": (header("x", -1024) + GOOD, "damaged archive"),
    "a header that leads back": (header("x", -512, tarfile.XHDTYPE) + GOOD, ""),
    "a thousand names of a name": (header("x", 512, tarfile.GNUTYPE_LONGNAME) * 1000, ""),
    "only a hard link to itself": (header(NAME, 0, tarfile.LNKTYPE, NAME), f"lacks {NAME}"),
    "only an empty name": (header("", len(CONTENT)) + padded(CONTENT), f"lacks {NAME}"),
    "sparse": (header(NAME, len(CONTENT), tarfile.GNUTYPE_SPARSE) + padded(CONTENT), ""),
    "cut off in the file": (GOOD[:700], "damaged archive"),
    "cut off in a header": (GOOD[:300], ""),
    "no checksum": (b"\1" * 2048, ""),
    "nothing": (b"", ""),
}


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A function that unpacks an archive: what is in the folder then. Nothing else may have been written."""
    folder, place, archive = tmp_path / "a" / "folder", tmp_path / "place", tmp_path / "archive.tar.gz"
    folder.mkdir(parents=True)
    place.mkdir()
    monkeypatch.setattr("os.fsync", lambda _: None)  # which would take most of the time

    def call(tar: bytes, compressed: bytes | None = None) -> dict[str, bytes]:
        archive.write_bytes(gzip.compress(tar, 1, mtime=0) if compressed is None else compressed)
        for path in folder.iterdir():
            path.unlink()
        try:
            unpack(archive, FILES, folder, place)
        finally:
            assert sorted(path for path in tmp_path.rglob("*") if path.parent != folder) == [
                folder.parent, folder, archive, place
            ]  # fmt: skip
        return {path.name: path.read_bytes() for path in folder.iterdir() if not path.is_symlink()}

    return call


@pytest.mark.parametrize("kind", HARMLESS)
def test_the_file_and_nothing_else(unpacked, kind):
    assert unpacked(HARMLESS[kind] + END) == {NAME: CONTENT}


@pytest.mark.parametrize("kind", HARMFUL)
def test_refused_in_one_line(unpacked, message_of, kind):
    tar, expected = HARMFUL[kind]
    assert expected in message_of(unpacked, tar + (END if tar else b""))


def test_a_file_of_2_to_the_60_bytes_that_are_not_there(unpacked, message_of):
    assert "ends within a file" in message_of(
        unpacked, header("another", 2**32 - 1) + END
    )  # was passed over for minutes
    assert "damaged archive" in message_of(unpacked, _summed(_member(ord("0"), b"another", 2**60, b"")) + END)


def test_a_gzip_bomb(unpacked, message_of):
    bomb = gzip.compress(bytes(2**24), mtime=0) * 64  # a GiB in a MiB
    assert f"lacks {NAME}" in message_of(unpacked, b"", bomb)  # zeros are the end of an archive


def attempt(call, *arguments) -> None:
    """Either the right file or a DataError of one line."""
    message = ""
    try:
        assert call(*arguments) == {NAME: CONTENT}
    except DataError as error:
        message = str(error)
    assert "\n" not in message


def test_every_length(unpacked):
    compressed = gzip.compress(GOOD + END, mtime=0)
    for length in range(len(compressed)):
        attempt(unpacked, b"", compressed[:length])
    for length in range(0, len(GOOD), 7):
        attempt(unpacked, GOOD[:length])


def test_every_byte(unpacked):
    """Each byte of the header's numbers and kind set to a few values, and each of the compressed file to another."""
    for place in range(100, 160):
        for value in (0, 0x2D, 0x37, 0x80, 0xFF):
            attempt(unpacked, _summed(GOOD[:place] + bytes([value]) + GOOD[place + 1 :]) + END)
    compressed = bytearray(gzip.compress(GOOD + END, mtime=0))
    for place in range(len(compressed)):
        compressed[place] ^= 0xFF
        attempt(unpacked, b"", bytes(compressed))
        compressed[place] ^= 0xFF


def _summed(tar: bytes) -> bytes:
    """With the checksum of the first header made right, without which tarfile looks at nothing."""
    total = sum(tar[:148]) + sum(tar[156:512]) + 8 * 0x20
    return tar[:148] + b"%06o\0 " % total + tar[156:]


KINDS = b"0\x001234567LKxgSVNDXA"


MEMBERS = st.tuples(
    st.sampled_from(KINDS), st.binary(max_size=20), st.integers(-(2**40), 2**40), st.binary(max_size=600)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each call empties the folder
@given(members=st.lists(MEMBERS))
def test_any_members(unpacked, members):
    attempt(unpacked, b"".join(_summed(_member(*member)) for member in members) + GOOD + END)


def _member(kind: int, name: bytes, size: int, content: bytes) -> bytes:
    block = bytearray(header("x", size))
    block[:20] = name.ljust(20, b"\0")
    block[156] = kind
    return bytes(block) + padded(content)
