"""Initialisers that are known filters, against their formulas; layers that are frozen."""

import math

import networks
import numpy as np
import pytest

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.layers.initializers import INITIALIZERS, initializer
from cnncli.network import Network
from cnncli.training.optimizers import Optimizer


def made(init, *shape):
    """Weights (filters, inputs, *kernel) by an initialiser as the specification writes it."""
    found = initializer(init)
    found.check(shape)
    return np.array(found.make(np.random.default_rng(0), shape, (1, 1)))


@pytest.mark.parametrize("kernel", [(3,), (3, 5), (2, 4), (3, 3, 3)])
def test_dirac_gives_the_input_back(kernel):
    w = made("dirac", 6, 3, *kernel)
    for o in range(6):
        assert w[(o, o % 3, *(n // 2 for n in kernel))] == 1
    assert w.sum() == 6


def test_bilinear_is_interpolation():
    """Between two neighbours of an image enlarged twice, by a transposed convolution of 4x4 and stride 2."""
    w = made("bilinear", 2, 2, 4, 4)
    row = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_array_equal(w[0, 0], np.outer(row, row))
    np.testing.assert_array_equal(w[1, 1], w[0, 0])
    assert not w[0, 1].any()
    np.testing.assert_array_equal(made("bilinear", 3, 1, 3)[:, 0], [[0.5, 1, 0.5]] * 3)


def test_sobel_is_the_textbooks():
    w = made("sobel", 3, 2, 3, 3)
    horizontal = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    np.testing.assert_array_equal(w[0].sum(0), horizontal)
    np.testing.assert_array_equal(w[1].sum(0), horizontal.T)
    np.testing.assert_array_equal(w[2], w[0])


def test_gabor_is_its_formula():
    """Goodfellow et al. 2016, equations 9.16 to 9.18, pixel by pixel."""
    options = {"orientations": 3, "phi": [0.0, 1.0], "f": [0.7, 1.3], "alpha": 2.0, "beta_x": 0.1, "beta_y": 0.05}
    w, o = made({"gabor": {**options, "x0": 0.5, "y0": -1.0}}, 13, 2, 5, 7), 0
    for f in options["f"]:
        for phi in options["phi"]:
            for turn in range(3):
                tau = math.pi * turn / 3
                for i in range(5):
                    for j in range(7):
                        right, down = (j - 3) - 0.5, (i - 2) + 1.0
                        x = right * math.cos(tau) + down * math.sin(tau)
                        y = -right * math.sin(tau) + down * math.cos(tau)
                        value = 2 * math.exp(-0.1 * x * x - 0.05 * y * y) * math.cos(f * x + phi)
                        np.testing.assert_allclose(w[o, :, i, j], value / 2, rtol=1e-12, atol=1e-15)
                o += 1
    np.testing.assert_array_equal(w[12], w[0])


def test_gabor_without_options_shows_waves():
    w = made("gabor", 16, 1, 9, 9)[:, 0]
    assert len({tuple(kernel.round(9).ravel()) for kernel in w}) == 16
    np.testing.assert_allclose(w[0], w[0][::-1], atol=1e-12)  # an upright wave, even
    np.testing.assert_allclose(w[8], -w[8][:, ::-1], atol=1e-12)  # a quarter of a wave on, odd
    assert abs(w).max() <= 1


@pytest.mark.parametrize("shape", [(2, 3), (4, 2, 3), (4, 5, 2, 3)])
def test_written_values(shape):
    """One kernel for all, one for each filter, or all of them."""
    array = np.arange(math.prod(shape), dtype=float).reshape(shape)
    w = made({"values": array.tolist()}, 4, 5, 2, 3)
    for o in range(4):
        for i in range(5):
            np.testing.assert_array_equal(w[o, i], array[(o, i)[: array.ndim - 2]])


def test_written_values_of_a_dense_layer():
    np.testing.assert_array_equal(made({"values": [[1, 2], [3, 4], [5, 6]]}, 3, 2), [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize(("init", "message"), [
    ("{values: [1, 2]}", r"layer 0_conv \(conv\): its init.values are 2, its weights are 4x1x3x3"),
    ("{values: [[1, 2], [3]]}", "are not lists of numbers of equal lengths"),
    ("{values: [[1, x, 3]]}", "are not lists of numbers of equal lengths"),
    ("{values: [.nan]}", "numbers must be finite"),
    ("{values: {}}", 'missing key "values"'),
    ("{gabor: {beta_x: 0}}", "beta_x: expected a number above 0"),
    ("{gabor: {orientation: 3}}", 'unknown key "orientation"; did you mean "orientations"?'),
    ("hee", 'unknown initializer "hee"; did you mean "he"?'),
])  # fmt: skip
def test_mistakes(init, message):
    with pytest.raises(SpecificationError, match=message):
        spec.nodes(networks.specification(1, [6, 6], f"conv: {{filters: 4, init: {init}}}|flatten"))


@pytest.mark.parametrize(("init", "size"), [("sobel", [9]), ("gabor", [9]), ("gabor", [4, 4, 4])])
def test_kernels_that_they_are_not_for(init, size):
    with pytest.raises(SpecificationError, match=f"its init {init} is for kernels of 2 axes"):
        spec.nodes(networks.specification(1, size, f"conv: {{filters: 4, init: {init}}}|flatten"))
    with pytest.raises(SpecificationError, match=f"its init {init} is for kernels of 2 axes"):
        spec.nodes(networks.specification(1, [4], f"flatten|dense: {{units: 4, init: {init}}}"))


@pytest.mark.parametrize("kind", INITIALIZERS)
def test_layers_are_written_and_read_again(kind):
    """What pydantic makes of a layer makes the layer again."""
    options = {"constant": ": 0.5", "values": ": [[0.5, 1], [2, 3]]"}.get(kind, "")
    init = f"{{{kind}{options}}}" if options else kind
    layer = networks.specification(1, [6, 6], f"conv: {{filters: 4, init: {init}}}|flatten").layers[0].layer
    assert type(layer)(**layer.model_dump(exclude_unset=True)) == layer


LAYERS = (
    "conv: {filters: 6%s}|batch_norm|relu|depthwise_conv: {kernel: 2%s}|max_pool: 2|"
    "flatten|dense: {units: 9%s}|relu|dense: 4"
)


@pytest.mark.parametrize("which", range(8))
def test_frozen_weights_stay_and_the_others_move_as_before(which):
    """The gradients of what is not frozen are those of the network in which nothing is, to the last bit."""
    frozen = [bool(which >> i & 1) for i in range(3)]
    found = []
    for marks in ([False] * 3, frozen):
        layers = LAYERS % tuple(", freeze: true" if mark else "" for mark in marks)
        network = Network(networks.specification(1, [9, 9], layers))
        plan = networks.filled(network.plan(5, True))
        before = networks.saved(network.parameters)
        plan.forward()
        plan.backward()
        gradients = {name: network.parameters.gradient(name).copy() for name in network.parameters.declared}
        Optimizer(spec.OPTIMIZERS["adamw"](), network.parameters, network.arena).update(0.1)
        found.append((before, gradients, networks.saved(network.parameters)))
    paths = [path for path, mark in zip(("0_conv", "3_depthwise_conv", "6_dense"), frozen, strict=True) if mark]
    for name, tensor in found[1][2].items():
        still = name.rpartition(".")[0] in paths
        assert (name in found[1][1]) == (not still and "running" not in name)
        np.testing.assert_array_equal(tensor, found[1][0][name] if still else found[0][2][name])
    for name, gradient in found[1][1].items():
        np.testing.assert_array_equal(gradient, found[0][1][name])


def test_behind_frozen_layers_alone_nothing_runs_backward():
    network = Network(networks.specification(1, [6, 6], "conv: {filters: 3, freeze: true}|relu|flatten|dense: 4"))
    assert {part.path for part in network.plan(2, True).backward_parts} == {"3_dense"}


@pytest.mark.parametrize("name", ["kmeans-features", "gabor-features", "random-features", "neocognitron"])
def test_below_the_classifier_of_given_features_nothing_runs_backward(name):
    network = Network(spec.read(name))
    last = network.nodes[-1]
    assert last.layer.kind == "dense"
    assert {part.path for part in network.plan(2, True).backward_parts} == {last.path}
    assert set(network.parameters.declared) == {f"{last.path}.weight", f"{last.path}.bias"}
