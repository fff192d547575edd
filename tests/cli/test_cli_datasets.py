"""`cnncli datasets`."""

import json

import numpy as np
import pytest
from PIL import Image

from cnncli.datasets import DATASETS, FORMATS
from cnncli.datasets.idx import FILES


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty folder in place of the user's own."""
    monkeypatch.setenv("CNNCLI_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def put(folder):
    """Files of the right names, which are all that the list looks for."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(b"")


def folders(run, *arguments) -> dict:
    found = json.loads(run("datasets", "--json", *arguments).out)["datasets"]
    return {entry["name"]: entry["folder"] for entry in found}


def test_table_lists_the_catalogue(run):
    ended = run("datasets")
    assert (ended.code, ended.err) == (0, "")
    for name, entry in DATASETS.items():
        assert f"\n{name} " in ended.out
        assert entry.title in ended.out
        assert entry.licence in ended.out
    assert "60,000 + 10,000 samples of 1x28x28 in 10 classes" in ended.out
    assert ended.out.count("not downloaded") == len(DATASETS) - 1  # the digits are bundled
    assert not any(line.endswith(" ") for line in ended.out.splitlines())


def test_what_is_read_by_path_is_listed(run):
    out = run("datasets").out
    for kind, text in FORMATS.items():
        assert f"\n{kind} " in out
        assert text in out
    assert json.loads(run("datasets", "--json").out)["formats"] == FORMATS


def test_what_is_in_a_data_set(run):
    found = json.loads(run("datasets", "digits", "--json").out)
    classes = found.pop("classes")
    assert found == {
        "name": "digits", "source": "bundled", "task": "classes", "input": [1, 8, 8], "type": "uint8",
        "train": 1442, "test": 355,
    }  # fmt: skip
    assert [row["class"] for row in classes] == [str(digit) for digit in range(10)]
    assert (sum(row["train"] for row in classes), sum(row["test"] for row in classes)) == (1442, 355)
    out = run("datasets", "digits").out
    assert out.startswith("bundled: 1,442 + 355 samples of 1x8x8 uint8, a class each\n\nclass  train  test\n0 ")


def test_what_is_in_a_folder(run, mistake, tmp_path):
    labels = np.zeros((4, 2, 3), np.uint8)
    labels[1:, 1], labels[3] = 1, 255
    np.savez(tmp_path / "pixels.npz", x_train=labels, y_train=labels, x_test=labels[1:], y_test=labels[1:])
    assert run("datasets", tmp_path / "pixels.npz").out.splitlines() == [
        f"{tmp_path}/pixels.npz: 4 + 3 samples of 1x2x3 uint8, a class for each pixel (pixels are counted below)",
        "",
        "class  train  test",
        "0         12     6",
        "1          6     6",
    ]
    (tmp_path / "mine").mkdir()
    for i in range(5):
        Image.fromarray(labels[0]).save(tmp_path / "mine" / f"{i}.png")
    assert run("datasets", tmp_path / "mine").out == (
        f"{tmp_path}/mine: 4 + 1 samples of 1x2x3 uint8, without classes\n"
    )
    (tmp_path / "mine" / "3.png").write_bytes(b"")
    assert mistake("datasets", tmp_path / "mine") == (3, f"error: {tmp_path}/mine/3.png: is not a JPEG or PNG image")


def test_json_has_every_column(run):
    entry = json.loads(run("datasets", "--json").out)["datasets"][0]
    assert entry["name"] == "digits"
    assert (entry["train"], entry["test"], entry["input"], entry["bundled"]) == (1442, 355, [1, 8, 8], True)
    assert entry["classes"] == [str(digit) for digit in range(10)]
    assert entry["title"]
    assert entry["licence"]


def test_downloaded_in_the_users_folder(run, home):
    assert folders(run)["mnist"] is None
    put(home / "mnist")
    assert folders(run)["mnist"] == str(home / "mnist")
    assert folders(run)["fashion-mnist"] is None
    assert str(home / "mnist") in run("datasets").out


def test_downloaded_in_a_named_folder(run, tmp_path):
    put(tmp_path / "mine" / "fashion-mnist")
    assert folders(run, "--data-dir", tmp_path / "mine")["fashion-mnist"] == str(tmp_path / "mine" / "fashion-mnist")


def test_cifar_s_binaries_are_found(run, home):
    (home / "cifar-10" / "cifar-10-batches-bin").mkdir(parents=True)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (home / "cifar-10" / "cifar-10-batches-bin" / name).write_bytes(b"")
    assert folders(run)["cifar-10"] == str(home / "cifar-10" / "cifar-10-batches-bin")
    assert folders(run)["cifar-100"] is None


def test_incomplete_is_not_downloaded(run, home):
    put(home / "mnist")
    (home / "mnist" / f"{FILES[0]}.gz").unlink()
    assert folders(run)["mnist"] is None
