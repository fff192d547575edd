"""Activations that need exp or its kin: apart from `elementwise`, so that networks without them need not compile them.

Arrays are (images, elements); `rows` (arrays, R) gives where each row of `length` elements begins in each array. A task
owns an image.
"""

import math

from numba import njit

from cnncli.kernels.elementwise import row_of
from cnncli.kernels.functions import OPTIONS, exp, expm1, log1p, tanh
from cnncli.kernels.program import kernel

ELU, GELU, SIGMOID, TANH, SOFTPLUS, SWISH, SCALED_TANH = range(7)
FROM_INPUT = (GELU, SOFTPLUS, SWISH)  # the others' gradient needs only the output

SQRT_HALF = math.sqrt(0.5)
INVERSE_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
HEIGHT, SLOPE = 1.7159, 2 / 3  # of scaled_tanh: its values at 1 and -1 are 1 and -1


@njit(**OPTIONS)
def _sigmoid(x, one):
    return one / (one + exp(-x))


@kernel
def smooth(first, last, y, x, rows, length, kind, alpha):
    """y = f(x). `alpha` is the limit of elu, or the factor inside of swish. gelu is the exact x * Phi(x)."""
    real = y.dtype.type
    zero, one, half, alpha = real(0), real(1), real(0.5), real(alpha)
    for n in range(first, last):
        for row in range(rows.shape[1]):
            to, of = row_of(y, n, rows[0, row], length), row_of(x, n, rows[1, row], length)
            if kind == ELU:
                for i in range(length):
                    value = of[i]
                    below = alpha * expm1(value if value < zero else zero)
                    to[i] = below if value < zero else value
            elif kind == GELU:
                for i in range(length):
                    to[i] = of[i] * half * (one + real(math.erf(of[i] * real(SQRT_HALF))))
            elif kind == SIGMOID:
                for i in range(length):
                    to[i] = _sigmoid(of[i], one)
            elif kind == TANH:
                for i in range(length):
                    to[i] = tanh(of[i])
            elif kind == SOFTPLUS:
                for i in range(length):
                    value = of[i]
                    to[i] = (value if value > zero else zero) + log1p(exp(-abs(value)))
            elif kind == SWISH:
                for i in range(length):
                    to[i] = of[i] * _sigmoid(alpha * of[i], one)
            else:
                for i in range(length):
                    to[i] = real(HEIGHT) * tanh(real(SLOPE) * of[i])


@kernel
def smooth_gradient(first, last, dx, dy, saved, rows, length, kind, alpha):
    """dx = dy * f'. `saved` is the output y, or the input x of what is in FROM_INPUT; `rows` of dx, dy, saved."""
    real = dx.dtype.type
    one, half, alpha = real(1), real(0.5), real(alpha)
    steepest, bent = real(HEIGHT * SLOPE), real(SLOPE / HEIGHT)
    for n in range(first, last):
        for row in range(rows.shape[1]):
            to, of = row_of(dx, n, rows[0, row], length), row_of(dy, n, rows[1, row], length)
            kept = row_of(saved, n, rows[2, row], length)
            if kind == ELU:
                for i in range(length):
                    to[i] = of[i] * (one if kept[i] > 0 else kept[i] + alpha)
            elif kind == GELU:
                for i in range(length):
                    value = kept[i]
                    cdf = half * (one + real(math.erf(value * real(SQRT_HALF))))
                    to[i] = of[i] * (cdf + value * exp(-half * value * value) * real(INVERSE_SQRT_2PI))
            elif kind == SIGMOID:
                for i in range(length):
                    to[i] = of[i] * kept[i] * (one - kept[i])
            elif kind == TANH:
                for i in range(length):
                    to[i] = of[i] * (one - kept[i] * kept[i])
            elif kind == SOFTPLUS:
                for i in range(length):
                    to[i] = of[i] * _sigmoid(kept[i], one)
            elif kind == SWISH:
                for i in range(length):
                    value = alpha * kept[i]
                    share = _sigmoid(value, one)
                    to[i] = of[i] * (share + value * share * (one - share))
            else:
                for i in range(length):
                    to[i] = of[i] * (steepest - bent * kept[i] * kept[i])
