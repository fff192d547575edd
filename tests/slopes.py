"""Gradients against central differences."""

import numpy as np

EPS, ATOL, RTOL = 1e-6, 1e-5, 1e-3  # torch.autograd.gradcheck's, meant for float64
SINGLE_ELEMENTS = 10  # looked at one by one; all others together along a random direction


def steps(generator, shape):
    """Directions to look along: some elements by themselves, then all at once."""
    size = int(np.prod(shape))
    for element in generator.permutation(size)[:SINGLE_ELEMENTS]:
        direction = np.zeros(size)
        direction[element] = 1
        yield direction.reshape(shape)
    yield generator.normal(size=shape)


def assert_slope(function, point, direction, gradient):
    """`function` of an array rises along `direction` as `gradient` says."""
    numeric = (function(point + EPS * direction) - function(point - EPS * direction)) / (2 * EPS)
    analytic = (gradient * direction).sum()
    assert abs(numeric - analytic) <= ATOL + RTOL * abs(numeric), f"slope {numeric}, by the gradient {analytic}"
