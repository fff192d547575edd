"""Whole networks: the gradient of the mean loss by every parameter against central differences in float64."""

import networks
import numpy as np
import pytest
from slopes import assert_slope, steps

LOSSES = ["softmax_cross_entropy", "mean_squared_error"]


def check(name, **options):
    network = networks.network(name, np.float64, **options)
    plan, generator = networks.filled(network.plan(3, True)), np.random.default_rng(11)
    parameters = network.parameters
    parameters.values += 0.1 * generator.normal(size=parameters.values.shape)  # biases begin at 0, where a relu bends

    plan.forward()
    plan.backward()
    for tensor, declared in parameters.declared.items():
        moving = 1 if declared.connected is None else declared.connected
        value = parameters.value(tensor)
        gradient, start = parameters.gradient(tensor).copy(), value.copy()

        def loss(point, value=value):
            value[:] = point
            plan.forward()
            return plan.losses.mean()

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
