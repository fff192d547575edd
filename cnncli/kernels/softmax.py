"""Softmax over the channels of each pixel, and its gradient. `rows` (arrays, R) as in `elementwise`; a task owns an
image.
"""

import math

from numba import njit

from cnncli.kernels.functions import OPTIONS, exp
from cnncli.kernels.program import kernel


@njit(**OPTIONS)
def _top(of):
    top = of[0]
    for c in range(1, of.shape[0]):
        top = max(top, of[c])
    return top


@kernel
def channel_softmax(first, last, y, x, rows, pixels, channels, logarithm):
    """y = exp(x) / sum over channels of exp(x), or its logarithm. The largest is taken off first: no exp overflows."""
    real = y.dtype.type
    for n in range(first, last):
        for row in range(rows.shape[1]):
            for p in range(pixels):
                at, beside, total = rows[0, row] + p * channels, rows[1, row] + p * channels, 0.0
                to, of = y[n, at : at + channels], x[n, beside : beside + channels]
                top = _top(of)
                for c in range(channels):
                    to[c] = exp(of[c] - top)
                for c in range(channels):
                    total += to[c]
                if logarithm:
                    rest = real(math.log(total))
                    for c in range(channels):
                        to[c] = of[c] - top - rest
                else:
                    scale = real(1 / total)
                    for c in range(channels):
                        to[c] *= scale


@kernel
def channel_softmax_gradient(first, last, dx, dy, y, rows, pixels, channels, logarithm):
    """dx from the output: y * (dy - sum of dy * y), or of the logarithm dy - exp(y) * sum of dy. rows of dx, dy, y."""
    real = dx.dtype.type
    for n in range(first, last):
        for row in range(rows.shape[1]):
            for p in range(pixels):
                start, total = p * channels, 0.0
                to = dx[n, rows[0, row] + start : rows[0, row] + start + channels]
                of = dy[n, rows[1, row] + start : rows[1, row] + start + channels]
                kept = y[n, rows[2, row] + start : rows[2, row] + start + channels]
                if logarithm:
                    for c in range(channels):
                        total += of[c]
                    rest = real(total)
                    for c in range(channels):
                        to[c] = of[c] - exp(kept[c]) * rest
                else:
                    for c in range(channels):
                        total += of[c] * kept[c]
                    rest = real(total)
                    for c in range(channels):
                        to[c] = kept[c] * (of[c] - rest)
