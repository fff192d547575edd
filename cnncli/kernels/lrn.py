"""Local response normalisation across channels. `rows` (arrays, R) as in `elementwise`; a task owns an image."""

from numba import njit

from cnncli.kernels.functions import OPTIONS, exp, log
from cnncli.kernels.program import kernel


@njit(**OPTIONS)
def _add_squares(to, of):
    for c in range(to.shape[0]):
        to[c] += of[c] * of[c]


@njit(**OPTIONS)
def _add(to, of):
    for c in range(to.shape[0]):
        to[c] += of[c]


@kernel
def local_response(first, last, y, x, divisor, rows, pixels, channels, reach, factor, k, beta):
    """divisor = k + factor * sum of x^2 over the channels at most `reach` away, y = x / divisor^beta.

    divisor (N, pixels of all rows * C) is for the gradient; rows (2, R) of y and x.
    """
    real = y.dtype.type
    scale, start_at, power = real(factor), real(k), real(-beta)
    for n in range(first, last):
        for row in range(rows.shape[1]):
            for p in range(pixels):
                at, beside, place = rows[0, row] + p * channels, rows[1, row] + p * channels, row * pixels + p
                to, of = y[n, at : at + channels], x[n, beside : beside + channels]
                sums = divisor[n, place * channels : (place + 1) * channels]
                sums[:] = 0
                for t in range(-reach, reach + 1):
                    low, high = max(0, -t), min(channels, channels - t)
                    _add_squares(sums[low:high], of[low + t : high + t])
                for c in range(channels):
                    sums[c] = start_at + scale * sums[c]
                    to[c] = of[c] * exp(power * log(sums[c]))


@kernel
def local_response_gradient(
    first, last, thread, dx, dy, x, divisor, work, rows, pixels, channels, reach, factor, beta
):  # fmt: skip
    """dx = dy / divisor^beta - 2 factor beta x * sum of dy * y / divisor over the channels at most `reach` away.

    rows (3, R) of dx, dy and x; work (threads, 2, C) is to work in.
    """
    real = dx.dtype.type
    twice, power = real(2 * factor * beta), real(-beta)
    terms, sums = work[thread, 0], work[thread, 1]
    for n in range(first, last):
        for row in range(rows.shape[1]):
            for p in range(pixels):
                start, place = p * channels, row * pixels + p
                to = dx[n, rows[0, row] + start : rows[0, row] + start + channels]
                of = dy[n, rows[1, row] + start : rows[1, row] + start + channels]
                kept = x[n, rows[2, row] + start : rows[2, row] + start + channels]
                below = divisor[n, place * channels : (place + 1) * channels]
                for c in range(channels):
                    to[c] = of[c] * exp(power * log(below[c]))
                    terms[c] = to[c] * kept[c] / below[c]
                    sums[c] = 0
                for t in range(-reach, reach + 1):
                    low, high = max(0, -t), min(channels, channels - t)
                    _add(sums[low:high], terms[low + t : high + t])
                for c in range(channels):
                    to[c] -= twice * kept[c] * sums[c]
