"""Four algorithms for one convolution: the textbook's figures, and the same numbers from each."""

import numpy as np
import pytest

from cnncli.benchmark import algorithms, suites
from cnncli.kernels import sparse
from cnncli.kernels.program import Program


def test_the_textbooks_edge_detection():
    """Goodfellow et al. 2016, figure 9.6: "319 x 280 x 3 = 267,960 floating point operations", "over eight billion
    entries in the matrix", "over sixteen billion floating point operations", "2 x 319 x 280 = 178,640 entries"."""
    found = algorithms.counts(algorithms.edges())
    assert found["direct"] == (2, 267_960)
    assert found["sparse matrix"] == (178_640, 267_960)
    stored, operations = found["dense matrix"]
    assert stored == 320 * 280 * 319 * 280
    assert 8e9 < stored < 8.1e9
    assert 16e9 < operations < 16.1e9
    assert str(algorithms.edges().output) == "1x280x319"


def test_the_textbooks_matrix_is_not_built():
    calls, _ = algorithms.tasks(algorithms.edges())
    assert set(calls) == {"direct", "im2col", "sparse matrix"}


CONVOLUTIONS = [
    "1x7>1 3",
    "6x14>16 5 p0",
    "3x9>4 3/2",
    "3x8>5 1",
    "4x9>4 1/2",
    "6x9>6 3/2 dw",
    "5x6>5 3 dw",
    "16x7>33 3",
]


@pytest.mark.parametrize("text", CONVOLUTIONS)
@pytest.mark.parametrize("images", [1, 3])
def test_all_algorithms_agree_to_the_last_bit(text, images):
    item = suites.parse(text, images)
    calls, outputs = algorithms.tasks(item, integers=True)
    assert set(calls) == set(outputs) == set(algorithms.counts(item))
    for _ in range(2):  # what a call leaves behind must not count in the next
        for call in calls.values():
            call()
    assert np.abs(outputs["direct"]).max() > 0
    for name, output in outputs.items():
        np.testing.assert_array_equal(output, outputs["direct"], err_msg=name)


@pytest.mark.parametrize("text", CONVOLUTIONS)
def test_counts_are_those_of_what_is_built(text):
    item = suites.parse(text, 2)
    weights = np.ones((item.output.channels, item.shape.channels // item.groups, *[item.layer.kernel] * 2))
    matrix = algorithms.matrix(item, weights)
    found = algorithms.counts(item)
    assert matrix.values.size == found["sparse matrix"][0]
    assert matrix.dense().size == found["dense matrix"][0]
    assert np.count_nonzero(matrix.dense()) == matrix.values.size
    assert found["direct"] == (weights.size, 2 * item.output.elements * (2 * weights[0].size - 1))


def test_sparse_product():
    generator = np.random.default_rng(0)
    dense = generator.integers(-3, 4, (7, 5)) * (generator.random((7, 5)) < 0.4)
    dense[2] = 0
    rows, columns = dense.nonzero()
    starts, columns = np.searchsorted(rows, np.arange(8)), np.ascontiguousarray(columns)
    x, y = generator.integers(-9, 9, (3, 5)).astype(np.float32), np.empty((3, 7), np.float32)
    Program([sparse.multiply(y, x, starts, columns, dense[rows, columns].astype(np.float32))])()
    np.testing.assert_array_equal(y, x @ dense.T)
