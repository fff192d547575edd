"""Batch normalisation of numbers that are hard to normalise, and what it remembers for inference."""

import naive
import networks
import numpy as np
import pytest
from bound import Bound
from cases import Case
from rounding import tolerances

from cnncli.layers import LAYERS
from cnncli.network import Network


def bound(channels, axes, images, dtype=np.float32, **options):
    return Bound(Case("batch_norm", channels, axes, options, images), dtype)


def plain(channels):
    """Parameters that leave the normalised numbers as they are."""
    ones, zeros = np.ones(channels), np.zeros(channels)
    return {"weight": ones, "bias": zeros, "running_mean": zeros, "running_var": ones}


def numbers(shape, mean, deviation, dtype=np.float32):
    """Normal numbers as `dtype` has them, in float64."""
    return np.random.default_rng(0).normal(mean, deviation, shape).astype(dtype).astype(np.float64)


@pytest.mark.parametrize("mean", [1000.0, -1000.0, 1e4])
@pytest.mark.parametrize(("channels", "axes", "images"), [(4, (6, 5), 5), (1, (7,), 9), (70, (2, 9), 4), (3, (), 40)])
def test_a_large_mean_takes_no_digits_from_the_deviation(channels, axes, images, mean):
    """The mean of squares less the square of the mean would keep none of float32's digits."""
    layer, x, given = bound(channels, axes, images), numbers((images, channels, *axes), mean, 0.1), plain(channels)
    dy = numbers(x.shape, 0, 1)
    layer.set(x, given)
    off = tolerances(layer.case, x, given, dy, np.float32)
    wanted = naive.normalize(x, *naive.batch_statistics(x), given["weight"], given["bias"], 1e-5)
    assert np.max(off["y"]) < 3e-4 * abs(mean)  # tight enough to tell
    assert np.all(abs(layer.forward() - wanted) <= off["y"])
    dx, gradients = layer.backward(dy)
    for found, of, name in zip((dx, *gradients.values()), gradient(x, dy), ("x", *gradients), strict=True):
        assert np.all(abs(found - of) <= off[name])
    variance = naive.running_averages(x, *(given[name] for name in ("running_mean", "running_var")), 0.1)[1]
    np.testing.assert_allclose(layer.values["running_var"], variance, rtol=1e-4)


@pytest.mark.parametrize("place", [0, 8, 15])
@pytest.mark.parametrize("value", [1e2, 1e4, 1e6])
def test_one_row_far_from_the_others_takes_no_digits_from_the_deviation(place, value):
    layer, x = bound(8, (16, 16), 16), numbers((16, 8, 16, 16), 0, 1)
    x[place, :, place] = value
    layer.set(x, plain(8))
    wanted = naive.normalize(x, *naive.batch_statistics(x), np.ones(8), np.zeros(8), 1e-5)
    np.testing.assert_allclose(layer.forward(), wanted, rtol=1e-6, atol=1e-6)


def gradient(x, dy):
    return naive.normalize_gradients(dy, x, np.ones(x.shape[1]), 1e-5)


def test_channels_of_one_number_are_the_bias():
    layer, given = bound(3, (4, 4), 2), plain(3) | {"bias": np.array([1.0, -2.0, 3.0])}
    x = np.empty((2, 3, 4, 4))
    x[:] = np.array([1e6, 0.1, -7.0], np.float32)[:, None, None]
    layer.set(x, given)
    np.testing.assert_array_equal(layer.forward(), np.broadcast_to(given["bias"][:, None, None], x.shape))
    dx, gradients = layer.backward(np.ones(x.shape))
    assert not dx.any()
    assert not gradients["weight"].any()
    np.testing.assert_allclose(layer.values["running_var"], 0.9, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 1, 0, 0), (1, 1, 2, 3)])
def test_what_is_not_finite_is_seen_in_its_channel_alone(place, value):
    layer, x = bound(3, (3, 4), 2), numbers((2, 3, 3, 4), 0, 1)
    x[place] = value
    layer.set(x, plain(3))
    y = layer.forward()
    assert np.isnan(y[place])
    assert not np.isfinite(layer.values["running_mean"][1])
    assert not np.isfinite(y[:, 1]).any()
    assert np.isfinite(y[:, [0, 2]]).all()
    _, gradients = layer.backward(np.ones(x.shape))
    assert np.isnan(gradients["weight"][1])
    assert np.isfinite(gradients["weight"][[0, 2]]).all()


@pytest.mark.parametrize("momentum", [0.1, 0.7, 1.0])
@pytest.mark.parametrize(("axes", "images"), [((3, 4), 5), ((), 6), ((), 1)])
def test_running_averages_are_those_of_pytorch(axes, images, momentum):
    layer, given = bound(4, axes, images, np.float64, momentum=momentum), plain(4)
    averages = given["running_mean"], given["running_var"]
    for scale in (1, 10, 0.1):
        x = scale * numbers((images, 4, *axes), 2, 3)
        layer.set(x, given | dict(zip(("running_mean", "running_var"), averages, strict=True)))
        layer.forward()
        averages = naive.running_averages(x, *averages, momentum)
        for name, wanted in zip(("running_mean", "running_var"), averages, strict=True):
            np.testing.assert_allclose(layer.values[name], wanted, rtol=1e-12)


def test_inference_leaves_the_averages_alone():
    network = networks.network("norm_after_pool", np.float64)
    networks.filled(network.plan(4, True)).forward()
    before = network.parameters.state.copy()
    for images in (1, 4):
        networks.filled(network.plan(images, False), images).forward()
    np.testing.assert_array_equal(network.parameters.state, before)


def test_backward_leaves_the_averages_alone():
    network = networks.network("residual_norm")
    plan = networks.filled(network.plan(4, True))
    plan.forward()
    before = network.parameters.state.copy()
    plan.backward()
    np.testing.assert_array_equal(network.parameters.state, before)


def test_its_averages_are_not_learned():
    declared = LAYERS["batch_norm"]().parameters(Case("batch_norm", 5, (2, 2), {}).shape)
    assert {name: p.learned for name, p in declared.items()} == {
        "weight": True, "bias": True, "running_mean": False, "running_var": False,
    }  # fmt: skip
    parameters = networks.network("norm").parameters
    assert parameters.counted.keys() == {f"{i}_batch_norm.running_{what}" for i in (1, 4) for what in ("mean", "var")}
    assert not parameters.declared.keys() & parameters.counted.keys()
    assert parameters.count == sum(p.size for p in parameters.declared.values())
    assert not np.shares_memory(parameters.values, parameters.state)


NETWORKS = {
    "frozen": "conv: {filters: 3, freeze: true}|batch_norm: {affine: false}|relu|flatten|dense: 4",
    "learned": "conv: 3|batch_norm: {affine: false}|relu|flatten|dense: 4",
}


@pytest.mark.parametrize("below", NETWORKS)
def test_without_a_scale_and_a_shift(below):
    """What it gives is normalised by the batch, also where nothing learns below it; inference uses what it counted."""
    network = Network(networks.specification(2, [6, 6], NETWORKS[below]), np.float64)
    assert not {"1_batch_norm.weight", "1_batch_norm.bias"} & set(networks.saved(network.parameters))
    plan = networks.filled(network.plan(5, True))
    x = np.moveaxis(plan.x.interior[:, 0], -1, 1).copy()
    plan.forward()
    plan.backward()
    outputs, values = [plan.output.copy()], networks.saved(network.parameters)
    of_inference = networks.filled(network.plan(5, False))
    of_inference.infer()
    outputs.append(of_inference.output)
    sums = naive.convolution(x, values["0_conv.weight"], values["0_conv.bias"], (1, 1), [(0, 0)] * 2, (1, 1))
    mean, variance = naive.batch_statistics(sums)
    counted = naive.running_averages(sums, np.zeros(3), np.ones(3), 0.1)
    for name, wanted in zip(("mean", "var"), counted, strict=True):
        np.testing.assert_allclose(values[f"1_batch_norm.running_{name}"], wanted)
    for output, moments in zip(outputs, ((mean, variance), counted), strict=True):
        features = np.maximum(naive.normalize(sums, *moments, np.ones(3), np.zeros(3), 1e-5), 0).reshape(5, -1)
        np.testing.assert_allclose(output, features @ values["4_dense.weight"].T + values["4_dense.bias"])
