"""Slow, obvious definitions of what runs over channels. Arrays and their order as in `naive`."""

import numpy as np


def softmax(x):
    """exp(x) / sum over channels of exp(x), in float64."""
    grown = np.exp(x - x.max(1, keepdims=True))
    return grown / grown.sum(1, keepdims=True)


def softmax_gradient(dy, x):
    """dx[j] = sum over i of dy[i] * y[i] * ((i == j) - y[j])."""
    y, dx = softmax(x), np.zeros_like(x, np.longdouble)  # many terms cancel
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            dx[:, j] += dy[:, i] * y[:, i] * ((i == j) - y[:, j])
    return dx.astype(float)


def log_softmax_gradient(dy, x):
    """dx[j] = sum over i of dy[i] * ((i == j) - y[j])."""
    y, dx = softmax(x), np.zeros_like(x, np.longdouble)
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            dx[:, j] += dy[:, i] * ((i == j) - y[:, j])
    return dx.astype(float)


def prelu(x, slopes):
    """x where positive, else its channel's slope times x; one slope is for all channels."""
    slope = np.broadcast_to(slopes, x.shape[1]).reshape(1, -1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, slope * x)


def prelu_gradients(dy, x, slopes):
    slope = np.broadcast_to(slopes, x.shape[1]).reshape(1, -1, *[1] * (x.ndim - 2))
    by_channel = np.where(x > 0, 0, dy * x).sum((0, *range(2, x.ndim)))
    return np.where(x > 0, dy, slope * dy), by_channel if len(slopes) > 1 else by_channel.sum(keepdims=True)


def channel_max_pool(x, size, stride):
    """(the largest of each group of channels, the channel that has it): the first among equals."""
    groups = (x.shape[1] - size) // stride + 1
    chosen = np.zeros((len(x), groups, *x.shape[2:]), int)
    for c in range(groups):
        group = x[:, c * stride : c * stride + size]
        chosen[:, c] = c * stride + group.argmax(1)
    return np.take_along_axis(x, chosen, 1), chosen


def channel_max_pool_gradient(dy, x, chosen):
    dx = np.zeros_like(x)
    for place in np.ndindex(dy.shape):
        n, _, *pixel = place
        dx[(n, chosen[place], *pixel)] += dy[place]
    return dx
