"""Losses of labelled samples: what a network's output is measured by."""

import numpy as np

from cnncli.kernels import loss as kernels
from cnncli.kernels.program import Program, Step

LOSSES = {"softmax_cross_entropy": kernels.softmax_cross_entropy, "mean_squared_error": kernels.mean_squared_error}


def bind_loss(name, losses, doutput, output, labels, smoothing) -> Step:
    """What fills `losses` (N,) float64 and `doutput` (N, C), the gradient of their mean, from `output` (N, C).

    Labels are (N,) int64; `smoothing` moves so much of the target from the label to all classes alike.
    """
    kernel, scale = LOSSES[name], 1.0 / output.shape[0]
    return kernel.step(len(losses), losses, doutput, output, labels, smoothing, scale)


def bind_ranks(ranks, output, labels) -> Step:
    """What fills `ranks` (N,): how many classes score above the label's."""
    return kernels.count_ranks.step(len(ranks), ranks, output, labels)


def probabilities(name: str, output: np.ndarray) -> np.ndarray:
    """What a network that was trained by this loss believes of each class, (N, C)."""
    if name != "softmax_cross_entropy":
        return output
    result = np.empty_like(output)
    Program([kernels.softmax.step(len(output), result, output)])()
    return result
