"""What the variants of convolution promise beside their sums: files, counts, and weights that stay zero."""

import naive
import networks
import numpy as np
import pytest
from bound import Bound
from cases import Case

from cnncli import spec
from cnncli.kernels.buffer import Arena
from cnncli.layers import LAYERS, Shape
from cnncli.layers.initializers import initial
from cnncli.network import Network
from cnncli.network.gradcheck import check_gradients
from cnncli.network.parameters import Parameters
from cnncli.training.optimizers import Optimizer


def integers(generator, shape):
    return generator.integers(-3, 4, shape).astype(float)


C3 = LAYERS["conv"](filters=16, kernel=5, connections="lenet5")
S2 = Shape((1, 14, 14), 6, 2)


def unconnected():
    return np.array([[channel not in row for channel in range(6)] for row in naive.LENET5])


def test_lenet5_has_the_parameters_and_connections_of_1998():
    declared = C3.parameters(S2)
    assert sum(parameter.count for parameter in declared.values()) == 1516
    assert C3.multiply_adds(S2) + 16 * 100 == 151_600  # he counts the bias of each output
    assert Parameters({f"a.{name}": p for name, p in declared.items()}, Arena(np.float32)).count == 1516


def test_unconnected_weights_of_a_file_are_dropped():
    parameters = Parameters({"a.weight": C3.parameters(S2)["weight"]}, Arena(np.float32))
    parameters.load({"a.weight": np.full((16, 6, 5, 5), np.nan, np.float32)})
    saved = networks.saved(parameters)["a.weight"]
    assert np.all(saved[unconnected()] == 0)
    assert np.all(np.isnan(saved[~unconnected()]))


@pytest.mark.parametrize("kind", spec.OPTIMIZERS)
def test_unconnected_weights_stay_zero(kind):
    options = {"weight_decay": 0.1} | ({"momentum": 0.9, "nesterov": True} if kind == "sgd" else {})
    network = networks.network("connected")
    plan = networks.filled(network.plan(3, True))
    optimizer = Optimizer(spec.OPTIMIZERS[kind](lr=0.1, **options), network.parameters, network.arena)
    before = networks.saved(network.parameters)["3_conv.weight"]
    for _ in range(3):
        plan.forward()
        plan.backward()
        optimizer.update(0.1)
    saved = networks.saved(network.parameters)
    for slot, flat in optimizer.slots.items():
        saved |= {f"{slot}/{name}": of for name, of in networks.saved(network.parameters, flat).items()}
    changed = saved["3_conv.weight"]
    for array in (before, changed, *(saved[f"{slot}/3_conv.weight"] for slot in optimizer.slots)):
        assert np.all(array[unconnected()] == 0)
    assert np.all((changed != before).any((2, 3))[~unconnected()])


def test_gradient_check_leaves_unconnected_weights_alone():
    text = "conv: {filters: 2, kernel: 2, connections: [[0], [1]]}|flatten|dense: 2"
    rows = check_gradients(networks.specification(2, [3, 3], text), 50)
    assert {row.name: row.checked for row in rows}["0_conv.weight"] == 8
    assert all(row.passed for row in rows)


def test_flipped_is_numpys_convolution():
    generator = np.random.default_rng(0)
    x, k = generator.normal(size=20), generator.normal(size=5)
    bound = Bound(Case("conv", 1, (20,), {"filters": 1, "kernel": 5, "padding": "full", "flip": True}, 1), np.float64)
    bound.set(x.reshape(1, 1, -1), {"weight": k.reshape(1, 1, -1), "bias": np.zeros(1)})
    np.testing.assert_allclose(bound.forward().ravel(), np.convolve(x, k), rtol=1e-12)


def test_flipping_changes_the_files_alone():
    plain, turned = (LAYERS["conv"](filters=3, flip=flip).parameters(S2)["weight"] for flip in (False, True))
    w = np.random.default_rng(0).normal(size=plain.file_shape)
    np.testing.assert_array_equal(turned.from_file(w), plain.from_file(w[:, :, ::-1, ::-1]))
    np.testing.assert_array_equal(turned.to_file(turned.from_file(w)), w)


def test_untied_biases_are_counted_and_filed_by_place():
    text = "conv: {filters: 3, bias: untied}|flatten|dense: 2"
    network = Network(networks.specification(2, [5, 6], text))
    assert networks.saved(network.parameters)["0_conv.bias"].shape == (3, 3, 4)
    assert network.parameters.count == 3 * 2 * 9 + 3 * 12 + 36 * 2 + 2


def of_map(kind, **options):
    """A layer's results on one map, from weights that are everywhere the same kernel."""
    case = Case(kind, 3, (7, 8), {"filters": 5, "kernel": 3, "padding": "same", **options}, 2)
    bound, generator = Bound(case, np.float32), np.random.default_rng(3)
    x, kernel = integers(generator, (2, 3, 7, 8)), integers(generator, (5, 3, 3, 3))
    shape = bound.parameters["weight"].file_shape
    places = tuple(range(1, len(shape) - 3))
    bound.set(
        x, {"weight": np.broadcast_to(np.expand_dims(kernel, places), shape), "bias": np.zeros((5, *shape[1:-3]))}
    )
    y = bound.forward()
    dx, gradients = bound.backward(integers(generator, y.shape))
    return y, dx, gradients["weight"].sum(places)


@pytest.mark.parametrize(("kind", "options"), [("local_conv", {}), *(("tiled_conv", {"tiles": t}) for t in (1, 3, 99))])
def test_the_same_kernel_everywhere_is_the_ordinary_convolution(kind, options):
    for found, wanted in zip(of_map(kind, **options), of_map("conv", algorithm="direct"), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_one_tile_is_a_convolution_and_many_are_unshared():
    shapes = {
        kind: LAYERS[kind](filters=5, **options).parameters(S2)["weight"].file_shape
        for kind, options in (("conv", {}), ("local_conv", {}), ("tiled_conv", {"tiles": [99, 12]}))
    }
    assert shapes["conv"] == (5, 6, 3, 3)
    assert shapes["local_conv"] == shapes["tiled_conv"] == (5, 12, 12, 6, 3, 3)
    assert LAYERS["tiled_conv"](filters=5, tiles=1).parameters(S2)["weight"].file_shape == (5, 1, 1, 6, 3, 3)


def test_orthogonal_weights_are_so_at_each_place():
    parameter = LAYERS["tiled_conv"](filters=5, tiles=[2, 3], init="orthogonal").parameters(S2)["weight"]
    w = initial(parameter, 0, "a").transpose(1, 2, 0, 3, 4, 5).reshape(6, 5, -1)
    np.testing.assert_allclose(w @ w.transpose(0, 2, 1), np.broadcast_to(np.eye(5), (6, 5, 5)), atol=1e-12)
    assert len(np.unique(w)) == w.size
