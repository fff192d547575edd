"""Downloads, from a server of this test on the loopback interface."""

import dataclasses
import gzip
import hashlib
import http.server
import os
import socket
import threading

import pooch
import pytest

from cnncli.datasets import DATASETS, File, download, load
from cnncli.errors import DataError


class Server(http.server.ThreadingHTTPServer):
    """Serves `answers`, path -> (status, body, headers) or a list of them for one request after the other."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests, self.encodings = {}, [], set()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.encodings.add(self.headers["Accept-Encoding"])
        status, body, headers = self.server.answers.get(self.path, (404, b"absent", {}))
        if isinstance(status, list):
            status = status.pop(0)
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def files(tiny_files):
    return {f"{name}.gz": gzip.compress(content) for name, content in tiny_files.items()}


@pytest.fixture
def waits(monkeypatch, files):
    """Make the catalogue's mnist those tiny files; pooch's waits between attempts are noted and skipped."""
    made = tuple(File(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in files.items())
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], files=made, mirrors=()))
    pooch.get_logger().setLevel("INFO")  # as it is before the first download
    waits = []
    monkeypatch.setattr("pooch.core.time.sleep", waits.append)
    return waits


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
    assert len(server.requests) == 4
    assert download("mnist", tmp_path, [mirror]) == paths
    assert len(server.requests) == 4
    assert waits == []
    assert server.encodings == {"identity"}  # else a server may unpack what it sends
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_next_mirror_is_asked_and_then_kept(tmp_path, server, files, waits):
    download("mnist", tmp_path, [server.address + "/bad/", serve(server, files) + "/"])
    names = list(files)
    assert server.requests == [f"/bad/{names[0]}", *(f"/good/{name}" for name in names)]
    assert waits == []  # a 404 is final


def test_the_catalogue_s_mirrors_are_for_those_who_name_none(tmp_path, server, files, waits, monkeypatch):
    own = dataclasses.replace(DATASETS["mnist"], mirrors=(serve(server, files),))
    monkeypatch.setitem(DATASETS, "mnist", own)
    assert "/bad (HTTP 404):" in fail(tmp_path, server.address + "/bad")
    download("mnist", tmp_path)


def test_a_passing_failure_is_tried_again(tmp_path, server, files, waits):
    mirror = serve(server, files, status=200)
    name = next(iter(files))
    server.answers[f"/good/{name}"] = ([503, 503, 200], files[name], {})
    download("mnist", tmp_path, [mirror])
    assert waits == [1, 2]
    assert "(HTTP 503)" in fail(tmp_path / "other", serve(server, files, "/busy", status=503))


def test_wrong_bytes_are_refused(tmp_path, server, files, waits):
    wrong = {name: content[:-1] + b"?" for name, content in files.items()}
    message = fail(tmp_path, serve(server, wrong))
    name = next(iter(files))
    assert message.startswith(f"mnist: no mirror gave {name}: {server.address}/good (wrong checksum)")
    short = {name: content[:-1] for name, content in files.items()}
    assert "(wrong checksum)" in fail(tmp_path, serve(server, short))


def test_more_bytes_than_published_are_refused(tmp_path, server, files, waits):
    endless = {name: bytes(1_000_000) for name in files}
    assert f"(more than {len(next(iter(files.values())))} bytes)" in fail(tmp_path, serve(server, endless))


def test_an_answer_that_breaks_off_is_refused(tmp_path, server, files, waits):
    broken = serve(server, {name: content[:10] for name, content in files.items()}, **{"Content-Length": "20"})
    assert "(connection failed)" in fail(tmp_path, broken)


def test_nobody_there(tmp_path, files, waits):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert f"{mirror} (Connection refused)" in fail(tmp_path, mirror)


def test_an_address_of_no_use(tmp_path, files, waits):
    assert "http://a..b/ (not a usable address)" in fail(tmp_path, "http://a..b/")


def test_a_password_is_not_shown(tmp_path, server, files, waits):
    message = fail(tmp_path, server.address.replace("//", "//me:secret@"))
    assert f"{server.address} (HTTP 404)" in message


def test_a_redirect_to_another_scheme_is_not_followed(tmp_path, server, files, waits):
    mirror = serve(server, files, status=302, Location="file:///etc/passwd")
    assert "(connection failed)" in fail(tmp_path, mirror)


def test_a_folder_is_a_mirror(tmp_path, files, waits, message_of):
    folder, home = tmp_path / "mirror", tmp_path / "home"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for path in download("mnist", home, [str(tmp_path / "absent"), str(folder)]):
        assert path.read_bytes() == files[path.name]
        assert path.stat().st_mode & 0o777 == 0o644
    (folder / path.name).write_bytes(b"wrong")
    path.unlink()
    assert "(wrong checksum)" in message_of(download, "mnist", home, [str(folder)])
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


def test_progress_draws_on_stderr_only(tmp_path, server, files, waits, capfd):
    download("mnist", tmp_path, [serve(server, files)], progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


def test_every_file_of_the_catalogue_has_a_checksum_and_a_size():
    for entry in DATASETS.values():
        assert entry.bundled or entry.mirrors
        for file in entry.files:
            assert file.size
        for file in [entry.archive] if entry.archive else entry.files:
            kind, _, digest = file.checksum.partition(":")
            assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size
