"""Straight-line activations, dropout and copies: loops over rows of pixels, each row contiguous in every array.

Arrays are (images, elements); `rows` (arrays, R) gives where each row of `length` elements begins in each array. A
task owns an image.
"""

import numpy as np
from numba import njit

from cnncli.kernels.program import kernel

RELU, LEAKY_RELU, RELU6 = range(3)


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def row_of(array, n, start, length):
    """A row as a slice: an index that begins at 0 is seen not to be negative, and the loop is vectorised."""
    return array[n, start : start + length]


@kernel
def activate(first, last, y, x, rows, length, kind, alpha):
    """y = f(x) by one of the functions that are straight lines. `alpha` is the slope of leaky_relu below 0."""
    real = y.dtype.type
    for n in range(first, last):
        for row in range(rows.shape[1]):
            to, of = row_of(y, n, rows[0, row], length), row_of(x, n, rows[1, row], length)
            if kind == RELU:
                for i in range(length):
                    to[i] = real(0) if of[i] < 0 else of[i]
            elif kind == LEAKY_RELU:
                for i in range(length):
                    to[i] = of[i] * real(alpha) if of[i] < 0 else of[i]
            else:
                for i in range(length):
                    value = real(0) if of[i] < 0 else of[i]
                    to[i] = real(6) if value > 6 else value


@kernel
def activate_gradient(first, last, dx, dy, saved, rows, length, kind, alpha):
    """dx = dy * f'. `saved` is the output y; `rows` in the order dx, dy, saved."""
    real = dx.dtype.type
    for n in range(first, last):
        for row in range(rows.shape[1]):
            to, of = row_of(dx, n, rows[0, row], length), row_of(dy, n, rows[1, row], length)
            kept = row_of(saved, n, rows[2, row], length)
            if kind == RELU:
                for i in range(length):
                    to[i] = of[i] if kept[i] > 0 else real(0)
            elif kind == LEAKY_RELU:
                for i in range(length):
                    to[i] = of[i] * (real(1) if kept[i] > 0 else real(alpha))
            else:
                for i in range(length):
                    to[i] = of[i] if 0 < kept[i] < 6 else real(0)


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def mix(a, b):
    """A well-mixed 64-bit word from two: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = a + b * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def dropout(first, last, y, x, rows, length, rate, key, samples):
    """y = x / (1 - rate), or 0 with probability `rate`, decided by (key, sample, element) alone; also its gradient.

    key (1,) uint64 stands for seed, epoch and layer; samples (N,) int64 number the images in the data set.
    """
    real = y.dtype.type
    scale, limit = real(1 / (1 - rate)), np.uint64(rate * 2.0**53)
    for n in range(first, last):
        image = mix(key[0], np.uint64(samples[n]))
        for row in range(rows.shape[1]):
            to, of = row_of(y, n, rows[0, row], length), row_of(x, n, rows[1, row], length)
            for i in range(length):
                drawn = mix(image, np.uint64(row * length + i)) >> np.uint64(11)
                to[i] = of[i] * scale if drawn >= limit else real(0)


@kernel
def channel_dropout(first, last, y, x, rows, length, channels, factors, rate, key, samples):
    """As `dropout`, for whole channels: decided by (key, sample, channel) alone.

    factors (N, P) is to work in: what each element of P, a multiple of the channels, is multiplied by.
    """
    real, width = y.dtype.type, factors.shape[1]
    scale, limit = real(1 / (1 - rate)), np.uint64(rate * 2.0**53)
    for n in range(first, last):
        image, of_period = mix(key[0], np.uint64(samples[n])), factors[n]
        for i in range(width):
            drawn = mix(image, np.uint64(i % channels)) >> np.uint64(11)
            of_period[i] = scale if drawn >= limit else real(0)
        for row in range(rows.shape[1]):
            for done in range(0, length, width):
                count = min(width, length - done)
                to, of = row_of(y, n, rows[0, row] + done, count), row_of(x, n, rows[1, row] + done, count)
                for i in range(count):
                    to[i] = of[i] * of_period[i] if of_period[i] > 0 else real(0)


@kernel
def copy_rows(first, last, y, x, rows, length):
    """y = x, row by row."""
    for n in range(first, last):
        for row in range(rows.shape[1]):
            to, of = row_of(y, n, rows[0, row], length), row_of(x, n, rows[1, row], length)
            for i in range(length):
                to[i] = of[i]


@kernel
def add(first, last, y, a, b, rows, length, relu):
    """y = a + b, row by row, or relu of it; y may be a or b."""
    real = y.dtype.type
    for n in range(first, last):
        for row in range(rows.shape[1]):
            to, one, other = (
                row_of(y, n, rows[0, row], length),
                row_of(a, n, rows[1, row], length),
                row_of(b, n, rows[2, row], length),
            )
            if relu:
                for i in range(length):
                    value = one[i] + other[i]
                    to[i] = real(0) if value < 0 else value
            else:
                for i in range(length):
                    to[i] = one[i] + other[i]
