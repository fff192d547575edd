"""Finding a specification: files first, then the zoo; whatever else a path may be is one line."""

import errno
import os
from pathlib import Path

import pytest

from cnncli.errors import SpecificationError
from cnncli.spec import files, models, read

pytestmark = pytest.mark.usefixtures("stand_in_layers")

TEXT = "name: {}\ninput: {{channels: 1, size: [8]}}\nlayers: [relu]\n"


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo of two models, and an empty folder to work in."""
    (tmp_path / "models").mkdir()
    (tmp_path / "work").mkdir()
    for name in ("vgg", "lenet"):
        (tmp_path / "models" / f"{name}.yaml").write_text(TEXT.format(f"zoo-{name}"))
    (tmp_path / "models" / "README.md").write_text("not a model")
    monkeypatch.setattr(files, "bundled", lambda kind: tmp_path / kind)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "models"


@pytest.fixture
def work(zoo):
    return zoo.parent / "work"


def refused(name: str) -> str:
    with pytest.raises(SpecificationError) as caught:
        read(name)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_zoo_is_listed_by_name(zoo):
    assert models() == [("lenet", zoo / "lenet.yaml"), ("vgg", zoo / "vgg.yaml")]


@pytest.mark.parametrize("name", ["lenet", "lenet.yaml"])
def test_a_name_finds_the_zoo(zoo, name):
    assert read(name).name == "zoo-lenet"


@pytest.mark.parametrize("name", ["lenet", "lenet.yaml", "./lenet.yaml"])
def test_a_local_file_wins(work, name):
    (work / "lenet.yaml").write_text(TEXT.format("mine"))
    assert read(name).name == "mine"


def test_a_folder_of_that_name_does_not_hide_the_zoo(work):
    (work / "lenet").mkdir()
    assert read("lenet").name == "zoo-lenet"


def test_other_paths_and_overrides(work):
    (work / "sub").mkdir()
    (work / "sub" / "net.yml").write_bytes(b"\xef\xbb\xbf" + TEXT.format("bom").encode())
    assert read("sub/net.yml").name == "bom"
    assert read(work / "sub" / "net.yml", ["name=other"]).name == "other"


def test_a_mistake_names_the_file_as_it_was_given(work):
    (work / "bad.yaml").write_text("name: x\nlayesr: 3\n")
    assert refused("bad.yaml").startswith('bad.yaml:2: unknown key "layesr"; did you mean "layers"?')


@pytest.mark.usefixtures("zoo")
def test_a_missing_file_names_the_nearest_model():
    assert refused("lenett.yaml") == (
        'no file and no model of the zoo is called "lenett.yaml"; did you mean "lenet"? (cnncli models lists the zoo)'
    )
    assert refused("qqqqqqq") == 'no file and no model of the zoo is called "qqqqqqq" (cnncli models lists the zoo)'


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 5000, "\udcff", "no/such/folder/net.yaml", "lenet.yaml/x"])
def test_odd_names_are_one_line(name):
    assert refused(name).startswith("no file and no model of the zoo is called ")


def test_not_a_regular_file_is_refused_without_waiting(work):
    os.mkfifo(work / "pipe")
    (work / "folder").mkdir()
    (work / "loop").symlink_to("loop")
    assert refused("pipe") == "pipe: not a regular file"
    assert refused("folder") == "folder: not a regular file"
    assert refused("/dev/zero") == "/dev/zero: not a regular file"
    assert refused("loop").startswith("no file and no model")


def test_bytes_that_are_not_utf8_are_refused_with_their_line(work):
    (work / "latin.yaml").write_bytes(b"name: x\n# caf\xe9\n")
    assert refused("latin.yaml") == "latin.yaml:2: not UTF-8 text: byte 0xE9"
    (work / "nul.yaml").write_bytes(b"name: x\n\0\n")
    assert refused("nul.yaml") == "nul.yaml:2: the character U+0000 is not allowed"


def test_a_file_of_more_than_a_megabyte_is_refused(work):
    (work / "large.yaml").write_bytes(b"#" * 1_000_001)
    assert refused("large.yaml") == "large.yaml:1: larger than 1 MB"
    (work / "sparse.yaml").touch()
    os.truncate(work / "sparse.yaml", 1 << 40)
    assert refused("sparse.yaml") == "sparse.yaml:1: larger than 1 MB"


def test_a_file_that_may_not_be_read(work, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (work / "secret.yaml").write_text("")
    monkeypatch.setattr(Path, "open", denied)
    assert refused("secret.yaml") == "secret.yaml: cannot be read: Permission denied"


def test_an_empty_file(work):
    (work / "empty.yaml").write_text("")
    assert refused("empty.yaml").startswith("empty.yaml:1: the file is empty")
