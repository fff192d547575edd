"""Losses: the value and the gradient of each sample in one pass. Sums are added in the order of the samples."""

import math

from cnncli.kernels.program import kernel


@kernel
def softmax_cross_entropy(first, last, losses, dlogits, logits, labels, smoothing, scale):
    """losses[n] = -sum over c of t[c] log softmax(logits)[c], and its gradient times `scale`. A task owns a sample.

    losses (N,) float64, dlogits and logits (N, C), labels (N,); t is 1 - smoothing at the label, plus smoothing / C
    everywhere (Szegedy et al. 2016). The largest logit is taken off first, so that no exp overflows.
    """
    classes = logits.shape[1]
    for n in range(first, last):
        top, total, sum_logits = float(logits[n, 0]), 0.0, 0.0  # float64: differences of float32 logits may overflow
        for c in range(1, classes):
            top = max(top, float(logits[n, c]))
        for c in range(classes):
            total += math.exp(logits[n, c] - top)
            sum_logits += logits[n, c] - top
        log_total, label = math.log(total), labels[n]
        at_label = logits[n, label] - top
        losses[n] = log_total - (1 - smoothing) * at_label - smoothing / classes * sum_logits
        for c in range(classes):
            target = smoothing / classes + (1 - smoothing if c == label else 0.0)
            dlogits[n, c] = (math.exp(logits[n, c] - top - log_total) - target) * scale


@kernel
def mean_squared_error(first, last, losses, doutput, output, labels, smoothing, scale):
    """losses[n] = mean over c of (output - t)^2 with t the one-hot label, and its gradient times `scale`.

    losses (N,) float64, doutput and output (N, C), labels (N,); t is smoothed as in softmax_cross_entropy.
    """
    classes = output.shape[1]
    for n in range(first, last):
        total = 0.0
        for c in range(classes):
            target = smoothing / classes + (1 - smoothing if c == labels[n] else 0.0)
            difference = output[n, c] - target
            total += difference * difference
            doutput[n, c] = 2 * difference / classes * scale
        losses[n] = total / classes


@kernel
def count_ranks(first, last, ranks, output, labels):
    """ranks[n] = how many classes score above the label's, those of lower number first among equals: 0 is a hit."""
    for n in range(first, last):
        own, above = output[n, labels[n]], 0
        for c in range(output.shape[1]):
            if not (output[n, c] < own) and (output[n, c] != own or c < labels[n]):
                above += 1
        ranks[n] = above


@kernel
def softmax(first, last, probabilities, logits):
    """probabilities = softmax(logits), both (N, C); a task owns a sample."""
    for n in range(first, last):
        top, total = logits[n, 0], 0.0
        for c in range(1, logits.shape[1]):
            top = max(top, logits[n, c])
        for c in range(logits.shape[1]):
            total += math.exp(logits[n, c] - top)
        for c in range(logits.shape[1]):
            probabilities[n, c] = math.exp(logits[n, c] - top) / total
