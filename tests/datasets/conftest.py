"""What the tests of data sets share: small IDX files."""

import gzip

import numpy as np
import pytest

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
