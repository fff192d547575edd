"""How far rounding may take a layer's results from its definition."""

import naive
import naive_channels
import naive_windows
import numpy as np
from cases import window_options


def tolerances(case, x, parameters, dy, dtype):
    """{"y" or "x" or a parameter's name: how far its result or gradient may be off}, to be broadcast to its shape."""
    eps = np.finfo(dtype).eps
    if case.kind == "batch_norm":
        return _of_batch_norm(case, x, parameters, dy, eps)
    if case.kind == "group_norm":
        return _of_group_norm(case, x, parameters, dy, eps)
    if case.kind == "normalized_conv":
        return _of_normalized_conv(case, x, parameters, dy, eps)
    return {}


def handful(wanted, dtype):
    """A handful of roundings of numbers up to the largest: exp, erf, 1 / count, and what cancels after them."""
    return 16 * np.finfo(dtype).eps * max(1, abs(wanted).max())


def _of_batch_norm(case, x, parameters, dy, eps):
    """Sums of n terms are off by at most n eps times the sum of their absolute values (Higham 2002, section 3.1).

    With s the deviation and D the largest |x - mean| / s: what is summed is at most 2 D s from the origin of the sums,
    so the mean is off by 2 n eps D s, and by eps |mean| for being stored; the variance by 4 n eps D^2 s^2, which takes
    half as much of s. `error` holds what that makes of each normalised element, and of 1 / s; the gradients are sums
    and products of those.
    """
    axes, (mean, variance) = (0, *range(2, x.ndim)), naive.batch_statistics(x)
    deviation = np.sqrt(variance + case.options.get("eps", 1e-5))
    far = abs(x - naive.by_channel(mean, x)).max(axes) / deviation
    error = _of_normalized(x.size / len(mean), mean, deviation, far, eps)
    weight, bias = (abs(parameters.get(name, one)) for name, one in (("weight", 1.0 + 0 * mean), ("bias", 0 * mean)))
    total = abs(dy).sum(axes)
    of_x = 4 * error * (1 + far) ** 2 * weight / deviation * abs(dy).max(axes)
    return {
        "y": naive.by_channel(error * (weight + bias), x),
        "x": naive.by_channel(of_x, x),
        "weight": 2 * error * (1 + far) * total,
        "bias": error * total,
    }


def _of_normalized(n, mean, deviation, far, eps):
    return eps * ((n + 4) * (1 + 2 * far + 2 * far**3) + 2 * abs(mean) / deviation)


def _of_group_norm(case, x, parameters, dy, eps):
    """As `_of_batch_norm`, with each group of each image for a channel."""
    groups = case.channels if case.options["groups"] == "channels" else case.options["groups"]
    parts, weight, bias = naive_channels.in_groups(x, groups), abs(parameters["weight"]), abs(parameters["bias"])
    mean, deviation = parts.mean(1), np.sqrt(parts.var(1) + case.options.get("eps", 1e-5))
    far = abs(parts - mean[:, None]).max(1) / deviation
    error = _of_normalized(parts.shape[1], mean, deviation, far, eps)

    def by_channel(of_group):
        """(images, channels, 1, ...) of numbers for each group of each image."""
        each = np.repeat(of_group.reshape(len(x), groups), case.channels // groups, 1)
        return each.reshape(*each.shape, *[1] * (x.ndim - 2))

    largest = abs(naive_channels.in_groups(dy * naive.by_channel(weight, x), groups)).max(1)
    total, axes = abs(dy).sum(tuple(range(2, x.ndim)), keepdims=True), (0, *range(2, x.ndim))
    return {
        "y": by_channel(error) * naive.by_channel(weight + bias, x),
        "x": by_channel(4 * error * (1 + far) ** 2 * largest / deviation),
        "weight": (by_channel(2 * error * (1 + far)) * total).sum(axes),
        "bias": (by_channel(error) * total).sum(axes),
    }


def _of_normalized_conv(case, x, parameters, dy, eps):
    """Sums of n terms are off by at most n eps times the sum of their absolute values, and so are sums of those.

    `far` bounds the normalised elements before anything cancels; a filter less its mean is at most `weight`.
    """
    w, (_, stride, dilation, padding) = parameters["weight"], window_options(case, "kernel")
    where = w.shape[2:], stride, padding, dilation
    found, by_pixel = naive_windows.windows(x, *where), np.moveaxis(abs(dy).reshape(*dy.shape[:2], -1), 1, 2)
    mean, deviation = naive_windows.moments(found, case.options.get("center", True), case.options.get("eps", 1e-5))
    far, flat = (abs(found) + abs(mean)) / deviation, abs(w).reshape(len(w), -1)
    weight, bias = flat + flat.mean(1, keepdims=True), abs(parameters.get("bias", np.zeros(len(w))))
    terms = flat.shape[1] + len(w) + 16
    y = eps * (terms * far @ weight.T + bias)
    given, of_bias = by_pixel @ weight, by_pixel @ bias
    around = given + given.mean(2, keepdims=True) + far * ((given * far).mean(2) + of_bias / flat.shape[1])[..., None]
    dx = naive_windows.scatter(2 * eps * terms * around / deviation, x.shape, *where)
    dw = 2 * eps * (terms + by_pixel[..., 0].size) * np.einsum("npo,npi->oi", by_pixel, far)
    centred = dw + dw.mean(1, keepdims=True)
    return {"y": np.moveaxis(y, 2, 1).reshape(dy.shape), "x": dx, "weight": centred.reshape(w.shape)}
