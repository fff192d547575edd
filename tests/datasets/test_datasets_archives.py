"""Data sets that come in an archive: fetched, checked, unpacked and removed."""

import dataclasses
import gzip
import hashlib
import io
import os
import tarfile

import pytest
from downloading import ended, start
from serving import ranged

from cnncli.datasets import DATASETS, File, archives, download, load

RECORD = bytes(1 + 3072)
BATCHES = {f"data_batch_{i}.bin": RECORD * i for i in range(1, 6)} | {"test_batch.bin": RECORD}


def packed(files: dict, folder="cifar-10-batches-bin/", kind=tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size, member.type, member.linkname = len(content), kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)  # the same bytes at any time: they name tests


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """A function that makes an archive the catalogue's, and puts it into a mirror's folder, which it returns."""

    def put(archive: bytes, checks="sha256"):
        files = [File(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in BATCHES.items()]
        if checks == "md5":
            files = [dataclasses.replace(file, sha256="") for file in files]
        digest = {checks: hashlib.new(checks, archive).hexdigest()}
        made = File("cifar-10-binary.tar.gz", size=len(archive), **digest)
        entry = dataclasses.replace(DATASETS["cifar-10"], files=tuple(files), archive=made)
        monkeypatch.setitem(DATASETS, "cifar-10", entry)
        folder = tmp_path / "mirror"
        folder.mkdir(exist_ok=True)
        (folder / made.name).write_bytes(archive)
        return str(folder)

    return put


@pytest.mark.parametrize("checks", ["sha256", "md5"])
@pytest.mark.parametrize("name", ["cifar-10", "cifar10"])
def test_download_unpacks(tmp_path, publish, checks, name):
    mirror = publish(packed({"readme.html": b"", **BATCHES, "../../evil": b"no"}), checks)
    home = tmp_path / "home"
    paths = download(name, home, [mirror])
    assert {path.name: path.read_bytes() for path in (home / "cifar-10").iterdir()} == BATCHES
    assert sorted(paths) == sorted((home / "cifar-10").iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in paths)
    assert len(load(name, home).train.labels) == 15
    assert download(name, home, [str(tmp_path / "absent")]) == paths  # nothing is missing
    paths[0].write_bytes(b"damaged")
    download(name, home, [mirror])
    assert paths[0].read_bytes() == BATCHES[paths[0].name]


def test_an_archive_that_was_there_is_used_and_kept(tmp_path, publish):
    mirror = publish(packed(BATCHES))
    home = tmp_path / "home" / "cifar-10"
    home.mkdir(parents=True)
    os.rename(f"{mirror}/cifar-10-binary.tar.gz", home / "cifar-10-binary.tar.gz")
    download("cifar-10", home.parent, [mirror])
    assert {path.name for path in home.iterdir()} == {*BATCHES, "cifar-10-binary.tar.gz"}


DAMAGED = {
    "text": (b"text", "damaged archive: Not a gzipped file"),
    "cut off": (packed(BATCHES)[:-60], "damaged archive: Compressed file ended before the end-of-stream marker"),
    "empty": (packed({}), "lacks data_batch_1.bin, data_batch_2.bin"),
    "short": (packed({"data_batch_1.bin": b"short"}), "its data_batch_1.bin has 5 bytes, expected 3073"),
    "wrong": (packed({"data_batch_1.bin": RECORD[:-1] + b"?"}), "its data_batch_1.bin has a wrong checksum"),
}


@pytest.mark.parametrize("archive", DAMAGED)
def test_a_damaged_archive_is_refused(tmp_path, publish, message_of, archive):
    content, message = DAMAGED[archive]
    mirror, home = publish(content), tmp_path / "home"
    text = message_of(download, "cifar-10", home, [mirror])
    assert text.startswith(f"{home}/cifar-10/.partial/cifar-10-binary.tar.gz: {message}")
    written = {path.name for path in (home / "cifar-10").iterdir()} - {".partial"}
    assert all((home / "cifar-10" / name).read_bytes() == BATCHES[name] for name in written)


def test_a_wrong_archive_is_not_unpacked(tmp_path, publish, message_of, monkeypatch):
    mirror = publish(packed(BATCHES))
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    monkeypatch.setattr(archives, "unpack", lambda *_: pytest.fail("it was unpacked"))
    (tmp_path / "mirror" / "cifar-10-binary.tar.gz").write_bytes(packed({}))
    message = message_of(download, "cifar-10", tmp_path / "home", [mirror])
    assert message.startswith("cifar-10: no mirror gave cifar-10-binary.tar.gz: ")


def test_an_archive_is_fetched_on_from_where_it_stopped(tmp_path, publish, server, monkeypatch, message_of):
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    archive = packed(BATCHES)
    publish(archive)
    server.answers["/cifar-10-binary.tar.gz"] = ranged(archive, most=50)
    message_of(download, "cifar-10", tmp_path / "home", [server.address])
    server.answers["/cifar-10-binary.tar.gz"] = ranged(archive)
    paths = download("cifar-10", tmp_path / "home", [server.address])
    assert server.ranges == [None, "bytes=50-", "bytes=100-", "bytes=150-"]
    assert sorted(paths) == sorted((tmp_path / "home" / "cifar-10").iterdir())


def test_a_full_disk_while_unpacking_leaves_the_archive(tmp_path, server):
    """Of one file of 10,000 zeros the archive is smaller; so a limit in between ends the unpacking."""
    file = {"data_batch_1.bin": bytes(10_000)}
    archive = {"made.tar.gz": packed(file)}
    server.answers["/made.tar.gz"] = ranged(archive["made.tar.gz"])
    code, out, err = ended(start(tmp_path, server.address, file, archive, largest=5000))
    assert (code, out, err) == (3, "", f"error: {tmp_path}/made: cannot be written: File too large\n")
    place = tmp_path / "made" / ".partial"
    assert [path.name for path in place.iterdir()] == ["made.tar.gz"]
    assert ended(start(tmp_path, server.address, file, archive))[0] == 0
    assert [path.read_bytes() for path in (tmp_path / "made").iterdir()] == list(file.values())
    assert len(server.asked) == 1
