"""Servers that fail in every way: the right file from the next mirror, or one line and no file."""

import socket
from dataclasses import dataclass
from typing import Any

import pytest
from serving import CERTIFICATE, Server, ranged

from cnncli.datasets import download, web

SLOW = ("silent", "stalls", "slow loris", "goes on", "drips a head", "drips a trailer", "trailers without end")
PAGE = b"<!doctype html><title>Sign in to this network</title>"


@dataclass(frozen=True)
class Fault:
    """What a server answers in place of a file's `content`, and what the message says; `tried` times it is asked."""

    answer: Any  # a function of the content
    message: str
    tried: int = 1


def plain(body: bytes, status: int = 200, **headers):
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


def endless(handler):
    handler.begin(200, {})
    while not handler.server.ended.is_set():
        handler.wfile.write(bytes(2**16))


def chunked(body: bytes, end: bytes = b"0\r\n\r\n"):
    def answer(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.begin(200, {"Transfer-Encoding": "chunked", "Connection": "close"})
        handler.wfile.write(b"%x\r\n%b\r\n%b" % (len(body), body, end))

    return answer


def raw(answer: bytes):
    return lambda handler: handler.wfile.write(answer)


def repeated(before: bytes, piece: bytes, pause: float = 0):
    """`before`, then `piece` again and again."""

    def answer(handler):
        handler.wfile.write(before)
        while not handler.server.ended.wait(pause):
            handler.wfile.write(piece)

    return answer


LAST = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"


FAULTS = {
    "absent": Fault(lambda _: plain(b"", 404), "HTTP 404"),
    "forbidden": Fault(lambda _: plain(b"", 403), "HTTP 403"),
    "busy": Fault(lambda _: plain(b"", 429), "HTTP 429", tried=3),
    "down": Fault(lambda _: plain(b"", 503), "HTTP 503", tried=3),
    "silent": Fault(lambda _: lambda handler: handler.server.ended.wait(60), "no answer in time", tried=3),
    "stalls": Fault(lambda c: ranged(c, most=5, stall=True), "no answer in time", tried=3),
    "slow loris": Fault(lambda c: ranged(c, pause=0.02), "too slow", tried=3),
    "goes on": Fault(lambda _: repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer in time", tried=3),
    "drips a head": Fault(lambda _: repeated(b"HTTP/1.1 200 OK\r\nA: ", b"a", 0.02), "no answer in time", tried=3),
    "drips a trailer": Fault(lambda _: repeated(LAST, b"a", 0.02), "no answer in time", tried=3),
    "trailers without end": Fault(lambda _: repeated(LAST, b"A: a\r\n"), "no answer in time", tried=3),
    "hangs up": Fault(lambda _: raw(b""), "connection failed", tried=3),
    "breaks off": Fault(lambda c: ranged(c, most=5), "connection failed", tried=3),
    "breaks off in a chunk": Fault(lambda c: chunked(c[:5], b"20\r\nfew"), "connection failed", tried=3),
    "ends early": Fault(lambda c: plain(c[:-1], Content_Length=None), "sends {less} bytes, expected {size}"),
    "is shorter": Fault(lambda c: plain(c[:-1]), "sends {less} bytes, expected {size}"),
    "is longer": Fault(lambda c: plain(c + b"?"), "sends {more} bytes, expected {size}"),
    "is longer, no length": Fault(lambda c: plain(c + b"?", Content_Length=None), "sends more than {size} bytes"),
    "is endless": Fault(lambda _: endless, "sends more than {size} bytes"),
    "length too small": Fault(lambda c: plain(c, Content_Length="7"), "sends 7 bytes, expected {size}"),
    "length too large": Fault(lambda c: plain(c, Content_Length="9" * 30), "sends {nines} bytes, expected {size}"),
    "length no number": Fault(lambda c: plain(c[:-1], Content_Length="all"), "sends {less} bytes, expected {size}"),
    "length negative": Fault(lambda c: plain(c[:-1], Content_Length="-1"), "sends {less} bytes, expected {size}"),
    "wrong bytes": Fault(lambda c: plain(c[:-1] + b"?"), "wrong checksum", tried=3),
    "a page": Fault(lambda _: plain(PAGE, Content_Type="text/html"), "sends {page} bytes, expected {size}"),
    "a page, chunked": Fault(lambda _: chunked(PAGE), "sends {page} bytes, expected {size}"),
    "nothing": Fault(lambda _: plain(b"", 204), "sends 0 bytes, expected {size}"),
    "a part unasked": Fault(lambda c: plain(c[:9], 206, Content_Range="bytes 0-8/9"), "sends 9 bytes, expected {size}"),
    "not http": Fault(lambda _: raw(b"220 ready for mail\r\n"), "connection failed", tried=3),
    "an endless header": Fault(lambda _: raw(b"HTTP/1.1 200 OK\r\nA: " + bytes(10**6)), "connection failed", tried=3),
    "a circle": Fault(lambda _: plain(b"", 302, Location="/bad/again"), "connection failed", tried=3),
    "to itself, endless": Fault(
        lambda _: repeated(b"HTTP/1.1 302 Found\r\nLocation: /bad/again\r\n\r\n", bytes(2**16)),
        "connection failed",
        tried=3,
    ),
    "to a file": Fault(lambda _: plain(b"", 302, Location="file:///etc/passwd"), "connection failed", tried=3),
    "to nowhere": Fault(lambda _: plain(b"", 302, Location="http://a..b/"), "not a usable address"),
}


def serve(server, files, folder, answer):
    for name, content in files.items():
        server.answers[f"/{folder}/{name}"] = answer(content)
    return f"{server.address}/{folder}"


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_and_no_file(tmp_path, server, only, waits, message_of, monkeypatch, fault):
    name, content = only
    if fault in SLOW:
        monkeypatch.setattr(web, "TIMEOUT", 0.3)
    bad = serve(server, {name: content, "again": content}, "bad", FAULTS[fault].answer)
    message = message_of(download, "mnist", tmp_path, [bad])
    numbers = {"size": len(content), "less": len(content) - 1, "more": len(content) + 1, "page": len(PAGE)}
    expected = FAULTS[fault].message.format(**numbers, nines="9" * 30)
    assert message == f"mnist: no mirror gave {name}: {bad} ({expected}): name another with --mirror URL_OR_FOLDER"
    assert waits == [1, 2][: FAULTS[fault].tried - 1]
    assert not (tmp_path / "mnist" / name).exists()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_mends_it(tmp_path, server, only, monkeypatch, fault):
    name, content = only
    if fault in SLOW:
        monkeypatch.setattr(web, "TIMEOUT", 0.3)
    bad = serve(server, {name: content, "again": content}, "bad", FAULTS[fault].answer)
    (path,) = download("mnist", tmp_path, [bad, serve(server, {name: content}, "good", ranged)])
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_nobody_there(tmp_path, only, waits, message_of):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert f"{mirror} (Connection refused)" in message_of(download, "mnist", tmp_path, [mirror])


def test_a_passing_failure_is_tried_again(tmp_path, server, only, waits):
    name, content = only
    server.answers[f"/good/{name}"] = ([503, 503, 200], content, {})
    (path,) = download("mnist", tmp_path, [server.address + "/good"])
    assert path.read_bytes() == content
    assert waits == [1, 2]


def test_a_file_that_is_called_an_encoding(tmp_path, server, only, waits):
    # so do some servers with each .gz, and clients unpack it unless they are told not to
    mirror = serve(server, dict([only]), "good", lambda content: plain(content, Content_Encoding="gzip"))
    (path,) = download("mnist", tmp_path, [mirror])
    assert path.read_bytes() == only[1]


@pytest.fixture
def encrypted(direct):
    with Server(encrypted=True).running() as server:
        yield server


def test_encryption_that_cannot_be_trusted(tmp_path, server, encrypted, only, waits, message_of, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    mirror = serve(encrypted, dict([only]), "good", ranged)
    message = message_of(download, "mnist", tmp_path, [mirror])
    assert f"{mirror} (" in message
    assert "self-signed certificate" in message
    assert encrypted.asked == []
    plain_text = server.address.replace("http:", "https:")
    assert "SSL" in message_of(download, "mnist", tmp_path, [plain_text])


def test_encryption_is_not_given_up(tmp_path, server, encrypted, only, waits, message_of, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    name, content = only
    elsewhere = serve(server, dict([only]), "good", ranged)
    encrypted.answers[f"/bad/{name}"] = plain(b"", 302, Location=f"{elsewhere}/{name}")
    bad, good = f"{encrypted.address}/bad", serve(encrypted, dict([only]), "good", ranged)
    message = message_of(download, "mnist", tmp_path, [bad])
    assert f"{bad} (redirects from https to an address without it)" in message
    assert server.asked == []
    encrypted.answers[f"/bad/{name}"] = plain(b"", 302, Location=f"/good/{name}")
    (path,) = download("mnist", tmp_path, [bad])
    assert path.read_bytes() == content
    path.unlink()
    server.answers[f"/to/{name}"] = plain(b"", 301, Location=f"{good}/{name}")
    (path,) = download("mnist", tmp_path, [server.address + "/to"])
    assert path.read_bytes() == content
