"""`cnncli download`, from folders: the network is not for tests."""

import hashlib
import json

import pytest

from cnncli.datasets import DATASETS, Entry, File
from cnncli.resources import bundled

CONTENTS = {"images": b"many pixels", "labels": b"few labels"}


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder with the files of a data set `tiny` that the catalogue knows, which has no other mirror."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    files = tuple(File(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in CONTENTS.items())
    entry = Entry("Tiny", files, (str(tmp_path / "nowhere"),), "none", ("0", "1"), (1, 2, 2), (2, 1))
    monkeypatch.setitem(DATASETS, "tiny", entry)
    return folder


def test_prints_the_folder(run, mirror, tmp_path):
    ended = run("download", "tiny", "--data-dir", tmp_path / "data", "--mirror", mirror)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{tmp_path / 'data' / 'tiny'}\n"
    for name, content in CONTENTS.items():
        assert (tmp_path / "data" / "tiny" / name).read_bytes() == content


def test_json(run, mirror, tmp_path):
    ended = run("download", "tiny", "--data-dir", tmp_path, "--mirror", mirror, "--json")
    assert json.loads(ended.out) == {"name": "tiny", "folder": str(tmp_path / "tiny"), "files": list(CONTENTS)}


def test_second_mirror_where_the_first_has_nothing(run, mirror, tmp_path):
    (tmp_path / "empty").mkdir()
    mirrors = ("--mirror", tmp_path / "empty", "--mirror", mirror)
    assert run("download", "tiny", "--data-dir", tmp_path / "data", *mirrors).code == 0


def test_second_time_needs_no_mirror(run, mirror, tmp_path):
    run("download", "tiny", "--data-dir", tmp_path, "--mirror", mirror)
    ended = run("download", "tiny", "--data-dir", tmp_path, "--mirror", tmp_path / "nowhere")
    assert (ended.code, ended.out) == (0, f"{tmp_path / 'tiny'}\n")


def test_bundled_needs_nothing(run):
    ended = run("download", "digits")
    assert (ended.code, ended.out, ended.err) == (0, f"{bundled('data') / 'digits'}\n", "")


def test_no_mirror_has_it(mistake, mirror, tmp_path):
    (mirror / "labels").unlink()
    code, line = mistake("download", "tiny", "--data-dir", tmp_path / "data", "--mirror", mirror)
    assert code == 3
    assert "labels" in line
    assert "--mirror" in line


def test_unknown_name(mistake):
    code, line = mistake("download", "mnits")
    assert code == 3
    assert "did you mean mnist?" in line
