"""Weighted sums of pixels, axis by axis: enlarging, padding, cropping, and the gradients of all of these.

Along each axis, an output coordinate has a list of (input coordinate, weight); an output pixel is the sum over the
products of its three lists, and where one of them is empty a constant. The gradient is the same operation with the
lists turned round, so that one kernel serves all, and every element has one writer.
"""

from itertools import product

import numpy as np

from cnncli.kernels.geometry import Layout, check_bounds
from cnncli.kernels.program import Step, kernel

List = list[list[tuple[int, float]]]  # for each output coordinate along an axis: (input coordinate, weight)


def turned(lists: List, size: int) -> List:
    """For each of `size` input coordinates: (output coordinate, weight)."""
    found: List = [[] for _ in range(size)]
    for to, taps in enumerate(lists):
        for source, weight in taps:
            found[source].append((to, weight))
    return found


def _runs(lists: List) -> list[tuple[int, int]]:
    """(first coordinate, count) of stretches that are copied, or filled, as they are; others stand alone."""
    runs: list[tuple[int, int]] = []
    for to, taps in enumerate(lists):
        if runs:
            first, count = runs[-1]
            before = lists[first]
            filled = not taps and not before
            moved = [(source + count, weight) for source, weight in before]
            copied = len(taps) == 1 and taps[0][1] == 1 and taps == moved
            if filled or copied:
                runs[-1] = first, count + 1
                continue
        runs.append((to, 1))
    return runs


def plan(y, x, lists: tuple[List, List, List], fill: float = 0.0) -> Step:
    """The step that fills the interior of a buffer y from that of x."""
    real, to, of, channels = y.array.dtype, y.layout, x.layout, y.channels
    deep, high, wide = lists
    rows, row_taps = _table(
        [(to.place(d, h, 0), 1, _joined(deep[d], high[h], of)) for d, h in product(range(len(deep)), range(len(high)))],
        real,
    )
    in_row = [
        (first * to.strides[2], count * channels, [(s * of.strides[2], w) for s, w in wide[first]])
        for first, count in _runs(wide)
    ]
    runs, run_taps = _table(in_row, real)
    lengths = runs[:, 1]
    check_bounds("resampled to", to.elements, rows[:, 0], runs[:, 0] + lengths - 1)
    for _, length, taps in in_row:
        if taps and row_taps[0].size:
            offsets = np.array([offset for offset, _ in taps])
            check_bounds("resampled", of.elements, row_taps[0], offsets, np.arange(length))
    tables = rows, *row_taps, runs, *run_taps
    return resample.step(len(y.array) * len(rows), y.array, x.array, *tables, real.type(fill))


def _joined(deep, high, of: Layout):
    """The taps of a row of pixels: (offset, weight)."""
    return [(of.place(d, h, 0), a * b) for (d, a), (h, b) in product(deep, high)]


def _table(entries, real):
    """((place, length, first tap, taps) of each entry, (offsets, weights) of all taps)."""
    found, offsets, weights = [], [], []
    for place, length, taps in entries:
        found.append((place, length, len(offsets), len(taps)))
        offsets += [offset for offset, _ in taps]
        weights += [weight for _, weight in taps]
    return np.array(found, np.int64), (np.array(offsets, np.int64), np.array(weights, real))


@kernel
def resample(first, last, y, x, rows, row_source, row_weight, runs, run_source, run_weight, fill):
    """y = sums of pixels of x by their weights. A task owns a row of pixels of an image.

    rows (R, 4): where a row begins in y, 1, its first tap, its taps; runs (K, 4) likewise within a row, with their
    lengths. A tap is an offset in x and a weight; those of a row and of a run are added and multiplied.
    """
    many, one = rows.shape[0], y.dtype.type(1)
    for at in range(first, last):
        n, row = at // many, at % many
        place, tap, taps = rows[row, 0], rows[row, 2], rows[row, 3]
        for k in range(runs.shape[0]):
            begin, length, run_tap, run_taps = place + runs[k, 0], runs[k, 1], runs[k, 2], runs[k, 3]
            to = y[n, begin : begin + length]
            if taps * run_taps != 1:
                for i in range(length):
                    to[i] = fill if taps * run_taps == 0 else y.dtype.type(0)
            for a in range(tap, tap + taps):
                for b in range(run_tap, run_tap + run_taps):
                    weight, start = row_weight[a] * run_weight[b], row_source[a] + run_source[b]
                    of = x[n, start : start + length]
                    if taps * run_taps > 1:
                        for i in range(length):
                            to[i] += weight * of[i]
                    elif weight == one:
                        for i in range(length):
                            to[i] = of[i]
                    else:
                        for i in range(length):
                            to[i] = weight * of[i]
