"""Files that are whole or not there: on a disk that fails, and after a loss of power at any moment."""

import errno
import os

import pytest

from cnncli.training import files


def fail(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def short_writes(monkeypatch):
    """A disk that takes 3 bytes at a time."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))


@pytest.mark.parametrize("failing", ["open", "chmod", "write", "fsync", "replace"])
def test_a_failing_disk_leaves_the_file_before(tmp_path, monkeypatch, failing):
    path = tmp_path / "file"
    files.write_atomically(path, [b"before"])
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_atomically(path, [b"after"])
    monkeypatch.undo()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_flushed_is_told(tmp_path, monkeypatch):
    path, fsync = tmp_path / "file", os.fsync

    def fsync_of_folder(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync_of_folder)
    with pytest.raises(OSError, match="Input/output error") as caught:
        files.write_atomically(path, [b"after"])
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"after"


@pytest.mark.parametrize("links", [True, False])
def test_the_same_file_under_another_name(tmp_path, monkeypatch, links):
    if not links:  # as on FAT
        monkeypatch.setattr(os, "link", lambda *paths: fail())
    path, other = tmp_path / "file", tmp_path / "other"
    with pytest.raises(FileNotFoundError):
        files.same_file(path, other)
    for content in (b"one", b"two", b"two"):  # the third time it is the same file already
        files.write_atomically(path, [content])
        files.same_file(path, other)
        files.same_file(path, other)
        assert other.read_bytes() == content
    files.write_atomically(path, [b"three"])
    assert other.read_bytes() == b"two"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "other"]


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_name_that_cannot_be_given_is_told(tmp_path, monkeypatch, failing):
    (tmp_path / "file").write_bytes(b"one")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left") as caught:
        files.same_file(tmp_path / "file", tmp_path / "other")
    assert caught.value.filename == str(tmp_path / "other")
    assert not list(tmp_path.glob(".*"))


def test_short_writes_are_gone_on_with(tmp_path, monkeypatch):
    short_writes(monkeypatch)
    files.write_atomically(tmp_path / "file", [b"0123456789"])
    files.put(tmp_path / "file", 4, b"abcdefg")
    assert (tmp_path / "file").read_bytes() == b"0123abcdefg"


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_what_could_not_be_put_is_taken_back(tmp_path, monkeypatch, failing):
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\nhal")
    short_writes(monkeypatch)
    working, calls = getattr(os, failing), []

    def second_fails(*arguments):
        calls.append(arguments)
        return fail() if len(calls) == (2 if failing == "write" else 1) else working(*arguments)

    monkeypatch.setattr(os, failing, second_fails)
    with pytest.raises(OSError, match="No space left") as caught:
        files.put(path, 8, b"three\n")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"one\ntwo\n"


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    kept = ["a.safetensors", ".a.safetensors", "a.safetensors.x.tmp", ".b.x.tmp", "step-3.bin"]
    for name in (*kept, ".a.safetensors.1x_.tmp", ".step-12.safetensors.abc.tmp"):
        (tmp_path / name).write_bytes(b"")
    files.clear_leftovers(tmp_path, ("a.safetensors", "step-*.safetensors"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_folders_are_made_with_those_above_them(tmp_path):
    files.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "a" / "b" / "c")


def test_a_folder_that_may_not_last_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        files.make_folder(tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a")
    assert not (tmp_path / "a").exists()
