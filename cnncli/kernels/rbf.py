"""Squared Euclidean distances of vectors to others, and their gradients. x (N, I), y (N, U), weight (I, U) flat."""

from numba import njit

from cnncli.kernels.functions import OPTIONS
from cnncli.kernels.program import kernel


@njit(**OPTIONS)
def _take_squares(to, value, weights):
    for u in range(to.shape[0]):
        difference = value - weights[u]
        to[u] -= difference * difference


@njit(**OPTIONS)
def _add_products(to, of, value, weights):
    two = to.dtype.type(2)
    for u in range(to.shape[0]):
        to[u] += two * of[u] * (value - weights[u])


@kernel
def negative_distances(first, last, y, x, weight):
    """y[n, u] = - sum over i of (x[n, i] - weight[i, u])^2. A task owns an image."""
    units = y.shape[1]
    for n in range(first, last):
        to = y[n]
        to[:] = 0
        for i in range(x.shape[1]):
            _take_squares(to, x[n, i], weight[i * units : (i + 1) * units])


@kernel
def negative_distances_gradient(first, last, dx, dy, x, weight):
    """dx[n, i] = - 2 * sum over u of dy[n, u] * (x[n, i] - weight[i, u]). A task owns an image."""
    units = dy.shape[1]
    for n in range(first, last):
        of = dy[n]
        for i in range(x.shape[1]):
            weights, value, total = weight[i * units : (i + 1) * units], x[n, i], dx.dtype.type(0)
            for u in range(units):
                total += of[u] * (value - weights[u])
            dx[n, i] = -2 * total


@kernel
def negative_distances_weight_gradient(first, last, dweight, dy, x, weight):
    """dweight[i, u] = 2 * sum over n of dy[n, u] * (x[n, i] - weight[i, u]). A task owns an input."""
    units = dy.shape[1]
    for i in range(first, last):
        to, weights = dweight[i * units : (i + 1) * units], weight[i * units : (i + 1) * units]
        to[:] = 0
        for n in range(x.shape[0]):
            _add_products(to, dy[n], x[n, i], weights)
