"""First values of weights: their variance, their bounds, and that they depend on the seed and the path alone."""

import math
import os
import subprocess
import sys

import networks
import numpy as np
import pytest

from cnncli.layers import LAYERS, Shape
from cnncli.layers.initializers import initial
from cnncli.network import Network

CONV_SHAPE, DENSE_SHAPE = Shape((1, 9, 9), 32, 2), Shape((1, 1, 1), 300, 0)


def weight(kind, init, **options):
    """The declaration of a layer's weight."""
    main = {"conv": {"filters": 48, "kernel": 3}, "dense": {"units": 64}}[kind]
    layer = LAYERS[kind](**main, **options, init=init)
    return layer.parameters(CONV_SHAPE if kind == "conv" else DENSE_SHAPE)["weight"]


# what each family divides by: connections into an output, and out of an input
FANS = {"conv": (32 * 9, 48 * 9), "dense": (300, 64)}
VARIANCES = {
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
}


@pytest.mark.parametrize("kind", FANS)
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("family", VARIANCES)
def test_variance(family, uniform, kind):
    parameter = weight(kind, family + "_uniform" * uniform)
    value, variance = initial(parameter, 1, "a.weight"), VARIANCES[family](*FANS[kind])
    assert value.shape == parameter.file_shape
    assert value.size > 10_000
    deviation_of_variance = variance * math.sqrt(2 / value.size)
    assert abs(value.var() - variance) < 5 * deviation_of_variance
    assert abs(value.mean()) < 5 * math.sqrt(variance / value.size)
    largest = abs(value).max() / math.sqrt(variance)
    assert 1.7 < largest <= math.sqrt(3) if uniform else largest > 3


def test_fans_of_groups_are_those_of_one_group():
    assert weight("conv", "he", groups=4).fans == (8 * 9, 12 * 9)
    assert weight("conv", "he", groups=16).file_shape == (48, 2, 3, 3)


@pytest.mark.parametrize(("kind", "options"), [("conv", {}), ("conv", {"groups": 16}), ("dense", {})])
def test_orthogonal(kind, options):
    parameter = weight(kind, "orthogonal", **options)
    value = initial(parameter, 2, "a.weight").reshape(parameter.file_shape[0], -1)
    rows, columns = value.shape
    product = value @ value.T if rows <= columns else value.T @ value
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)
    assert np.any(abs(value - initial(parameter, 3, "a.weight").reshape(rows, -1)) > 0.01)


def test_biases_are_0_and_constants_constant():
    parameters = LAYERS["dense"](units=3).parameters(DENSE_SHAPE)
    assert not initial(parameters["bias"], 1, "a.bias").any()
    constant = LAYERS["dense"](units=3, init={"constant": -1.5}).parameters(DENSE_SHAPE)["weight"]
    assert set(initial(constant, 1, "a.weight").ravel()) == {-1.5}


@pytest.mark.parametrize("init", ["he", "glorot_uniform", "orthogonal"])
def test_depends_on_seed_and_path_alone(init):
    parameter = weight("conv", init)
    first = initial(parameter, 1, "a.weight")
    np.testing.assert_array_equal(initial(parameter, 1, "a.weight"), first)
    assert np.mean(initial(parameter, 2, "a.weight") == first) < 0.01
    assert np.mean(initial(parameter, 1, "b.weight") == first) < 0.01


def named_weights(layers, seed=4):
    specification = networks.specification(2, [8, 8], layers)
    return networks.saved(Network(specification, seed=seed).parameters)


def test_a_network_draws_each_parameter_by_itself():
    end = "conv: {filters: 5, name: middle}|flatten|dense: {units: 3, name: last}"
    alone = named_weights(end)
    among_others = named_weights(f"conv: {{filters: 2, kernel: 1}}|relu|{end}|relu|dense: 4")
    np.testing.assert_array_equal(alone["middle.weight"], among_others["middle.weight"])
    np.testing.assert_array_equal(alone["last.weight"], among_others["last.weight"])
    assert np.any(alone["middle.weight"] != named_weights(end, seed=5)["middle.weight"])


def test_both_precisions_begin_alike():
    single, double = networks.network("lenet"), networks.network("lenet", np.float64)
    np.testing.assert_array_equal(double.parameters.values.astype(np.float32), single.parameters.values)


class TestCodes:
    def test_of_the_digits_are_pictures_of_them(self):
        weight = LAYERS["rbf"](units=10, codes="digits").parameters(Shape((1, 1, 1), 84, 0))["weight"]
        codes = initial(weight, 1, "a.weight")
        assert codes.shape == (10, 84)
        assert set(codes.ravel()) == {-1, 1}
        np.testing.assert_array_equal(codes, initial(weight, 2, "b.weight"))
        one, seven = codes[[1, 7]].reshape(2, 12, 7)
        assert (one[-1] > 0).sum() == 6  # a foot
        assert (seven[0] > 0).all()  # a bar
        apart = ((codes[:, None] - codes) ** 2).sum(2)
        assert apart[~np.eye(10, dtype=bool)].min() >= 4 * 5  # no two are alike

    def test_at_random_are_signs(self):
        weight = LAYERS["rbf"](units=40).parameters(Shape((1, 1, 1), 100, 0))["weight"]
        codes = initial(weight, 1, "a.weight")
        assert set(codes.ravel()) == {-1, 1}
        assert abs(codes.mean()) < 5 / math.sqrt(codes.size)
        np.testing.assert_array_equal(codes, initial(weight, 1, "a.weight"))
        assert (codes != initial(weight, 2, "a.weight")).any()


BITS = """
from hashlib import sha256
import cnncli.cli
import numpy as np
from cnncli.layers.initializers import initializer
draw = np.random.default_rng(0)
patches = draw.normal(size=(9000, 300))
for kind in ("pca", "whitening", "kmeans"):
    learned = initializer({kind: {}}).learn(patches[:, :108] * np.linspace(1, 3, 108), 100, draw)
    print(kind, *(sha256(array.tobytes()).hexdigest() for array in learned))
    learned = initializer({kind: {}}).learn(patches, 100, draw)
    print(kind, *(sha256(array.tobytes()).hexdigest() for array in learned))
print(sha256(initializer("orthogonal").make(draw, (300, 256), None).tobytes()).hexdigest())
"""


def test_bits_do_not_depend_on_the_threads_of_blas():
    """Nor, so, on how many cores a machine has."""
    found, command = [], [sys.executable, "-c", BITS]
    for count in ("1", "2", "4"):
        variables = os.environ | {"OPENBLAS_NUM_THREADS": count}
        found.append(subprocess.run(command, env=variables, capture_output=True, check=True).stdout)
    assert len(set(found)) == 1
    assert found[0].count(b"\n") == 7
