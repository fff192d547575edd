"""Data sets that come in an archive: fetched, checked, unpacked and removed."""

import dataclasses
import gzip
import hashlib
import io
import os
import tarfile

import pytest

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


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"text", "damaged archive: not a gzip file"),
        (packed(BATCHES)[:-60], "damaged archive: Compressed file ended before the end-of-stream marker was reached"),
        (packed({}), "lacks data_batch_1.bin, data_batch_2.bin"),
        (packed(BATCHES, kind=tarfile.SYMTYPE), "lacks data_batch_1.bin"),
        (packed({"data_batch_1.bin": b"short"}), "its data_batch_1.bin has 5 bytes, expected 3073"),
        (packed({"data_batch_1.bin": RECORD[:-1] + b"?"}), "its data_batch_1.bin has a wrong checksum"),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, publish, message_of, archive, message):
    mirror, home = publish(archive), tmp_path / "home"
    text = message_of(download, "cifar-10", home, [mirror])
    assert text.startswith(f"{home}/cifar-10/cifar-10-binary.tar.gz: {message}")
    written = {path.name for path in (home / "cifar-10").iterdir()} - {"cifar-10-binary.tar.gz"}
    assert all((home / "cifar-10" / name).read_bytes() == BATCHES[name] for name in written)


def test_a_wrong_archive_is_not_unpacked(tmp_path, publish, message_of, monkeypatch):
    mirror = publish(packed(BATCHES))
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    monkeypatch.setattr(archives, "unpack", lambda *_: pytest.fail("it was unpacked"))
    (tmp_path / "mirror" / "cifar-10-binary.tar.gz").write_bytes(packed({}))
    message = message_of(download, "cifar-10", tmp_path / "home", [mirror])
    assert message.startswith("cifar-10: no mirror gave cifar-10-binary.tar.gz: ")
