"""Losses: what a network's output is measured by, against labels or against its own input."""

import numpy as np

from cnncli.kernels import loss as kernels
from cnncli.kernels.buffer import Buffer
from cnncli.kernels.program import Program, Step

SOFTMAX = "softmax_cross_entropy"
ERRORS = {"mean_squared_error": kernels.SQUARED, "binary_cross_entropy": kernels.BINARY}  # element by element
LOSSES = (SOFTMAX, *ERRORS)


def bind_labels(kind, losses, doutput: Buffer, output, labels, total, smoothing=0.0, weights=None) -> list[Step]:
    """What fills `losses` (R,) float64 and `doutput`, the gradient of their sum over `total`, from `output` (N, P * C).

    Labels are (R,) int64, one for each of the P pixels of a sample; those below 0 do not count. `total` (1,) is how
    many do; with `weights`, of each class (C,), it becomes the sum of theirs. `smoothing` moves so much of the target
    from the label to all classes alike.
    """
    places = np.ascontiguousarray(_pixels(doutput))
    counted = np.ones(doutput.channels) if weights is None else np.asarray(weights, np.float64)
    sums = [kernels.sum_weights.step(1, total, labels, counted)] if weights is not None or len(places) > 1 else []
    given = losses, doutput.array, output, labels, places
    if kind == SOFTMAX:
        return [*sums, kernels.softmax_cross_entropy.step(len(losses), *given, counted, total, smoothing)]
    return [*sums, kernels.label_errors.step(len(losses), *given, total, smoothing, ERRORS[kind])]


def _pixels(buffer: Buffer) -> np.ndarray:
    """Where each pixel lies."""
    return buffer.layout.place(*np.meshgrid(*map(np.arange, buffer.size), indexing="ij")).ravel()


def bind_input(kind, losses, doutput: Buffer, output, x: Buffer) -> list[Step]:
    """As `bind_labels`, but against the network's input; `losses` are (N,), the mean over a sample's elements."""
    if doutput.size == x.size:
        starts, length = doutput.row_starts, x.size[2] * x.channels
    else:  # flat, or the input of one channel flattened: one row after another
        length = x.size[2] * x.channels
        starts = np.arange(len(x.row_starts)) * length
    rows = np.stack([starts, x.row_starts])
    return [kernels.input_errors.step(len(losses), losses, doutput.array, output, x.array, rows, length, ERRORS[kind])]


def bind_ranks(ranks, output, labels) -> Step:
    """What fills `ranks` (R,): how many classes score above the label's; -1 where a label does not count."""
    return kernels.count_ranks.step(len(ranks), ranks, output, labels, len(labels) // len(output))


def probabilities(kind: str, output: np.ndarray) -> np.ndarray:
    """What a network that was trained by this loss believes of each class, or element, (R, C)."""
    kernel = {SOFTMAX: kernels.softmax, "binary_cross_entropy": kernels.sigmoid}.get(kind)
    if kernel is None:
        return output
    result = np.empty_like(output)
    Program([kernel.step(len(output), result, output)])()
    return result
