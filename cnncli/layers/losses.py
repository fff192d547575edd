"""Losses of labelled samples: what a network's output is measured by."""

from collections.abc import Callable

import numpy as np

from cnncli.kernels import loss as kernels

LOSSES = {"softmax_cross_entropy": kernels.softmax_cross_entropy, "mean_squared_error": kernels.mean_squared_error}


def bind_loss(name, losses, doutput, output, labels, smoothing) -> Callable[[], None]:
    """The call that fills `losses` (N,) float64 and `doutput` (N, C), the gradient of their mean, from `output` (N, C).

    Labels are (N,) int64; `smoothing` moves so much of the target from the label to all classes alike.
    """
    kernel, scale = LOSSES[name], 1.0 / output.shape[0]
    return lambda: kernel(losses, doutput, output, labels, smoothing, scale)


def bind_ranks(ranks, output, labels) -> Callable[[], None]:
    """The call that fills `ranks` (N,): how many classes score above the label's."""
    return lambda: kernels.count_ranks(ranks, output, labels)


def probabilities(name: str, output: np.ndarray) -> np.ndarray:
    """What a network that was trained by this loss believes of each class, (N, C)."""
    if name != "softmax_cross_entropy":
        return output
    result = np.empty_like(output)
    kernels.softmax(result, output)
    return result
