"""Whole networks: the gradient of the mean loss by every parameter against central differences in float64."""

import networks
import numpy as np
import pytest
from slopes import assert_slope, steps

from cnncli.network import Network

LOSSES = ["softmax_cross_entropy", "mean_squared_error", "binary_cross_entropy"]
RECONSTRUCTIONS = [
    (1, [4, 4], "conv: 3|tanh|flatten|dense: 5|tanh|dense: 16"),
    (2, [5, 3], "conv: {filters: 4, padding: same}|relu|conv: {filters: 2, padding: same}"),
    (3, [6], "conv: {filters: 3, padding: same}|relu"),
]


def check(name, **options):
    check_network(networks.network(name, np.float64, **options))


def check_network(network, unlabelled=()):
    plan, generator = networks.filled(network.plan(3, True)), np.random.default_rng(11)
    plan.labels[list(unlabelled)] = -1
    parameters = network.parameters
    parameters.values += 0.1 * generator.normal(size=parameters.values.shape)  # biases begin at 0, where a relu bends

    plan.forward()
    plan.backward()
    for tensor, declared in parameters.declared.items():
        moving = 1 if declared.connected is None else declared.connected()
        value = parameters.value(tensor)
        gradient, start = parameters.gradient(tensor).copy(), value.copy()

        def loss(point, value=value):
            value[:] = point
            plan.forward()
            return plan.losses.sum() / plan.total[0]

        assert np.any(gradient)
        for direction in steps(generator, value.shape):
            assert_slope(loss, start, direction * moving, gradient)
        value[:] = start


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_gradient(name, loss):
    check(name, loss=loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_with_label_smoothing(loss):
    check("lenet", loss=loss, label_smoothing=0.1)
    check("relu_last", loss=loss, label_smoothing=0.3)


def test_gradient_of_weighted_classes_and_unlabelled_pixels():
    loss = "{softmax_cross_entropy: {class_weights: [0.5, 2, 3]}}"
    check_network(networks.network("pixels_conv_last", np.float64, loss=loss), unlabelled=[1, 7, 30])
    check_network(networks.network("mlp", np.float64, loss=loss, label_smoothing=0.2))


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("layers", RECONSTRUCTIONS)
def test_gradient_of_a_reconstruction(layers, loss):
    specification = networks.specification(*layers, loss=f"{{{loss}: input}}", data="{normalize: none}")
    check_network(Network(specification, np.float64))
