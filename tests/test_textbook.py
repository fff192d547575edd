"""The numbers of the textbook's chapter on convolutional networks, and of a course's exercises on it, from our layers.

Goodfellow, Bengio and Courville 2016, *Deep Learning*, chapter 9.
"""

from itertools import pairwise

import numpy as np
import pytest
from bound import Bound
from cases import Case

from cnncli import spec
from cnncli.benchmark import algorithms, suites
from cnncli.pictures.summary import summarize


def digits(text: str) -> np.ndarray:
    """Rows of one-digit numbers, as the exercises write them: '0139/4862'."""
    return np.array([[int(digit) for digit in row] for row in text.split("/")], float)


def layer(kind, x, parameters=None, **options):
    """A layer bound to x (images, channels, *axes) with parameters in files' order, or as they are drawn."""
    case = Case(kind, x.shape[1], x.shape[2:], options, len(x))
    bound = Bound(case, np.float64)
    _, drawn, _ = bound.random(np.random.default_rng(1), lambda g, shape: g.integers(-4, 5, shape).astype(float))
    bound.set(x, {**drawn, **(parameters or {})})
    return bound


def image(*shape):
    return np.random.default_rng(0).integers(-9, 10, shape).astype(float)


def summary(layers: str, channels: int, size: list[int]):
    return summarize(spec.parse(f"input: {{channels: {channels}, size: {size}}}\nlayers:\n{layers}", "chapter.yaml"))


def test_sobel_over_a_drawn_image():
    x = digits("00000000/00000110/01111110/01111110/01111110/00111000/00111000/00000000")[None, None]
    sobel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], float)[None, None]
    found = layer("conv", x, {"weight": sobel}, filters=1, kernel=3, bias=False).forward()[0, 0]
    expected = """-3 -4 -4 -4 -4 -3 / -3 -4 -4 -3 -1 0 / 0 0 0 0 0 0 / 2 1 0 1 3 3 / 2 1 0 1 3 3 / 1 3 4 3 1 0"""
    np.testing.assert_array_equal(found, [[int(n) for n in row.split()] for row in expected.split("/")])


def test_max_pooling_of_four_windows():
    found = layer("max_pool", digits("0139/4862/7420/4351")[None, None], size=2).forward()
    np.testing.assert_array_equal(found[0, 0], digits("89/75"))


@pytest.mark.parametrize(("options", "size"), [({}, 6), ({"padding": 1}, 8), ({"padding": 1, "stride": 2}, 4)])
def test_output_sizes(options, size):
    """floor((H + 2p - K) / s) + 1 of an 8x8 image and a 3x3 kernel."""
    case = Case("conv", 1, (8, 8), {"filters": 1, "kernel": 3, **options})
    assert case.layer.output_shape(case.shape).axes == (size, size)


def test_sizes_through_a_network():
    layers = "  - conv: {filters: 3, kernel: 5}\n  - max_pool: 2\n  - conv: {filters: 6, kernel: 5}\n  - max_pool: 2\n"
    rows = summary(layers + "  - flatten\n  - dense: 10\n", 1, [28, 28]).rows
    assert [str(row.output) for row in rows[:4]] == ["3x24x24", "3x12x12", "6x8x8", "6x4x4"]


@pytest.mark.parametrize(
    ("layers", "fields"),
    [
        (["{filters: 2, kernel: 3}"], [3]),
        (["{filters: 2, kernel: 3}", "{filters: 2, kernel: 3}"], [3, 5]),
        (["{filters: 2, kernel: 3, stride: 2}", "{filters: 2, kernel: 3}"], [3, 7]),
    ],
)
def test_receptive_fields(layers, fields):
    """Figure 9.4: units of deeper layers see more of the input."""
    rows = summary("".join(f"  - conv: {options}\n" for options in layers) + "  - flatten\n", 1, [16, 16]).rows
    assert [row.field for row in rows[:-1]] == [(n, n) for n in fields]


@pytest.mark.parametrize(("layers", "parameters"), [
    ("  - conv: {filters: 1, kernel: 3, bias: false}\n", 3),
    ("  - local_conv: {filters: 1, kernel: 3, bias: false}\n", 12),
    ("  - flatten\n  - dense: {units: 4, bias: false}\n", 24),
])  # fmt: skip
def test_connections_of_six_inputs_and_four_outputs(layers, parameters):
    """Figure 9.14: shared weights, unshared weights, and full connections."""
    found = summary(layers + ("" if "flatten" in layers else "  - flatten\n"), 1, [6])
    assert found.output.elements == 4
    assert found.parameters == parameters


def test_multiplications_are_parameters_times_output_positions():
    line = summary("  - conv: {filters: 1, kernel: 3, bias: false}\n  - flatten\n", 1, [6]).rows[0]
    assert (line.parameters, line.multiply_adds) == (3, 3 * 4)
    row = summary("  - conv: {filters: 16, kernel: 5, bias: false}\n  - flatten\n", 6, [14, 14]).rows[0]
    assert row.multiply_adds == row.parameters * 10 * 10


def test_sparse_connections():
    """A 3x3 kernel joins an output to 9 pixels of 28x28, a dense layer to all 784."""
    convolution = summary("  - conv: {filters: 1, kernel: 3, bias: false}\n  - flatten\n", 1, [28, 28])
    dense = summary("  - flatten\n  - dense: {units: 1, bias: false}\n", 1, [28, 28])
    assert (convolution.parameters, dense.parameters) == (9, 784)
    assert convolution.multiply_adds // convolution.output.elements == 9
    assert dense.multiply_adds // dense.output.elements == 784


def test_convolution_is_equivariant_to_translation():
    """Section 9.2: f(g(x)) = g(f(x)), where g shifts the image."""
    x = np.zeros((2, 3, 12, 12))
    x[0, :, 2:7, 3:8] = image(3, 5, 5)
    x[1] = np.roll(x[0], (3, 2), (1, 2))
    y = layer("conv", x, filters=4, kernel=3, padding="same", bias=False).forward()
    assert np.abs(y[0]).max() > 0
    np.testing.assert_array_equal(np.roll(y[0], (3, 2), (1, 2)), y[1])


def test_max_pooling_is_nearly_invariant_to_translation():
    """Figure 9.8: the input shifts by a pixel, all of its values change, but only half of the pooled ones do."""
    x = np.array([[[0.0, 0.1, 1.0, 0.2, 0.1, 0.0]], [[0.3, 0.0, 0.1, 1.0, 0.2, 0.1]]])
    assert (x[0] != x[1]).all()
    y = layer("max_pool", x, size=3, stride=1).forward()[:, 0]
    np.testing.assert_array_equal(y, [[1.0, 1.0, 1.0, 0.2], [0.3, 1.0, 1.0, 1.0]])
    assert (y[0] != y[1]).sum() == 2


@pytest.mark.parametrize("text", ["3x9>4 3 p0", "2x8>3 3", "2x9>4 3/2"])
def test_four_ways_to_convolve(text):
    """Section 9.2: the product with a matrix that is sparse and repeats its entries (in one dimension, Toeplitz), the
    product of unfolded windows, and the sliding window give the same."""
    item = suites.parse(text, 2)
    x, weights = image(2, item.shape.channels, *item.shape.axes), image(item.layer.filters, item.shape.channels, 3, 3)
    bound = layer("conv", x, {"weight": weights}, **item.layer.model_dump(exclude={"name", "source"}))
    sliding = bound.forward()
    flat = np.moveaxis(x, 1, -1).reshape(2, -1)
    toeplitz = flat @ algorithms.matrix(item, weights).dense().T
    np.testing.assert_array_equal(np.moveaxis(toeplitz.reshape(2, *item.output.axes, -1), -1, 1), sliding)
    unfolded = algorithms.windows(np.moveaxis(x, 1, -1), item, 0)
    np.testing.assert_array_equal(np.einsum("nhwikl,oikl->nohw", unfolded, weights), sliding)


def test_toeplitz_matrix_of_one_dimension():
    """Section 9.1: each row of the matrix is the row above, shifted by one element."""
    found = layer(
        "conv", np.eye(6)[:, None], {"weight": np.array([[[1.0, 2.0, 3.0]]])}, filters=1, kernel=3, bias=False
    )
    matrix = found.forward()[:, 0].T
    np.testing.assert_array_equal(matrix[0], [1, 2, 3, 0, 0, 0])
    for above, row in pairwise(matrix):
        np.testing.assert_array_equal(row, np.roll(above, 1))


def test_dense_layer_is_a_convolution_the_size_of_its_input():
    x, weights = image(3, 2, 4, 5), image(7, 2, 4, 5)
    by_convolution = layer("conv", x, {"weight": weights}, filters=7, kernel=[4, 5], bias=False).forward()
    by_dense = layer("dense", x.reshape(3, -1), {"weight": weights.reshape(7, -1)}, units=7, bias=False).forward()
    np.testing.assert_array_equal(by_convolution[..., 0, 0], by_dense)
    np.testing.assert_array_equal(by_dense, x.reshape(3, -1) @ weights.reshape(7, -1).T)


def test_data_gradient_is_a_convolution_with_the_turned_kernel():
    """Section 9.5, equation 9.13: of the gradient with a border of kernel - 1 zeros."""
    x, weights, dy = image(2, 3, 7, 6), image(4, 3, 3, 2), image(2, 4, 5, 5)
    bound = layer("conv", x, {"weight": weights}, filters=4, kernel=[3, 2], bias=False)
    bound.forward()
    dx, _ = bound.backward(dy)
    padded = np.pad(dy, [(0, 0), (0, 0), (2, 2), (1, 1)])
    turned = np.flip(weights, (2, 3)).swapaxes(0, 1).copy()
    convolved = layer("conv", padded, {"weight": turned}, filters=3, kernel=[3, 2], bias=False).forward()
    assert np.abs(dx).max() > 0
    np.testing.assert_array_equal(dx, convolved)


def test_gradient_of_pooling_is_the_matrix_of_largest_places():
    """dx = M^T dy, where a row of M has a one at the largest element of its window."""
    x, dy = np.random.default_rng(2).permutation(36.0 - np.arange(36)).reshape(1, 1, 6, 6), image(1, 1, 3, 3)
    bound = layer("max_pool", x, size=2)
    y = bound.forward()
    dx, _ = bound.backward(dy)
    ones = (y.reshape(-1, 1) == x.reshape(1, -1)).astype(float)  # all elements differ
    np.testing.assert_array_equal(ones.sum(1), 1)
    np.testing.assert_array_equal(dx.reshape(-1), ones.T @ dy.reshape(-1))
