"""What the tests of data sets share: small IDX files, and a server that has them."""

import dataclasses
import gzip
import hashlib

import numpy as np
import pooch
import pytest
from serving import Server

from cnncli.datasets import DATASETS, File
from cnncli.datasets.idx import FILES
from cnncli.errors import DataError


def encode(array: np.ndarray, kind: int = 0x08) -> bytes:
    """The bytes of an IDX file that holds `array`."""
    return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture(scope="session")
def encode_idx():
    return encode


@pytest.fixture(scope="session")
def tiny_files():
    """MNIST's four file names with the bytes of 6 training and 4 test images of 3x2 in 3 classes."""
    images = np.arange(60, dtype=np.uint8).reshape(10, 3, 2)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], np.uint8)
    arrays = (images[:6], labels[:6], images[6:], labels[6:])
    return {name: encode(array) for name, array in zip(FILES, arrays, strict=True)}


@pytest.fixture
def tiny_folder(tmp_path, tiny_files):
    """A folder of those files, the images compressed."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, content in tiny_files.items():
        if "images" in name:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def message_of():
    """A function that calls another, which must raise a DataError of one line, and returns that line."""

    def call(function, *arguments) -> str:
        with pytest.raises(DataError) as caught:
            function(*arguments)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return call


@pytest.fixture
def direct(monkeypatch):
    """No proxy stands between."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for spelt in (name, name.upper()):
            monkeypatch.delenv(spelt, raising=False)


@pytest.fixture
def server(direct):
    with Server().running() as server:
        yield server


@pytest.fixture
def files(tiny_files):
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in tiny_files.items()}


@pytest.fixture
def waits(monkeypatch, files):
    """Make the catalogue's mnist those tiny files; pooch's waits between attempts are noted and skipped."""
    made = tuple(File(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in files.items())
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], files=made, mirrors=()))
    pooch.get_logger().setLevel("INFO")  # as it is before the first download
    waits = []
    monkeypatch.setattr("pooch.core.time.sleep", waits.append)
    return waits


@pytest.fixture
def only(files, monkeypatch, waits):
    """Make the catalogue's mnist the first of the four files alone: its name and its content."""
    entry = DATASETS["mnist"]
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(entry, files=entry.files[:1]))
    return next(iter(files.items()))
