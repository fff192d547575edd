"""Slow, obvious definitions of what makes images of another size. Arrays and their order as in `naive`."""

import numpy as np
from naive import places


def nearest(size, scale):
    """{(output, input): weight} along an axis: each pixel `scale` times."""
    return {(i * scale + copy, i): 1.0 for i in range(size) for copy in range(scale)}


def linear(size, scale):
    """{(output, input): weight}: a tent around each pixel's centre, two pixels wide; the edges go on outside.

    Pixels are squares of side `scale` in the output, and a pixel's centre lies in its middle.
    """
    weights = {}
    for to in range(size * scale):
        for i in range(-1, size + 1):
            distance = abs((to + 0.5) - (i + 0.5) * scale) / scale
            inside = min(max(i, 0), size - 1)
            weights[to, inside] = weights.get((to, inside), 0.0) + max(0.0, 1 - distance)
    return weights


def enlarge(x, scale, along):
    """y[o] = sum over i of the product of the weights along each axis times x[i]."""
    sizes = x.shape[2:]
    weights = [along(n, s) for n, s in zip(sizes, scale, strict=True)]
    y = np.zeros((*x.shape[:2], *(n * s for n, s in zip(sizes, scale, strict=True))))
    for o in places(y.shape[2:]):
        for i in places(sizes):
            share = np.prod([w.get(pair, 0.0) for w, pair in zip(weights, zip(o, i, strict=True), strict=True)])
            y[..., *o] += share * x[..., *i]
    return y


def enlarge_gradient(dy, x, scale, along):
    """Each output hands its gradient on to its inputs by their weights."""
    weights, dx = [along(n, s) for n, s in zip(x.shape[2:], scale, strict=True)], np.zeros_like(x)
    for o in places(dy.shape[2:]):
        for i in places(x.shape[2:]):
            share = np.prod([w.get(pair, 0.0) for w, pair in zip(weights, zip(o, i, strict=True), strict=True)])
            dx[..., *i] += share * dy[..., *o]
    return dx


def pad(x, padding, mode, value):
    """NumPy's own."""
    around = [(0, 0), (0, 0), *padding]
    if mode in ("reflect", "edge"):
        return np.pad(x, around, mode)
    return np.pad(x, around, constant_values=value if mode == "constant" else 0.0)


def pad_gradient(dy, x, padding, mode):
    """Each output hands its gradient to the pixel that it was made from; -1 is none."""
    numbers = pad(
        np.arange(x.size, dtype=float).reshape(x.shape), padding, mode if mode != "zero" else "constant", -1.0
    )
    dx = np.zeros(x.size)
    for place in places(dy.shape):
        if numbers[place] >= 0:
            dx[int(numbers[place])] += dy[place]
    return dx.reshape(x.shape)


def inside(x, pixels):
    """The places that a crop leaves."""
    return (..., *(slice(before, n - after) for n, (before, after) in zip(x.shape[2:], pixels, strict=True)))


def crop_gradient(dy, x, pixels):
    dx = np.zeros_like(x)
    dx[inside(x, pixels)] = dy
    return dx
