"""How far rounding may take a layer's results from its definition."""

import naive
import numpy as np


def tolerances(case, x, parameters, dy, dtype):
    """{"y" or "x" or a parameter's name: how far its result or gradient may be off}, to be broadcast to its shape."""
    eps = np.finfo(dtype).eps
    if case.kind == "batch_norm":
        return _of_batch_norm(case, x, parameters, dy, eps)
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
    n, deviation = x.size / len(mean), np.sqrt(variance + case.options.get("eps", 1e-5))
    far = abs(x - naive.by_channel(mean, x)).max(axes) / deviation
    error = eps * ((n + 4) * (1 + 2 * far + 2 * far**3) + 2 * abs(mean) / deviation)
    weight, bias, total = abs(parameters["weight"]), abs(parameters["bias"]), abs(dy).sum(axes)
    of_x = 4 * error * (1 + far) ** 2 * weight / deviation * abs(dy).max(axes)
    return {
        "y": naive.by_channel(error * (weight + bias), x),
        "x": naive.by_channel(of_x, x),
        "weight": 2 * error * (1 + far) * total,
        "bias": error * total,
    }
