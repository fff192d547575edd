"""Downloads that were interrupted, in whatever way, and processes that want the same file at once."""

import os
import random
import signal
import time

import pytest
from downloading import ended, start
from serving import ranged

from cnncli import locks
from cnncli.datasets import download, partial

CONTENT = random.Random(0).randbytes(300_000)
FILES = {"made.bin": CONTENT}
HUNG = 60  # seconds


@pytest.fixture
def place(tmp_path):
    """The folder of files that are not whole yet."""
    place = tmp_path / "mnist" / partial.NAME
    place.mkdir(parents=True)
    return place


def serve(server, files, folder="good", answer=ranged, **options):
    for name, content in files.items():
        server.answers[f"/{folder}/{name}"] = answer(content, **options)
    return f"{server.address}/{folder}"


def test_only_what_is_missing_is_asked_for(tmp_path, server, only, waits):
    name, content = only
    broken, good = serve(server, {name: content}, "bad", most=5), serve(server, {name: content})
    (path,) = download("mnist", tmp_path, [broken, good])
    assert path.read_bytes() == content
    assert server.ranges == [None, "bytes=5-", "bytes=10-", "bytes=15-"]
    assert list(path.parent.iterdir()) == [path]
    assert waits == [1, 2]


def test_an_answer_that_brought_much_is_not_a_failed_attempt(tmp_path, server, only, waits, monkeypatch):
    name, content = only
    monkeypatch.setattr("cnncli.datasets.web.STRIDE", 5)
    (path,) = download("mnist", tmp_path, [serve(server, {name: content}, most=5)])
    assert path.read_bytes() == content
    assert len(server.asked) == -(-len(content) // 5)
    assert waits == []


LEFT = {
    "a part": (lambda content: content[:7], ["bytes=7-"]),
    "a wrong part": (lambda content: b"?" * 7, ["bytes=7-", None]),
    "an empty part": (lambda content: b"", [None]),
    "the whole": (lambda content: content, []),
    "as long, and wrong": (lambda content: b"?" * len(content), [None]),
    "too long": (lambda content: content + b"?", [None]),
}


@pytest.mark.parametrize("left", LEFT)
def test_a_part_that_was_left_is_never_trusted(tmp_path, place, server, only, waits, left):
    name, content = only
    make, ranges = LEFT[left]
    (place / f"{name}.part").write_bytes(make(content))
    (path,) = download("mnist", tmp_path, [serve(server, {name: content})])
    assert path.read_bytes() == content
    assert server.ranges == ranges
    assert list(path.parent.iterdir()) == [path]


RANGES = {
    "no ranges": lambda content: (200, content, {}),
    "refused": lambda content: (
        lambda handler: handler.begin(416, {}) if handler.headers["Range"] else ranged(content)(handler)
    ),
    "another range": lambda content: (
        lambda handler: (
            handler.begin(206, {"Content-Range": f"bytes 3-{len(content) - 1}/{len(content)}"})
            if handler.headers["Range"]
            else ranged(content)(handler)
        )
    ),
    "no range named": lambda content: (
        lambda handler: (
            handler.begin(206, {"Content-Length": "0"}) if handler.headers["Range"] else ranged(content)(handler)
        )
    ),
}


@pytest.mark.parametrize("kind", RANGES)
def test_servers_without_proper_ranges_give_the_whole(tmp_path, place, server, only, waits, kind):
    name, content = only
    (place / f"{name}.part").write_bytes(content[:7])
    (path,) = download("mnist", tmp_path, [serve(server, {name: content}, answer=RANGES[kind])])
    assert path.read_bytes() == content
    assert waits == []


@pytest.mark.parametrize("status", [200, 404, 416, 503])
def test_a_part_outlives_a_mirror_that_has_something_else(tmp_path, place, server, only, waits, status):
    name, content = only
    (place / f"{name}.part").write_bytes(content[:7])
    server.answers[f"/bad/{name}"] = (status, b"<title>Sign in to this network</title>", {})
    (path,) = download("mnist", tmp_path, [server.address + "/bad", serve(server, {name: content})])
    assert path.read_bytes() == content
    assert server.asked[-1] == f"/good/{name}"
    assert server.ranges[-1] == "bytes=7-"


def test_what_else_was_left_is_removed(tmp_path, place, server, only, waits):
    name, content = only
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_bytes(b"mine")
    (place / "tmp12345").write_bytes(b"pooch's")
    (place / "folder" / "inner").mkdir(parents=True)
    (place / "link").symlink_to(outside)
    os.mkfifo(place / "fifo")
    (place / f"{name}.part").symlink_to(outside / "mine")
    (path,) = download("mnist", tmp_path, [serve(server, {name: content})])
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    path.unlink()
    place.symlink_to(outside)
    download("mnist", tmp_path, [serve(server, {name: content})])
    assert list(path.parent.iterdir()) == [path]
    assert (outside / "mine").read_bytes() == b"mine"


@pytest.mark.parametrize("lacks", ["fcntl", "flock"])
def test_without_locks_nothing_is_continued(tmp_path, server, only, waits, monkeypatch, message_of, lacks):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "KNOWN", False) if lacks == "fcntl" else monkeypatch.setattr("fcntl.flock", refuse)
    name, content = only
    message_of(download, "mnist", tmp_path, [serve(server, {name: content}, most=5)])
    assert list((tmp_path / "mnist").iterdir()) == []
    (path,) = download("mnist", tmp_path, [serve(server, {name: content})])
    assert path.read_bytes() == content


def wait_for(condition):
    """What `condition()` gives as soon as it is true."""
    deadline = time.monotonic() + HUNG
    while not (found := condition()):
        assert time.monotonic() < deadline, "it hung"
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGKILL, -9, ""), (signal.SIGTERM, -15, ""), (signal.SIGINT, 130, "\nerror: interrupted\n")],
    ids=["kill", "term", "int"],
)
def test_a_process_that_is_ended_leaves_what_the_next_goes_on_with(tmp_path, server, number, code, said):
    first = start(tmp_path, serve(server, FILES, "stall", most=200_000, stall=True), FILES)
    part = tmp_path / "made" / partial.NAME / "made.bin.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 100_000)
    assert not (tmp_path / "made" / "made.bin").exists()
    first.send_signal(number)
    assert ended(first) == (code, "", said)
    there = part.stat().st_size
    assert part.read_bytes() == CONTENT[:there]
    second = start(tmp_path, serve(server, FILES), FILES)
    assert ended(second) == (0, f"{tmp_path}/made\n", "")
    assert server.ranges == [None, f"bytes={there}-"]
    (path,) = (tmp_path / "made").iterdir()
    assert path.read_bytes() == CONTENT


def test_ten_processes_at_once(tmp_path, server):
    """The file is fetched once; the others wait, and go on where the one that is killed in the middle was."""
    mirror = serve(server, FILES, most=200_000, stall=True)
    processes = [start(tmp_path, mirror, FILES) for _ in range(10)]
    wait_for(lambda: server.asked)
    part = tmp_path / "made" / partial.NAME / "made.bin.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 100_000)
    serve(server, FILES)
    (working,) = [process for process in processes if _has_open(process, part)]
    working.kill()
    results = [ended(process) for process in processes if process is not working]
    assert results == [(0, f"{tmp_path}/made\n", "")] * 9
    assert len(server.asked) == 2
    working.communicate()
    (path,) = (tmp_path / "made").iterdir()
    assert path.read_bytes() == CONTENT


def _has_open(process, path) -> bool:
    folder = f"/proc/{process.pid}/fd"
    return any(os.path.realpath(f"{folder}/{number}") == str(path) for number in os.listdir(folder))


@pytest.mark.parametrize("most", [0, 4096, 299_999])
def test_a_disk_that_fills(tmp_path, server, most):
    """A limit on the size of files stands for the end of the disk; tests/robustness/full_disk.py fills a real one."""
    code, out, err = ended(start(tmp_path, serve(server, FILES), FILES, largest=most))
    assert (code, out) == (3, "")
    assert err == f"error: {tmp_path}/made: cannot be written: File too large\n"
    assert not (tmp_path / "made" / "made.bin").exists()
    assert ended(start(tmp_path, serve(server, FILES), FILES))[0] == 0
    assert (tmp_path / "made" / "made.bin").read_bytes() == CONTENT


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: tests/robustness/full_disk.py mounts a disk")
def test_a_folder_that_cannot_be_written(tmp_path, server, only, waits, message_of):
    name, content = only
    mirror = serve(server, {name: content})
    (path,) = download("mnist", tmp_path, [mirror])
    path.parent.chmod(0o500)
    assert download("mnist", tmp_path, [mirror]) == [path]
    path.parent.chmod(0o700)
    path.unlink()
    path.parent.chmod(0o500)
    message = message_of(download, "mnist", tmp_path, [mirror])
    assert message == f"{path.parent}/{partial.NAME}: cannot be written: Permission denied"
