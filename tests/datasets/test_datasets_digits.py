import hashlib
import re

import numpy as np

from cnncli.datasets import DATASETS, download, load
from cnncli.resources import bundled

ENTRY = DATASETS["digits"]


def test_counts_and_layout():
    digits = load("digits")
    assert (digits.name, digits.source, digits.rank) == ("digits", "bundled", 2)
    assert digits.classes == tuple("0123456789")
    assert digits.train.images.shape == (1442, 1, 8, 8, 1)
    assert digits.test.images.shape == (355, 1, 8, 8, 1)
    assert (len(digits.train.labels), len(digits.test.labels)) == ENTRY.counts
    assert (digits.channels, *digits.axes) == ENTRY.input


def test_every_class_is_split_four_to_one():
    digits = load("digits")
    train, test = np.bincount(digits.train.labels), np.bincount(digits.test.labels)
    assert len(train) == len(test) == 10
    np.testing.assert_array_equal(test, (train + test) // 5)


def test_pixels_span_the_bytes_in_seventeen_levels():
    digits = load("digits")
    levels = np.unique(np.concatenate([digits.train.images.ravel(), digits.test.images.ravel()]))
    np.testing.assert_array_equal(levels, np.rint(np.arange(17) * 255 / 16))


def test_the_first_image_is_that_of_scikit_learn():
    first = [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]
    digits = load("digits")
    np.testing.assert_array_equal(digits.train.images[0, 0, :, :, 0], np.rint(np.array(first) * 255 / 16))
    assert digits.train.labels[:10].tolist() == list(range(10))


def test_files_are_those_of_the_catalogue():
    paths = download("digits")
    assert [path.name for path in paths] == [file.name for file in ENTRY.files]
    for path, file in zip(paths, ENTRY.files, strict=True):
        content = path.read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size)


def test_the_readme_counts_what_the_files_hold():
    text = (bundled("data") / "digits" / "README.md").read_text(encoding="utf-8")
    digits = load("digits")
    for row, labels in (("train", digits.train.labels), ("test", digits.test.labels)):
        numbers = re.search(rf"^\| {row} \| (.*) \|$", text, re.MULTILINE)[1].replace(",", "").split(" | ")
        assert [int(number) for number in numbers] == [*np.bincount(labels), len(labels)]
