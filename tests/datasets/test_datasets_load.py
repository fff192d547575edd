import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnncli.datasets import DATASETS, data_home, load

REAL = Path(os.environ.get("CNNCLI_TEST_DATA") or Path(__file__).parents[3] / "shared" / "datasets")


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="real data: neither ../shared/datasets nor CNNCLI_TEST_DATA")
def test_the_real_mnist():
    mnist = load("mnist", REAL)
    assert (len(mnist.train.labels), len(mnist.test.labels)) == DATASETS["mnist"].counts
    assert mnist.train.images.shape == (60000, 1, 28, 28, 1)
    assert mnist.train.images.mean() == pytest.approx(33.3, abs=0.1)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.parametrize("sub", ["", "fashion-mnist"])
def test_a_known_name_is_found_below_and_in_the_home(tmp_path, tiny_files, sub):
    folder = tmp_path / sub
    folder.mkdir(exist_ok=True)
    for name, content in tiny_files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    dataset = load("fashion-mnist", tmp_path)
    assert (dataset.name, dataset.source, len(dataset.train.labels)) == ("fashion-mnist", str(folder), 6)
    assert dataset.classes[:2] == ("T-shirt/top", "Trouser")


def test_a_known_name_that_is_not_there_says_what_to_do(tmp_path, tiny_files, message_of):
    message = message_of(load, "mnist", tmp_path)
    for words in ("train-images-idx3-ubyte", str(tmp_path / "mnist"), "`cnncli download mnist`", "--data-dir"):
        assert words in message
    for name, content in list(tiny_files.items())[:3]:
        (tmp_path / name).write_bytes(content)
    message = message_of(load, "mnist", tmp_path)
    assert message.startswith("mnist: t10k-labels-idx1-ubyte (or .gz) not found in ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnits", "did you mean mnist?"),
        ("Fashion_MNIST", "did you mean fashion-mnist?"),
        ("digit", "did you mean digits?"),
        ("no/such.npz", "Data sets: cifar-10, cifar-100, digits, fashion-mnist, mnist"),
        ("x" * 5000, "Data sets: cifar-10, cifar-100, digits, fashion-mnist, mnist"),
        ("~\0", "Data sets: cifar-10, cifar-100, digits, fashion-mnist, mnist"),
        ("~\ud800x/y", "Data sets: cifar-10, cifar-100, digits, fashion-mnist, mnist"),
        ("a\nb\0c", "Data sets: cifar-10, cifar-100, digits, fashion-mnist, mnist"),
    ],
)
def test_an_unknown_name(name, words, message_of):
    assert words in message_of(load, name)


def test_a_path_that_is_no_data_set(tmp_path, message_of):
    assert "holds no data set" in message_of(load, tmp_path)
    (tmp_path / "notes.txt").write_text("none")
    assert "not a data set" in message_of(load, tmp_path / "notes.txt")


def test_memory_that_runs_out_is_one_line(tiny_folder, monkeypatch, message_of):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("cnncli.datasets.idx.check_images", fail)
    assert message_of(load, tiny_folder) == f"{tiny_folder}: does not fit into memory"


def test_data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNCLI_DATA", str(tmp_path))
    assert data_home() == tmp_path
    assert data_home(tmp_path / "other") == tmp_path / "other"
    monkeypatch.delenv("CNNCLI_DATA")
    assert data_home().name == "cnncli"


@pytest.mark.parametrize(("folder", "shown"), [("~\0", r"~\x00"), ("~\ud800x", r"~\ud800x")])
def test_a_data_home_of_no_user(folder, shown, message_of):
    assert message_of(load, "mnist", folder) == f"{shown}: not a folder's name: give --data-dir another"


def test_loading_imports_nothing_slow():
    code = "import sys; from cnncli.datasets import load; load('digits'); print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for name in ("pooch", "requests", "PIL", "numba"):
        assert f"'{name}'" not in modules
