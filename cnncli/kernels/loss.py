"""Losses: the value and the gradient in one pass. Sums are added in the order of the samples.

A row is what has one label: a sample, or a pixel of one. Row r is pixel r % P of sample r // P. An output (N, P * C)
holds it in the C elements from C * (r % P), the output's gradient (N, D), which may have a border, from places[r % P].
A label below 0 is nobody's: its row has no loss and no gradient. Everything is computed in float64.
"""

import math

from numba import njit

from cnncli.kernels.program import kernel

SQUARED, BINARY = range(2)  # the errors of one element: (output - target)^2, and the cross-entropy of its sigmoid


@kernel
def sum_weights(first, last, total, labels, weights):
    """total (1,) = the sum of the weights (C,) of all labels (R,), in their order; all is one task."""
    total[0] = 0.0
    for label in labels:
        if label >= 0:
            total[0] += weights[label]


@kernel
def softmax_cross_entropy(first, last, losses, dlogits, logits, labels, places, weights, total, smoothing):
    """losses[r] = -sum over c of t[c] log softmax(logits of r)[c], and its gradient over total[0]. A task owns a row.

    losses (R,), weights (C,), total (1,) float64, labels (R,); t is 1 - smoothing at the label, times its weight, plus
    smoothing / C everywhere, times each one's weight (Szegedy et al. 2016; weighted as PyTorch does). The largest logit
    is taken off first, so that no exp overflows.
    """
    classes, pixels = weights.shape[0], places.shape[0]
    share = 1 / total[0] if total[0] > 0 else 0.0
    for r in range(first, last):
        n, place, of, label = r // pixels, places[r % pixels], r % pixels * classes, labels[r]
        if label < 0:
            losses[r] = 0.0
            for c in range(classes):
                dlogits[n, place + c] = 0
            continue
        top, sum_exp, sum_logits, spread = float(logits[n, of]), 0.0, 0.0, 0.0  # float32 differences may overflow
        for c in range(1, classes):
            top = max(top, float(logits[n, of + c]))
        for c in range(classes):
            sum_exp += math.exp(logits[n, of + c] - top)
            sum_logits += weights[c] * (logits[n, of + c] - top)
            spread += weights[c]
        log_total, everywhere, weight = math.log(sum_exp), smoothing / classes, (1 - smoothing) * weights[label]
        losses[r] = weight * (log_total - (logits[n, of + label] - top))
        losses[r] += everywhere * (spread * log_total - sum_logits)
        whole = weight + everywhere * spread
        for c in range(classes):
            target = everywhere * weights[c] + (weight if c == label else 0.0)
            dlogits[n, place + c] = (math.exp(logits[n, of + c] - top - log_total) * whole - target) * share


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _error(kind, output, target):
    """(error, slope) of one element, float64."""
    if kind == SQUARED:
        return (output - target) * (output - target), 2 * (output - target)
    small = math.exp(-abs(output))
    sigmoid = (1.0 if output > 0 else small) / (1 + small) if output == output else output
    return max(output, 0.0) - output * target + math.log1p(small), sigmoid - target


@kernel
def label_errors(first, last, losses, doutput, output, labels, places, total, smoothing, kind):
    """losses[r] = mean over c of the errors of the output of r from t, and its gradient over total[0].

    losses (R,), total (1,) float64, labels (R,); t is the one-hot label, smoothed as in softmax_cross_entropy.
    """
    pixels = places.shape[0]
    classes = output.shape[1] // pixels
    share = 1 / total[0] if total[0] > 0 else 0.0
    for r in range(first, last):
        n, place, of, label = r // pixels, places[r % pixels], r % pixels * classes, labels[r]
        errors = 0.0
        for c in range(classes):
            target = smoothing / classes + (1 - smoothing if c == label else 0.0)
            error, slope = _error(kind, float(output[n, of + c]), target)
            errors += error
            doutput[n, place + c] = slope / classes * share if label >= 0 else 0.0
        losses[r] = errors / classes if label >= 0 else 0.0


@kernel
def input_errors(first, last, losses, doutput, output, x, rows, length, kind):
    """losses[n] = mean over its elements of the errors of output[n] from x[n], and its gradient over N.

    losses (N,) float64, output (N, R * length) without a border, rows (2, R): where each row of pixels begins in
    doutput and in x. A task owns a sample.
    """
    elements = rows.shape[1] * length
    for n in range(first, last):
        errors = 0.0
        for row in range(rows.shape[1]):
            to, of = rows[0, row], rows[1, row]
            for i in range(length):
                error, slope = _error(kind, float(output[n, row * length + i]), float(x[n, of + i]))
                errors += error
                doutput[n, to + i] = slope / elements / output.shape[0]
        losses[n] = errors / elements


@kernel
def count_ranks(first, last, ranks, output, labels, pixels):
    """ranks[r] = how many classes score above the label's, those of lower number first among equals: 0 is a hit.

    A row whose label is nobody's has the rank -1.
    """
    classes = output.shape[1] // pixels
    for r in range(first, last):
        n, of, label = r // pixels, r % pixels * classes, labels[r]
        if label < 0:
            ranks[r] = -1
            continue
        own, above = output[n, of + label], 0
        for c in range(classes):
            if not (output[n, of + c] < own) and (output[n, of + c] != own or c < label):
                above += 1
        ranks[r] = above


@kernel
def softmax(first, last, probabilities, logits):
    """probabilities = softmax(logits), both (R, C); a task owns a row."""
    for n in range(first, last):
        top, total = logits[n, 0], 0.0
        for c in range(1, logits.shape[1]):
            top = max(top, logits[n, c])
        for c in range(logits.shape[1]):
            total += math.exp(logits[n, c] - top)
        for c in range(logits.shape[1]):
            probabilities[n, c] = math.exp(logits[n, c] - top) / total


@kernel
def sigmoid(first, last, probabilities, logits):
    """probabilities = 1 / (1 + exp(-logits)), both (R, C); a task owns a row."""
    for n in range(first, last):
        for c in range(logits.shape[1]):
            probabilities[n, c] = _error(BINARY, float(logits[n, c]), 0.0)[1]
