"""What a normalised convolution does besides its convolution: the moments of its windows.

`rows` (places, P) gives for each output pixel where its window begins in a map of the input's pixels, then its place in
each buffer of outputs; `taps` the offsets of a window's pixels; `phases` holds (first row, rows, first tap, taps):
padding, which is zeros, is not among a pixel's taps. A task owns an image.
"""

import math

import numpy as np
from numba import njit

from cnncli.kernels import geometry
from cnncli.kernels.geometry import Axis, Layout
from cnncli.kernels.program import kernel
from cnncli.kernels.strips import STRIP


def tables(axes: tuple[Axis, Axis, Axis], results: list[Layout]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, taps, phases)."""
    source = geometry.packed(tuple(axis.size for axis in axes), 1)
    found = geometry.tables([geometry.forward_groups(axis) for axis in axes], source, results, (0, 0, 0))
    for row, count, tap, taps in found.phases:
        if taps:
            window = found.rows[0, row : row + count], found.taps[0, tap : tap + taps]
            geometry.check_bounds("pixels", source.elements, *window)
    return found.rows, np.ascontiguousarray(found.taps[0]), np.array(found.phases, np.int64)


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _add_pixels(sums, squares, x, starts, pixels, channels):
    """The sum over channels of each pixel, and of its squares."""
    for row in range(starts.shape[0]):
        for p in range(pixels):
            begin, total, square = starts[row] + p * channels, 0.0, 0.0
            for c in range(begin, begin + channels):
                value = np.float64(x[c])  # float() of a float32 would square it as such
                total += value
                square += value * value
            sums[row * pixels + p] = total
            squares[row * pixels + p] = square


@kernel
def scale_windows(
    first, last, thread, y, u, x, bias, moments, work,
    rows, starts, taps, phases, channels, elements, eps, centred, relu,
):  # fmt: skip
    """y = u / sqrt(mean of the window's squares + eps) + bias, then relu if asked; y may be u. `centred`: squares less
    the mean's. rows (3, P) of windows, u and y.

    starts (R,): where rows of pixels lie in x, of `channels`; `elements` of a window, padding included. moments
    (N, 2, P) receives each window's mean, and what y is multiplied by; work (threads, 2, pixels) float64 is to work in.
    """
    real, zero, pixels = y.dtype.type, y.dtype.type(0), work.shape[2] // starts.shape[0]
    sums, squares = work[thread, 0], work[thread, 1]
    for n in range(first, last):
        _add_pixels(sums, squares, x[n], starts, pixels, channels)
        for phase in range(phases.shape[0]):
            row, count, tap, many = phases[phase]
            for i in range(row, row + count):
                total, square = 0.0, 0.0
                for t in range(tap, tap + many):
                    total += sums[rows[0, i] + taps[t]]
                    square += squares[rows[0, i] + taps[t]]
                mean = total / elements if centred else 0.0
                scale = real(1 / math.sqrt(max(0.0, square / elements - mean * mean) + eps))
                moments[n, 0, i], moments[n, 1, i] = mean, scale
                of = u[n, rows[1, i] : rows[1, i] + bias.shape[0]]
                to = y[n, rows[2, i] : rows[2, i] + bias.shape[0]]
                for c in range(bias.shape[0]):
                    value = of[c] * scale + bias[c]
                    to[c] = zero if relu and value < 0 else value


@kernel
def scale_windows_gradient(first, last, du, dy, u, moments, pulls, rows, taps, phases, channels, elements):
    """du from dy; rows (4, P) of windows, u, dy and du.

    The scale of a window pulls at each of its elements x by a (x - mean), with a = - sum of dy * u * scale^3 /
    elements: pulls (N, 2, pixels) receives for each pixel the sum over its windows of a, and of a times the mean.
    """
    for n in range(first, last):
        of_scale, of_mean = pulls[n, 0], pulls[n, 1]
        of_scale[:] = 0
        of_mean[:] = 0
        for phase in range(phases.shape[0]):
            row, count, tap, many = phases[phase]
            for i in range(row, row + count):
                mean, scale, total = moments[n, 0, i], moments[n, 1, i], 0.0
                made = u[n, rows[1, i] : rows[1, i] + channels]
                of = dy[n, rows[2, i] : rows[2, i] + channels]
                to = du[n, rows[3, i] : rows[3, i] + channels]
                for c in range(channels):
                    to[c] = of[c] * scale
                    total += of[c] * made[c]
                pull = du.dtype.type(-total * scale * scale * scale / elements)
                for t in range(tap, tap + many):
                    of_scale[rows[0, i] + taps[t]] += pull
                    of_mean[rows[0, i] + taps[t]] += pull * mean


@kernel
def add_pulls(first, last, dx, x, pulls, rows, channels):
    """dx += x times a pixel's first pull, less its second; rows (2, R) of dx and x."""
    pixels = pulls.shape[2] // rows.shape[1]
    for n in range(first, last):
        for row in range(rows.shape[1]):
            for p in range(pixels):
                of_scale, of_mean = pulls[n, 0, row * pixels + p], pulls[n, 1, row * pixels + p]
                to = dx[n, rows[0, row] + p * channels : rows[0, row] + (p + 1) * channels]
                of = x[n, rows[1, row] + p * channels : rows[1, row] + (p + 1) * channels]
                for c in range(channels):
                    to[c] += of_scale * of[c] - of_mean


@kernel
def centre(first, last, to, of, height, filters):
    """to = of less each filter's mean, for weights in strips of `height` rows; both are flat, and may be one array.

    A task owns a strip.
    """
    for strip in range(first, last):
        begin, width = strip * STRIP * height, min(STRIP, filters - strip * STRIP)
        for c in range(width):
            total = 0.0
            for r in range(height):
                total += of[begin + r * width + c]
            mean = of.dtype.type(total / height)
            for r in range(height):
                to[begin + r * width + c] = of[begin + r * width + c] - mean
