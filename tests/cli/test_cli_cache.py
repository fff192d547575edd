"""`cnncli cache`."""

import json

import pytest

from cnncli import kernels

CURRENT, STALE = "0123456789abcdef", "fedcba9876543210"


def fill(folder, size: int = 100) -> None:
    (folder / "kernels_1").mkdir(parents=True)
    (folder / "kernels_1" / "conv.nbi").write_bytes(b"i")
    (folder / "kernels_1" / "conv.1.nbc").write_bytes(bytes(size - 1))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache with this version's folder and another's, and much that cnncli did not make."""
    home = tmp_path / "cache"
    fill(home / CURRENT)
    fill(home / STALE, 300)
    for name in ("models", CURRENT[:-1], CURRENT + "0", CURRENT.upper(), f".{CURRENT}"):
        fill(home / name)
    (home / "aaaaaaaaaaaaaaaa").write_text("a file")
    fill(tmp_path / "elsewhere")
    (home / "bbbbbbbbbbbbbbbb").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    monkeypatch.setenv("CNNCLI_CACHE", str(home))
    monkeypatch.setattr(kernels, "CACHE", home / CURRENT)
    return home


def removed(home, before: set[str]) -> set[str]:
    return before - {path.name for path in home.iterdir()}


def test_info(run, home):
    ended = run("cache", "info", "--json")
    expected = {"folder": str(home / CURRENT), "entries": 1, "bytes": 100, "stale_folders": 1, "stale_bytes": 300}
    assert json.loads(ended.out) == expected
    lines = run("cache", "info").out.splitlines()
    assert lines[0] == f"folder   {home / CURRENT}"
    assert lines[2].startswith("stale    1 folder of other versions")


def test_clear_removes_kernels_and_nothing_else(run, home, tmp_path):
    before = {path.name for path in home.iterdir()}
    ended = run("cache", "clear")
    assert (ended.code, ended.err) == (0, "")
    assert removed(home, before) == {CURRENT, STALE}
    assert (tmp_path / "elsewhere" / "kernels_1" / "conv.nbi").exists()


def test_clear_stale(run, home):
    before = {path.name for path in home.iterdir()}
    ended = run("cache", "clear", "--stale", "--json")
    assert json.loads(ended.out) == {"home": str(home), "folders": 1, "bytes": 300}
    assert removed(home, before) == {STALE}


def test_empty(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CNNCLI_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr(kernels, "CACHE", tmp_path / "none" / CURRENT)
    info = json.loads(run("cache", "info", "--json").out)
    assert (info["entries"], info["bytes"], info["stale_folders"]) == (0, 0, 0)
    assert json.loads(run("cache", "clear", "--json").out)["folders"] == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.filterwarnings("ignore:overflow encountered")  # the wrapping products of `mix`, with NUMBA_DISABLE_JIT=1
def test_warm(run):
    ended = run("cache", "warm", "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["folder"] == str(kernels.CACHE)
    assert found["seconds"] > 0


def test_needs_a_command(mistake):
    assert mistake("cache", "burn")[0] == 2
