"""Gradients against central differences in float64: every case of the table, by its input and its parameters."""

from functools import partial

import numpy as np
import pytest
from bound import Bound
from cases import CASES
from slopes import assert_slope, steps


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_gradient(case):
    bound, generator = Bound(case, np.float64), np.random.default_rng(7)
    x, parameters, cotangent = bound.random(generator, lambda generator, shape: generator.normal(size=shape))

    arrays = {"x": x, **parameters}

    def output(name, value):
        changed = {**arrays, name: value}
        bound.set(changed.pop("x"), changed)
        return (bound.forward() * cotangent).sum()

    output("x", x)
    dx, gradients = bound.backward(cotangent)
    for name, gradient in {"x": dx, **gradients}.items():
        for direction in steps(generator, gradient.shape):
            assert_slope(partial(output, name), arrays[name], direction, gradient)
