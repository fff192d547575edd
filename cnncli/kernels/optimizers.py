"""Optimisers: one pass over all parameters, which are one flat array. Every element has one writer.

`decayed` parameters come first in the array: weight decay applies to them alone. L2 decay adds decay * w to the
gradient; decoupled decay takes lr * decay * w off the weight (Loshchilov and Hutter 2019).
"""

import math

from numba import njit, prange

SLICE = 4096  # parameters in a task


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def sgd(w, dw, velocity, lr, momentum, nesterov, decay, decoupled, decayed):
    """v = momentum * v + g; w -= lr * v, or lr * (g + momentum * v) with Nesterov's look-ahead, as PyTorch has them."""
    real = w.dtype.type
    rate, keep = real(lr), real(momentum)
    # what the step takes of g and of v: no branch in the loop, so that it is vectorised
    of_g, of_v = (real(1), keep) if nesterov else (real(0), real(1))
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        first, last = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(first, decayed), last)
        for start, end, own in ((first, cut, real(decay)), (cut, last, real(0))):
            l2, direct = (real(0), own) if decoupled else (own, real(0))
            for i in range(start, end):
                g = dw[i] + l2 * w[i]
                v = keep * velocity[i] + g
                velocity[i] = v
                w[i] -= rate * (of_g * g + of_v * v + direct * w[i])


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def adam(w, dw, mean, square, lr, beta1, beta2, eps, step, decay, decoupled, decayed):
    """Adam (Kingma and Ba 2015) and, decoupled, AdamW. `step` counts from 1."""
    real = w.dtype.type
    rate, small, keep1, keep2 = real(lr), real(eps), real(beta1), real(beta2)
    correction1, correction2 = real(1 / (1 - beta1**step)), real(1 / math.sqrt(1 - beta2**step))
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        first, last = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(first, decayed), last)
        for start, end, own in ((first, cut, real(decay)), (cut, last, real(0))):
            l2, direct = (real(0), rate * own) if decoupled else (own, real(0))
            for i in range(start, end):
                g = dw[i] + l2 * w[i]
                m = keep1 * mean[i] + (real(1) - keep1) * g
                s = keep2 * square[i] + (real(1) - keep2) * g * g
                mean[i], square[i] = m, s
                w[i] -= direct * w[i] + rate * (m * correction1) / (real(math.sqrt(s)) * correction2 + small)


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def rmsprop(w, dw, velocity, square, lr, alpha, momentum, eps, decay, decayed):
    """RMSprop (Hinton's lecture 6e, 2012) with PyTorch's momentum."""
    real = w.dtype.type
    rate, small, keep, smooth = real(lr), real(eps), real(momentum), real(alpha)
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        first, last = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(first, decayed), last)
        for start, end, own in ((first, cut, real(decay)), (cut, last, real(0))):
            for i in range(start, end):
                g = dw[i] + own * w[i]
                s = smooth * square[i] + (real(1) - smooth) * g * g
                v = keep * velocity[i] + g / (real(math.sqrt(s)) + small)
                square[i], velocity[i] = s, v
                w[i] -= rate * v
