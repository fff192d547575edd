"""Several values joined to one: channels side by side, products, maxima. `elementwise.add` makes sums.

Arrays and `rows` as in `elementwise`; `length` elements, or `width` pixels, to a row. Each backward kernel makes the
gradient of one input: with `adds` on top of what it holds, with `gated` 0 where the input `x` is not positive.
"""

from numba import njit

from cnncli.kernels.elementwise import row_of
from cnncli.kernels.program import Step, kernel

CHUNK = 4096  # elements of a sum that are a task


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _settled(before, share, x, adds, gated, zero):
    """What a gradient becomes by a share of it."""
    total = before + share if adds else share
    return total if x > 0 or not gated else zero


@kernel
def put_channels(first, last, y, x, rows, width, channels, offset, total):
    """y[..., offset : offset + channels] = x, where y has `total` channels."""
    for n in range(first, last):
        for r in range(rows.shape[1]):
            for pixel in range(width):
                to = row_of(y, n, rows[0, r] + pixel * total + offset, channels)
                of = row_of(x, n, rows[1, r] + pixel * channels, channels)
                for c in range(channels):
                    to[c] = of[c]


@kernel
def clear_channels(first, last, y, rows, width, channels, offset, total):
    """y[..., offset : offset + channels] = 0."""
    for n in range(first, last):
        for r in range(rows.shape[1]):
            for pixel in range(width):
                to = row_of(y, n, rows[0, r] + pixel * total + offset, channels)
                for c in range(channels):
                    to[c] = 0


@kernel
def take_channels(first, last, dx, dy, x, rows, width, channels, offset, total, adds, gated):
    """dx = dy[..., offset : offset + channels], where dy has `total` channels."""
    real = dx.dtype.type
    for n in range(first, last):
        for r in range(rows.shape[1]):
            for pixel in range(width):
                at = pixel * channels
                to = row_of(dx, n, rows[0, r] + at, channels)
                of = row_of(dy, n, rows[1, r] + pixel * total + offset, channels)
                kept = row_of(x, n, rows[2, r] + at, channels)
                for c in range(channels):
                    to[c] = _settled(to[c], of[c], kept[c], adds, gated, real(0))


@kernel
def multiply(first, last, y, a, b, rows, length):
    """y = a * b; y may be a."""
    for n in range(first, last):
        for r in range(rows.shape[1]):
            to, one, other = (
                row_of(y, n, rows[0, r], length),
                row_of(a, n, rows[1, r], length),
                row_of(b, n, rows[2, r], length),
            )
            for i in range(length):
                to[i] = one[i] * other[i]


@kernel
def multiply_gradient(first, last, dx, dy, other, x, rows, length, adds, gated):
    """dx = dy * other, where `other` is the product of the other inputs."""
    real = dx.dtype.type
    for n in range(first, last):
        for r in range(rows.shape[1]):
            to, of = row_of(dx, n, rows[0, r], length), row_of(dy, n, rows[1, r], length)
            factor, kept = row_of(other, n, rows[2, r], length), row_of(x, n, rows[3, r], length)
            for i in range(length):
                to[i] = _settled(to[i], of[i] * factor[i], kept[i], adds, gated, real(0))


@kernel
def maximum(first, last, y, winner, x, rows, length, number):
    """y = max(y, x), or x for input `number` 0; winner (N, R * length) is the first input that reaches it, if asked."""
    for n in range(first, last):
        for r in range(rows.shape[1]):
            to, of = row_of(y, n, rows[0, r], length), row_of(x, n, rows[1, r], length)
            won = row_of(winner, n, rows[2, r], length)
            for i in range(length):
                if number == 0 or of[i] > to[i] or of[i] != of[i]:
                    to[i] = of[i]
                    won[i] = number


@kernel
def maximum_gradient(first, last, dx, dy, winner, x, rows, length, number, adds, gated):
    """dx = dy where input `number` won, else 0."""
    real = dx.dtype.type
    for n in range(first, last):
        for r in range(rows.shape[1]):
            to, of = row_of(dx, n, rows[0, r], length), row_of(dy, n, rows[1, r], length)
            won, kept = row_of(winner, n, rows[2, r], length), row_of(x, n, rows[3, r], length)
            for i in range(length):
                to[i] = _settled(to[i], of[i] if won[i] == number else real(0), kept[i], adds, gated, real(0))


@kernel
def accumulate(first, last, total, share):
    """total += share, both flat."""
    for chunk in range(first, last):
        to, of = total[chunk * CHUNK : (chunk + 1) * CHUNK], share[chunk * CHUNK : (chunk + 1) * CHUNK]
        for i in range(len(to)):
            to[i] += of[i]


def plan_sum(total, share) -> Step:
    """The step that adds `share` to `total`."""
    return accumulate.step(-(-total.size // CHUNK), total, share)
