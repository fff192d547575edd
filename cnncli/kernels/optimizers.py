"""Optimisers: one pass over all parameters, which are one flat array. Every element has one writer.

`decayed` parameters come first in the array: weight decay applies to them alone. L2 decay adds decay * w to the gradient;
decoupled decay takes lr * decay * w off the weight (Loshchilov and Hutter 2019).
"""

import math

from numba import njit, prange

SLICE = 4096  # parameters in a task


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def sgd(w, dw, velocity, lr, momentum, nesterov, decay, decoupled, decayed):
    """v = momentum * v + g; w -= lr * v, or lr * (g + momentum * v) with Nesterov's look-ahead, as PyTorch has them."""
    real = w.dtype.type
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        for i in range(task * SLICE, min((task + 1) * SLICE, w.shape[0])):
            own = real(decay) if i < decayed else real(0)
            g = dw[i] if decoupled else dw[i] + own * w[i]
            v = real(momentum) * velocity[i] + g
            velocity[i] = v
            step = g + real(momentum) * v if nesterov else v
            if decoupled:
                step += own * w[i]
            w[i] -= real(lr) * step


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def adam(w, dw, mean, square, lr, beta1, beta2, eps, step, decay, decoupled, decayed):
    """Adam (Kingma and Ba 2015) and, decoupled, AdamW. `step` counts from 1."""
    real = w.dtype.type
    correction1, correction2 = real(1 - beta1**step), real(math.sqrt(1 - beta2**step))
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        for i in range(task * SLICE, min((task + 1) * SLICE, w.shape[0])):
            own = real(decay) if i < decayed else real(0)
            g = dw[i] if decoupled else dw[i] + own * w[i]
            mean[i] = real(beta1) * mean[i] + real(1 - beta1) * g
            square[i] = real(beta2) * square[i] + real(1 - beta2) * g * g
            if decoupled:
                w[i] -= real(lr) * own * w[i]
            w[i] -= real(lr) * (mean[i] / correction1) / (math.sqrt(square[i]) / correction2 + real(eps))


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def rmsprop(w, dw, velocity, square, lr, alpha, momentum, eps, decay, decayed):
    """RMSprop (Hinton's lecture 6e, 2012) with PyTorch's momentum."""
    real = w.dtype.type
    for task in prange((w.shape[0] + SLICE - 1) // SLICE):
        for i in range(task * SLICE, min((task + 1) * SLICE, w.shape[0])):
            g = dw[i] + (real(decay) if i < decayed else real(0)) * w[i]
            square[i] = real(alpha) * square[i] + real(1 - alpha) * g * g
            velocity[i] = real(momentum) * velocity[i] + g / (math.sqrt(square[i]) + real(eps))
            w[i] -= real(lr) * velocity[i]
