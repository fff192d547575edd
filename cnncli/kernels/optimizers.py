"""Optimisers: one pass over all parameters, which are one flat array. Every element has one writer.

Each rule leaves in `finite` (tasks,) a 0 for each task, or NaN where one of its gradients is infinite or NaN: a look at
what the core's cache holds anyway, where a pass of its own would read the memory once more.

`decayed` parameters come first in the array: weight decay applies to them alone. L2 decay adds decay * w to the
gradient; decoupled decay takes lr * decay * w off the weight (Loshchilov and Hutter 2019).

The rules are loops over slices that begin at 0: LLVM vectorises them because it sees that no index is negative (SGD of
LeNet: 8 us in place of 37).
"""

import math

from numba import njit

from cnncli.kernels.program import kernel

SLICE = 4096  # parameters in a task
# what each rule keeps: arrays of all parameters' size, in the order in which it takes them
SLOTS = {
    "sgd": ("velocity",),
    "adam": ("mean", "square"),
    "adamw": ("mean", "square"),
    "rmsprop": ("velocity", "square"),
}


@njit(error_model="numpy", fastmath={"contract", "reassoc"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _times_zero(of):
    """The sum of all elements times 0, in any order: 0 where all are finite, else NaN."""
    zero = of.dtype.type(0)
    total = zero
    for i in range(of.shape[0]):
        total += of[i] * zero
    return total


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _sgd(w, dw, velocity, lr, momentum, of_g, of_v, l2, direct):
    for i in range(w.shape[0]):
        g = dw[i] + l2 * w[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        w[i] -= lr * (of_g * g + of_v * v + direct * w[i])


@kernel
def sgd(first, last, w, dw, velocity, finite, rates, momentum, nesterov, decay, decoupled, decayed):
    """v = momentum * v + g; w -= lr * v, or lr * (g + momentum * v) with Nesterov's look-ahead, as PyTorch has them.

    rates (1,): lr.
    """
    real = w.dtype.type
    rate, keep = real(rates[0]), real(momentum)
    of_g, of_v = (real(1), keep) if nesterov else (real(0), real(1))
    l2, direct = (real(0), real(decay)) if decoupled else (real(decay), real(0))
    for task in range(first, last):
        begin, end = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(begin, decayed), end)
        finite[task] = _times_zero(dw[begin:end])
        for a, b, own_l2, own_direct in ((begin, cut, l2, direct), (cut, end, real(0), real(0))):
            _sgd(w[a:b], dw[a:b], velocity[a:b], rate, keep, of_g, of_v, own_l2, own_direct)


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _adam(w, dw, mean, square, lr, beta1, beta2, eps, correction1, correction2, l2, direct):
    one = w.dtype.type(1)
    for i in range(w.shape[0]):
        g = dw[i] + l2 * w[i]
        m = beta1 * mean[i] + (one - beta1) * g
        s = beta2 * square[i] + (one - beta2) * g * g
        mean[i], square[i] = m, s
        w[i] -= lr * (direct * w[i] + m * correction1 / (math.sqrt(s) * correction2 + eps))


@kernel
def adam(first, last, w, dw, mean, square, finite, rates, beta1, beta2, eps, decay, decoupled, decayed):
    """Adam (Kingma and Ba 2015) and, decoupled, AdamW. rates (3,): lr and what `corrections` gives."""
    real = w.dtype.type
    rate, keep1, keep2, small = real(rates[0]), real(beta1), real(beta2), real(eps)
    correction1, correction2 = real(rates[1]), real(rates[2])
    l2, direct = (real(0), real(decay)) if decoupled else (real(decay), real(0))
    for task in range(first, last):
        begin, end = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(begin, decayed), end)
        finite[task] = _times_zero(dw[begin:end])
        for a, b, own_l2, own_direct in ((begin, cut, l2, direct), (cut, end, real(0), real(0))):
            arrays = w[a:b], dw[a:b], mean[a:b], square[a:b]
            _adam(*arrays, rate, keep1, keep2, small, correction1, correction2, own_l2, own_direct)


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _rmsprop(w, dw, velocity, square, lr, alpha, momentum, eps, l2):
    one = w.dtype.type(1)
    for i in range(w.shape[0]):
        g = dw[i] + l2 * w[i]
        s = alpha * square[i] + (one - alpha) * g * g
        v = momentum * velocity[i] + g / (math.sqrt(s) + eps)
        square[i], velocity[i] = s, v
        w[i] -= lr * v


@kernel
def rmsprop(first, last, w, dw, velocity, square, finite, rates, alpha, momentum, eps, decay, decayed):
    """RMSprop (Hinton's lecture 6e, 2012) with PyTorch's momentum. rates (1,): lr."""
    real = w.dtype.type
    rate, smooth, keep, small = real(rates[0]), real(alpha), real(momentum), real(eps)
    for task in range(first, last):
        begin, end = task * SLICE, min((task + 1) * SLICE, w.shape[0])
        cut = min(max(begin, decayed), end)
        finite[task] = _times_zero(dw[begin:end])
        for a, b, l2 in ((begin, cut, real(decay)), (cut, end, real(0))):
            _rmsprop(w[a:b], dw[a:b], velocity[a:b], square[a:b], rate, smooth, keep, small, l2)


def corrections(betas: tuple[float, float], step: int) -> tuple[float, float]:
    """What Adam's averages are multiplied with in a step, counted from 1, because they began at 0."""
    return 1 / (1 - betas[0] ** step), 1 / math.sqrt(1 - betas[1] ** step)


def tasks(parameters: int) -> int:
    """How many tasks the rules cut so many parameters into."""
    return -(-parameters // SLICE)
