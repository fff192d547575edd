"""Downloads, from a server of this test on the loopback interface."""

import contextlib
import dataclasses
import hashlib
import os

import pooch
import pytest
from serving import ranged

from cnncli.datasets import DATASETS, download, load
from cnncli.errors import DataError


def serve(server, files, folder="/good", status=200, **headers):
    for name, content in files.items():
        server.answers[f"{folder}/{name}"] = (status, content, headers)
    return server.address + folder


def fail(tmp_path, *mirrors):
    """The message of the DataError that downloading raises; nothing may be left."""
    with pytest.raises(DataError) as caught:
        download("mnist", tmp_path, mirrors)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_download_load_and_a_second_download(tmp_path, server, files, waits, capfd, caplog, monkeypatch):
    monkeypatch.setattr(pooch.get_logger(), "handlers", [caplog.handler])
    mirror = serve(server, files)
    paths = download("mnist", tmp_path, [mirror])
    assert paths == [tmp_path / "mnist" / name for name in files]
    assert [path.read_bytes() for path in paths] == list(files.values())
    assert {path.name for path in (tmp_path / "mnist").iterdir()} == set(files)
    assert len(load("mnist", tmp_path).train.labels) == 6
    assert len(server.asked) == 4
    assert download("mnist", tmp_path, [mirror]) == paths
    assert len(server.asked) == 4
    assert waits == []
    assert {headers["Accept-Encoding"] for headers in server.headers} == {"identity"}  # else a server may unpack it
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_next_mirror_is_asked_and_then_kept(tmp_path, server, files, waits):
    download("mnist", tmp_path, [server.address + "/bad/", serve(server, files) + "/"])
    names = list(files)
    assert server.asked == [f"/bad/{names[0]}", *(f"/good/{name}" for name in names)]
    assert waits == []  # a 404 is final


def test_the_catalogue_s_mirrors_are_for_those_who_name_none(tmp_path, server, files, waits, monkeypatch):
    own = dataclasses.replace(DATASETS["mnist"], mirrors=(serve(server, files),))
    monkeypatch.setitem(DATASETS, "mnist", own)
    assert "/bad (HTTP 404):" in fail(tmp_path, server.address + "/bad")
    download("mnist", tmp_path)


def test_an_address_of_no_use(tmp_path, files, waits):
    assert "http://a..b/ (not a usable address)" in fail(tmp_path, "http://a..b/")


def test_a_password_is_not_shown(tmp_path, server, files, waits):
    message = fail(tmp_path, server.address.replace("//", "//me:secret@"))
    assert f"{server.address} (HTTP 404)" in message


def test_a_folder_is_a_mirror(tmp_path, files, waits, message_of):
    folder, home = tmp_path / "mirror", tmp_path / "home"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for path in download("mnist", home, [str(tmp_path / "absent"), str(folder)]):
        assert path.read_bytes() == files[path.name]
        assert path.stat().st_mode & 0o777 == 0o644
    path.unlink()
    (folder / path.name).write_bytes(files[path.name][:-1] + b"?")
    assert "(wrong checksum)" in message_of(download, "mnist", home, [str(folder)])
    (folder / path.name).write_bytes(b"short")
    assert f"(has 5 bytes, expected {len(files[path.name])})" in message_of(download, "mnist", home, [str(folder)])
    (folder / path.name).unlink()
    os.mkfifo(folder / path.name)
    assert "(not a regular file)" in message_of(download, "mnist", home, [str(folder)])
    assert not path.exists()


def test_a_file_with_a_wrong_checksum_is_replaced(tmp_path, server, files, waits, message_of):
    path = tmp_path / "mnist" / next(iter(files))
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    message_of(download, "mnist", tmp_path, [server.address + "/bad"])
    assert path.read_bytes() == b"damaged"
    download("mnist", tmp_path, [serve(server, files)])
    assert path.read_bytes() == files[path.name]


@pytest.mark.parametrize(
    "mirror",
    ["", "ftp://host/x", "file:///etc", "http://", "http://[::1", "http://host:99999/", "http://host/\n", "sftp://h"],
)
def test_what_is_not_a_mirror_is_refused(tmp_path, mirror, waits):
    assert "not a mirror: give an http or https address, or a folder" in fail(tmp_path, mirror)


def test_a_home_that_cannot_be_used(tmp_path, server, files, waits, message_of):
    blocker = tmp_path / "file"
    blocker.write_text("")
    message = message_of(download, "mnist", blocker, [serve(server, files)])
    assert message == f"{blocker / 'mnist'}: cannot be written: Not a directory"
    taken = tmp_path / "mnist" / next(iter(files))
    taken.mkdir(parents=True)
    message = message_of(download, "mnist", tmp_path, [serve(server, files)])
    assert message == f"{taken}: cannot be written: not a regular file"


def test_an_unknown_name(tmp_path, message_of):
    assert "did you mean mnist?" in message_of(download, "mnits", tmp_path)


def test_progress(tmp_path, server, files, waits):
    bars = []

    class Bar(contextlib.nullcontext):
        def update(self, count):
            bars[-1][-1] += count

    def bar(name, size, there):
        bars.append([name, size, there])
        return Bar(Bar())

    server.answers[f"/good/{next(iter(files))}"] = ranged(next(iter(files.values())), most=5)
    with contextlib.suppress(DataError):
        download("mnist", tmp_path, [server.address + "/good"], bar)
    download("mnist", tmp_path, [serve(server, files)], bar)
    assert [there for _, _, there in bars[:2]] == [5, 10]  # each attempt goes on where the one before broke off
    assert bars[3:] == [[name, len(content), len(content)] for name, content in files.items()]


def test_every_file_of_the_catalogue_has_a_checksum_and_a_size():
    for entry in DATASETS.values():
        assert entry.bundled or entry.mirrors
        for file in entry.files:
            assert file.size
        for file in [entry.archive] if entry.archive else entry.files:
            kind, _, digest = file.checksum.partition(":")
            assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size
