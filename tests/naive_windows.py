"""Slow, obvious definition of a convolution over normalised windows. Arrays and their order as in `naive`."""

import naive
import numpy as np


def windows(x, kernel, stride, padding, dilation):
    """(images, output pixels, elements): every window, its channels one after another, padding as zeros."""
    sizes = naive.output_sizes(x.shape[2:], kernel, stride, dilation, padding)
    x, found = naive.pad(x, padding), []
    for p in naive.places(sizes):
        taps = [x[..., *naive.tap_source(p, t, stride, dilation)] for t in naive.places(kernel)]
        found.append(np.stack(taps, 2).reshape(len(x), -1))
    return np.stack(found, 1)


def scatter(elements, shape, kernel, stride, padding, dilation):
    """The transpose of `windows`: each element of each window added to where it came from, in an x of `shape`."""
    padded = naive.pad(np.zeros(shape), padding)
    sizes = naive.output_sizes(shape[2:], kernel, stride, dilation, padding)
    for i, p in enumerate(naive.places(sizes)):
        taps = elements[:, i].reshape(shape[0], shape[1], -1)
        for j, t in enumerate(naive.places(kernel)):
            padded[..., *naive.tap_source(p, t, stride, dilation)] += taps[:, :, j]
    return naive.unpad(padded, padding)


def moments(found, center, eps):
    """(mean, deviation) of each window; without `center` the mean is 0."""
    mean = found.mean(2, keepdims=True) if center else np.zeros((*found.shape[:2], 1))
    return mean, np.sqrt(((found - mean) ** 2).mean(2, keepdims=True) + eps)


def normalized_convolution(x, w, b, center, eps, stride, padding, dilation):
    """y[n, o, p] = b[o] + sum over the window at p of w[o] (x - mean) / deviation."""
    kernel = w.shape[2:]
    found = windows(x, kernel, stride, padding, dilation)
    mean, deviation = moments(found, center, eps)
    y = ((found - mean) / deviation) @ w.reshape(len(w), -1).T + (0 if b is None else b)
    sizes = naive.output_sizes(x.shape[2:], kernel, stride, dilation, padding)
    return np.moveaxis(y, 2, 1).reshape(len(x), len(w), *sizes)


def normalized_convolution_gradients(dy, x, w, center, eps, stride, padding, dilation):
    """(dx, dw, db), by the rule of layer normalisation (Ba et al. 2016) for each window."""
    where = w.shape[2:], stride, padding, dilation
    found, by_pixel = windows(x, *where), np.moveaxis(dy.reshape(*dy.shape[:2], -1), 1, 2)
    mean, deviation = moments(found, center, eps)
    share, given = (found - mean) / deviation, by_pixel @ w.reshape(len(w), -1)
    around = given - share * (given * share).mean(2, keepdims=True)
    around -= given.mean(2, keepdims=True) if center else 0
    dw = np.einsum("npo,npi->oi", by_pixel, share).reshape(w.shape)
    return scatter(around / deviation, x.shape, *where), dw, by_pixel.sum((0, 1))
