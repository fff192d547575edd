"""Optimisers: one pass over all parameters, which are one flat array. Every element has one writer.

`decayed` parameters come first in the array: weight decay applies to them alone. L2 decay adds decay * w to the
gradient; decoupled decay takes lr * decay * w off the weight (Loshchilov and Hutter 2019).

The rules are loops over slices that begin at 0: LLVM vectorises them because it sees that no index is negative (SGD of
LeNet: 8 us in place of 37).
"""

import math

from numba import njit, prange

SLICE = 4096  # parameters in a task
# what each rule keeps: arrays of all parameters' size, in the order in which it takes them
SLOTS = {
    "sgd": ("velocity",),
    "adam": ("mean", "square"),
    "adamw": ("mean", "square"),
    "rmsprop": ("velocity", "square"),
}


@njit(cache=True, error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _sgd(w, dw, velocity, lr, momentum, of_g, of_v, l2, direct):
    for i in range(w.shape[0]):
        g = dw[i] + l2 * w[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        w[i] -= lr * (of_g * g + of_v * v + direct * w[i])


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def sgd(w, dw, velocity, lr, momentum, nesterov, decay, decoupled, decayed):
    """v = momentum * v + g; w -= lr * v, or lr * (g + momentum * v) with Nesterov's look-ahead, as PyTorch has them."""
    real = w.dtype.type
    rate, keep = real(lr), real(momentum)
    of_g, of_v = (real(1), keep) if nesterov else (real(0), real(1))
    l2, direct = (real(0), real(decay)) if decoupled else (real(decay), real(0))
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        first, last = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(first, decayed), last)
        for a, b, own_l2, own_direct in ((first, cut, l2, direct), (cut, last, real(0), real(0))):
            _sgd(w[a:b], dw[a:b], velocity[a:b], rate, keep, of_g, of_v, own_l2, own_direct)


@njit(cache=True, error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _adam(w, dw, mean, square, lr, beta1, beta2, eps, correction1, correction2, l2, direct):
    one = w.dtype.type(1)
    for i in range(w.shape[0]):
        g = dw[i] + l2 * w[i]
        m = beta1 * mean[i] + (one - beta1) * g
        s = beta2 * square[i] + (one - beta2) * g * g
        mean[i], square[i] = m, s
        w[i] -= lr * (direct * w[i] + m * correction1 / (math.sqrt(s) * correction2 + eps))


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def adam(w, dw, mean, square, lr, beta1, beta2, eps, step, decay, decoupled, decayed):
    """Adam (Kingma and Ba 2015) and, decoupled, AdamW. `step` counts from 1."""
    real = w.dtype.type
    rate, keep1, keep2, small = real(lr), real(beta1), real(beta2), real(eps)
    correction1, correction2 = real(1 / (1 - beta1**step)), real(1 / math.sqrt(1 - beta2**step))
    l2, direct = (real(0), real(decay)) if decoupled else (real(decay), real(0))
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        first, last = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(first, decayed), last)
        for a, b, own_l2, own_direct in ((first, cut, l2, direct), (cut, last, real(0), real(0))):
            arrays = w[a:b], dw[a:b], mean[a:b], square[a:b]
            _adam(*arrays, rate, keep1, keep2, small, correction1, correction2, own_l2, own_direct)


@njit(cache=True, error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _rmsprop(w, dw, velocity, square, lr, alpha, momentum, eps, l2):
    one = w.dtype.type(1)
    for i in range(w.shape[0]):
        g = dw[i] + l2 * w[i]
        s = alpha * square[i] + (one - alpha) * g * g
        v = momentum * velocity[i] + g / (math.sqrt(s) + eps)
        square[i], velocity[i] = s, v
        w[i] -= lr * v


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def rmsprop(w, dw, velocity, square, lr, alpha, momentum, eps, decay, decayed):
    """RMSprop (Hinton's lecture 6e, 2012) with PyTorch's momentum."""
    real = w.dtype.type
    rate, smooth, keep, small = real(lr), real(alpha), real(momentum), real(eps)
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        first, last = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(first, decayed), last)
        for a, b, l2 in ((first, cut, real(decay)), (cut, last, real(0))):
            _rmsprop(w[a:b], dw[a:b], velocity[a:b], square[a:b], rate, smooth, keep, small, l2)
