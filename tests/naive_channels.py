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


def in_groups(x, groups):
    """(images * groups, elements of a group)."""
    return x.reshape(len(x) * groups, -1)


def group_norm(x, groups, weight, bias, eps):
    """weight * (x - mean) / sqrt(variance + eps) + bias, with the moments of a group of channels of one image."""
    parts = in_groups(x, groups)
    shares = (parts - parts.mean(1, keepdims=True)) / np.sqrt(parts.var(1, keepdims=True) + eps)
    by_channel = (1, -1, *[1] * (x.ndim - 2))
    return weight.reshape(by_channel) * shares.reshape(x.shape) + bias.reshape(by_channel)


def group_norm_gradients(dy, x, groups, weight, eps):
    """(dx, dweight, dbias): the moments depend on each element of their group."""
    one = np.ones(x.shape[1])
    shares, axes = group_norm(x, groups, one, 0 * one, eps), (0, *range(2, x.ndim))
    given = in_groups(dy * weight.reshape(1, -1, *[1] * (x.ndim - 2)), groups)
    of, deviation = in_groups(shares, groups), np.sqrt(in_groups(x, groups).var(1, keepdims=True) + eps)
    around = given - given.mean(1, keepdims=True) - of * (given * of).mean(1, keepdims=True)
    return (around / deviation).reshape(x.shape), (dy * shares).sum(axes), dy.sum(axes)


def lrn(x, size, alpha, beta, k):
    """x / (k + alpha / size * sum of x^2 over the channels around it)^beta (Krizhevsky et al. 2012)."""
    return x / divisors(x, size, alpha, k) ** beta


def divisors(x, size, alpha, k):
    result = np.full(x.shape, float(k))
    for c in range(x.shape[1]):
        for other in range(max(0, c - size // 2), min(x.shape[1], c + size // 2 + 1)):
            result[:, c] += alpha / size * x[:, other] ** 2
    return result


def lrn_gradient(dy, x, size, alpha, beta, k):
    """Each output hands its gradient to its own channel and, through the divisor, to those around it."""
    below, dx = divisors(x, size, alpha, k), np.zeros_like(x)
    for c in range(x.shape[1]):
        dx[:, c] += dy[:, c] * below[:, c] ** -beta
        for other in range(max(0, c - size // 2), min(x.shape[1], c + size // 2 + 1)):
            of_divisor = -beta * x[:, c] * below[:, c] ** (-beta - 1)
            dx[:, other] += dy[:, c] * of_divisor * 2 * alpha / size * x[:, other]
    return dx


def rbf(x, codes):
    """y[n, o] = - sum over i of (x[n, i] - code[o, i])^2 (LeCun et al. 1998, equation 7)."""
    return -((x[:, None] - codes) ** 2).sum(2)


def rbf_gradients(dy, x, codes):
    apart = x[:, None] - codes
    return -2 * (dy[:, :, None] * apart).sum(1), 2 * (dy[:, :, None] * apart).sum(0)
