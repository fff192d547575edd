"""Weights in strips: the columns that a tile reads lie together, over all taps and inputs.

The weights of a group are a matrix of `rows` (taps and inputs) by outputs. A strip holds up to STRIP outputs of all
rows, (rows, width) and contiguous, so that a tile walks through memory in one direction. Together with the order of the
work in `geometry.order` and joined images it made forward passes of 256 and 512 channels 1.6-2.4 times faster.
"""

import numpy as np

from cnncli.kernels.tile import NARROW, SINGLE, WIDE, lanes

STRIP = 32  # outputs: the widest tile of any processor, and the same for all


def strips(channels: int) -> list[tuple[int, int]]:
    """(first output, width) of each strip."""
    return [(first, min(STRIP, channels - first)) for first in range(0, channels, STRIP)]


def widths(channels: int) -> list[int]:
    """The widths that strips have: that of the first ones, and another if the last is narrower."""
    return list(dict.fromkeys(width for _, width in strips(channels)))


def pack(matrices: np.ndarray) -> np.ndarray:
    """(groups, rows, outputs) -> flat, in strips."""
    (groups, rows, outputs), done = matrices.shape, 0
    flat = np.empty(matrices.size, matrices.dtype)  # no second copy of what may be hundreds of megabytes
    for group in range(groups):
        for c, n in strips(outputs):
            flat[done : done + rows * n].reshape(rows, n)[...] = matrices[group, :, c : c + n]
            done += rows * n
    return flat


def unpack(flat: np.ndarray, groups: int, outputs: int) -> np.ndarray:
    """Flat, in strips -> (groups, rows, outputs): a copy."""
    by_group = flat.reshape(groups, -1)
    rows = by_group.shape[1] // outputs
    return np.concatenate(
        [by_group[:, rows * c : rows * (c + n)].reshape(groups, rows, n) for c, n in strips(outputs)], 2
    )


def columns(channels: int, groups: int, x_group: int, rows: int, itemsize: int) -> np.ndarray:
    """Blocks of output channels, `channels` in each group, for weights in strips of `rows`.

    (first channel, kind of tile, channels in the last vector, offset in x, offset in w, step between rows of w, which
    of the `widths` that is).
    """
    single, found, known = lanes(SINGLE, itemsize), [], widths(channels)
    for group in range(groups):
        for strip, width in strips(channels):
            for c in range(0, width, 2 * single):
                left = width - c
                kind = NARROW if left <= lanes(NARROW, itemsize) else SINGLE if left <= single else WIDE
                tail = min(single, left - single) if kind == WIDE else left
                at_w = group * rows * channels + strip * rows + c
                first = group * channels + strip + c
                found.append((first, kind, tail, group * x_group, at_w, width, known.index(width)))
    return np.array(found, np.int64)


def by_width(offsets: np.ndarray, channels: int) -> np.ndarray:
    """Offsets in rows of w -> in elements, a line for each of the `widths`."""
    return np.stack([offsets * width for width in widths(channels)])


def turned_blocks(groups: int, taps: int, kernel: int, rows: int, outputs: int) -> np.ndarray:
    """Blocks of weights to turn: (from, its rows' step, to, its rows' step, rows, columns), in offsets.

    From weights of (taps, kernel, rows) by `outputs` to (taps, kernel reversed, outputs) by `rows`, both in strips.
    """
    found, of_group = [], taps * kernel * rows * outputs
    for group in range(groups):
        for row, height in strips(rows):
            for tap in range(taps):
                for k in range(kernel):
                    there = (tap * kernel + kernel - 1 - k) * outputs
                    here = (tap * kernel + k) * rows + row
                    for column, width in strips(outputs):
                        source = group * of_group + column * taps * kernel * rows + here * width
                        target = group * of_group + row * taps * kernel * outputs + (there + column) * height
                        found.append((source, width, target, height, height, width))
    return np.array(found, np.int64)
