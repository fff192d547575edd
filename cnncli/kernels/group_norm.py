"""Normalisation over groups of channels of each image (Wu and He 2018). Buffers, rows and periods as in `normalize`.

A task owns an image. Sums over pixels are taken in the arrays' type, over groups in float64.
"""

import math

from numba import njit

from cnncli.kernels.normalize import add_moments, add_products, apply, apply_and_add, apply_gradient, segment
from cnncli.kernels.program import kernel


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _statistics(terms, sums, saved, x, start, starts, length, eps, shape):
    """The mean of each element's group in terms[0] (P,), and 1 / standard deviation of each group in saved (G,)."""
    channels, groups = shape
    per, width, mean = channels // groups, terms.shape[1], terms[0]
    for g in range(groups):  # the origin of the sums: no square of a large mean cancels
        total = 0.0
        for first in range(0, length, channels):
            for c in range(g * per, (g + 1) * per):
                total += x[start + first + c]
        for first in range(0, width, channels):
            for c in range(g * per, (g + 1) * per):
                mean[first + c] = total / (length // channels * per)
    for i in range(width):
        sums[0, i] = 0
        sums[1, i] = 0
    for begin in starts:
        for done in range(0, length, width):
            count = min(width, length - done)
            add_moments(sums[0], sums[1], x[begin + done : begin + done + count], mean)
    elements = float(per * (length // channels) * starts.shape[0])
    for g in range(groups):
        total, squares = 0.0, 0.0
        for first in range(0, width, channels):
            for c in range(g * per, (g + 1) * per):
                total += sums[0, first + c]
                squares += sums[1, first + c]
        offset = total / elements
        variance = max(0.0, squares / elements - offset * offset)
        if offset != offset:
            variance = offset  # a NaN is to be seen
        saved[g] = 1 / math.sqrt(variance + eps)
        for first in range(0, width, channels):
            for c in range(g * per, (g + 1) * per):
                mean[first + c] += offset


@kernel
def group_normalize(
    first, last, y, x, other, rows, length, terms, sums, saved, weight, bias, groups, eps, adds, relu
):  # fmt: skip
    """y = (x - mean) / standard deviation of its group * weight + bias, plus `other` if `adds`, then relu if asked.

    rows (3, R) of y, x and other; terms (N, 3, P) receives mean, scale and shift; saved (N, G) 1 / standard deviation;
    sums (N, 2, P) is to work in.
    """
    channels, width, zero = weight.shape[0], terms.shape[2], y.dtype.type(0)
    for n in range(first, last):
        mean, scale, shift = terms[n, 0], terms[n, 1], terms[n, 2]
        _statistics(terms[n], sums[n], saved[n], x[n], rows[1, 0], rows[1], length, eps, (channels, groups))
        for i in range(width):
            c = i % channels
            scale[i], shift[i] = weight[c] * saved[n, c // (channels // groups)], bias[c]
        for row in range(rows.shape[1]):
            for done in range(0, length, width):
                count = min(width, length - done)
                to, of = segment(y, n, rows[0, row] + done, count), segment(x, n, rows[1, row] + done, count)
                if adds:
                    more = segment(other, n, rows[2, row] + done, count)
                    apply_and_add(to, of, more, mean, scale, shift, zero, relu)
                else:
                    apply(to, of, mean, scale, shift, zero, relu)


@kernel
def group_products(first, last, sums, terms, dy, x, rows, length):
    """sums[n] = sums over an image of dy and of dy * (x - mean), for each element of a period; rows (2, R) of dy, x."""
    width = terms.shape[2]
    for n in range(first, last):
        for i in range(width):
            sums[n, 0, i] = 0
            sums[n, 1, i] = 0
        for row in range(rows.shape[1]):
            for done in range(0, length, width):
                count = min(width, length - done)
                gradient, of = segment(dy, n, rows[0, row] + done, count), segment(x, n, rows[1, row] + done, count)
                add_products(sums[n, 0], sums[n, 1], gradient, of, terms[n, 0])


@kernel
def group_weight_gradient(first, last, dweight, dbias, sums, saved):
    """dweight, dbias (C,) = what all images' `group_products` come to, in float64. A task owns a channel."""
    channels = dweight.shape[0]
    per = channels // saved.shape[1]
    for c in range(first, last):
        of_x, of_dy = 0.0, 0.0
        for n in range(sums.shape[0]):
            products = 0.0
            for i in range(c, sums.shape[2], channels):
                of_dy += sums[n, 0, i]
                products += sums[n, 1, i]
            of_x += products * saved[n, c // per]
        dweight[c], dbias[c] = of_x, of_dy


@kernel
def group_normalize_gradient(first, last, dx, dy, x, rows, length, terms, sums, saved, weight, work):
    """dx from `group_products`. rows (3, R) of dx, dy and x; work (N, 3, P) is to work in."""
    channels, width = weight.shape[0], terms.shape[2]
    per = channels // saved.shape[1]
    for n in range(first, last):
        for g in range(saved.shape[1]):
            of_dy, of_x, inverse = 0.0, 0.0, float(saved[n, g])
            for begin in range(0, width, channels):
                for c in range(g * per, (g + 1) * per):
                    of_dy += sums[n, 0, begin + c] * weight[c]
                    of_x += sums[n, 1, begin + c] * weight[c]
            elements = float(per * (length // channels) * rows.shape[1])
            for begin in range(0, width, channels):
                for c in range(g * per, (g + 1) * per):
                    work[n, 0, begin + c] = weight[c] * inverse
                    work[n, 1, begin + c] = -of_x * inverse * inverse * inverse / elements
                    work[n, 2, begin + c] = -of_dy * inverse / elements
        for row in range(rows.shape[1]):
            for done in range(0, length, width):
                count = min(width, length - done)
                to, of = segment(dx, n, rows[0, row] + done, count), segment(dy, n, rows[1, row] + done, count)
                kept = segment(x, n, rows[2, row] + done, count)
                apply_gradient(to, of, kept, terms[n, 0], work[n, 0], work[n, 1], work[n, 2])
