"""From shapes to the tables that the kernels walk: which input elements each output pixel sums, and how the work is
cut.

All decisions that depend on a shape are made here, in Python, before the first step. A result pixel's taps that fall on
padding are left out of its list, so depth and height need no zero border; along the width a whole row of the kernel is
one contiguous sum, so there the input keeps a zero border.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cnncli.kernels.tile import LONG_RUNS, MOST_ROWS, NARROW, ROWS, RUN_ROWS, SINGLE, STRIDED, TABLE, WIDE, lanes

SLACK = 64  # bytes after every array that a tile may read and throw away: less than one vector
TASKS = 32  # a kernel is cut into at least so many tasks where its shape allows it
STRIP_TASKS = 16  # from so many strips on, the data gradient turns them one by one, a task each; not tuned
FEW_PIXELS = 256  # not tuned: dense batches and the smallest maps
JOINED_PIXELS = 4096  # of images that are joined: their tables, 24 bytes a pixel, stay small beside the pixels
SPAN_PIXELS = 192  # of a call of the weight gradient's tile; 96 took 0.92-1.04 of its time, 384 took 0.98-1.12
MOST_PACE = 16  # elements fetched with one step of the inner sum: a line; windows of other rows or images may be far
FAR = 1 << 21  # bytes of an input that is asked for
BLOCK_COST = 4  # what a call of the tile costs, in rows of one vector (measured on LeNet's second convolution)


class Layout(NamedTuple):
    """Where the pixels of an image lie in its row of a buffer: element offsets."""

    origin: int
    strides: tuple[int, int, int]
    elements: int

    def place(self, depth, height, width):
        return self.origin + depth * self.strides[0] + height * self.strides[1] + width * self.strides[2]


def packed(size: tuple[int, int, int], channels: int) -> Layout:
    """The layout of an image without a border."""
    depth, height, width = size
    return Layout(0, (height * width * channels, width * channels, channels), depth * height * width * channels)


class Axis(NamedTuple):
    """One axis of a window operation. `before` is the padding before the first element."""

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    before: int


@dataclass(frozen=True)
class Group:
    """Coordinates along one axis that share their taps: places[i] reads starts[i] + offsets[t] by weight taps[t]."""

    places: np.ndarray
    starts: np.ndarray
    taps: np.ndarray
    offsets: np.ndarray


def grouped(count, tap_lists):
    """Groups of the coordinates 0..count-1 by equal lists of (weight, source) pairs."""
    by_taps: dict[tuple[int, ...], list[int]] = {}
    for place in range(count):
        by_taps.setdefault(tuple(k for k, _ in tap_lists[place]), []).append(place)
    groups = []
    for taps, places in by_taps.items():
        sources = np.array([[source for _, source in tap_lists[place]] for place in places], np.int64)
        starts = sources[:, 0] if taps else np.zeros(len(places), np.int64)
        offsets = sources[0] - sources[0, 0] if taps else np.zeros(0, np.int64)
        groups.append(Group(np.array(places, np.int64), starts, np.array(taps, np.int64), offsets))
    return groups


def forward_groups(axis: Axis) -> list[Group]:
    """For each output coordinate, the taps that fall inside the input."""
    size, out, kernel, stride, dilation, before = axis
    lists = [
        [
            (k, i * stride - before + k * dilation)
            for k in range(kernel)
            if 0 <= i * stride - before + k * dilation < size
        ]
        for i in range(out)
    ]
    return grouped(out, lists)


def backward_groups(axis: Axis) -> list[Group]:
    """For each input coordinate, the taps through which it reached an output: the transposed operation."""
    size, out, kernel, stride, dilation, before = axis
    lists = []
    for i in range(size):
        reached = [(k, divmod(i + before - k * dilation, stride)) for k in range(kernel)]
        lists.append([(k, o) for k, (o, rest) in reached if rest == 0 and 0 <= o < out])
    return grouped(size, lists)


class Tables(NamedTuple):
    """rows (places, pixels), taps (2, T), phases: (first row, rows, first tap, taps) whose rows share their taps."""

    rows: np.ndarray
    taps: np.ndarray
    phases: list[tuple[int, int, int, int]]


def tables(groups, source: Layout, results: list[Layout], weight_strides, images: int = 1) -> Tables:
    """The tables of a window operation from its groups along depth, height and width, for `images` joined to one.

    rows[0] is a pixel's window in `source`, rows[1:] its place in each of `results`.
    """
    between = np.array([layout.elements for layout in (source, *results)])
    of_image = between[:, None, None] * np.arange(images)[:, None]
    rows, taps, phases, row, tap = [], [], [], 0, 0
    for g_d in groups[0]:
        for g_h in groups[1]:
            for g_w in groups[2]:
                grid = np.meshgrid(g_d.places, g_h.places, g_w.places, indexing="ij")
                start = np.meshgrid(g_d.starts, g_h.starts, g_w.starts, indexing="ij")
                of_pixel = np.stack([source.place(*start), *(layout.place(*grid) for layout in results)])
                rows.append((of_pixel.reshape(len(between), 1, -1) + of_image).reshape(len(between), -1))
                offset = np.meshgrid(g_d.offsets, g_h.offsets, g_w.offsets, indexing="ij")
                weight = np.meshgrid(g_d.taps, g_h.taps, g_w.taps, indexing="ij")
                at_source = sum(o * s for o, s in zip(offset, source.strides, strict=True))
                at_weight = sum(o * s for o, s in zip(weight, weight_strides, strict=True))
                taps.append(np.stack([at_source, at_weight]).reshape(2, -1))
                phases.append((row, rows[-1].shape[1], tap, taps[-1].shape[1]))
                row, tap = row + phases[-1][1], tap + phases[-1][3]
    return Tables(np.ascontiguousarray(np.concatenate(rows, 1)), np.ascontiguousarray(np.concatenate(taps, 1)), phases)


def columns(channels: int, groups: int, x_group: int, w_group: int, itemsize: int, widest: int = WIDE) -> np.ndarray:
    """Blocks of output channels: (first channel, kind of tile, channels in the last vector, offsets in x and w)."""
    single, found = lanes(SINGLE, itemsize), []
    for group in range(groups):
        for c in range(0, channels, single if widest == SINGLE else 2 * single):
            left = channels - c
            kind = NARROW if left <= lanes(NARROW, itemsize) else SINGLE if left <= single else widest
            tail = min(single, left - single) if kind == WIDE else min(single, left)
            found.append((group * channels + c, kind, tail, group * x_group, group * w_group + c))
    return np.array(found, np.int64)


@lru_cache(maxsize=4096)
def split(count: int, most: int, vectors: int) -> tuple[int, ...]:
    """`count` rows as blocks of sizes that the tile has, at the least cost.

    A row costs its vectors, a block at least 8 (the latency of the 8 accumulators it should have) and the call.
    """
    sizes = [r for r in ROWS if r <= most]
    cost = {r: max(r * vectors, 8) + BLOCK_COST for r in sizes}
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for n in range(1, min(count, 2 * most) + 1):
        best.append(min((best[n - r][0] + cost[r], (r, *best[n - r][1])) for r in sizes if r <= n))
    if count < len(best):
        return tuple(sorted(best[count][1], reverse=True))

    def total(r):
        return count // r * cost[r] + best[count % r][0]

    size = min(sizes, key=lambda r: (total(r), -r))
    return (size,) * (count // size) + tuple(sorted(best[count % size][1], reverse=True))


def blocks(phases, rows: np.ndarray, of_columns: np.ndarray, of_window: bool = False) -> np.ndarray:
    """Blocks of rows for the tile: (first row, rows, first tap, taps, mode).

    Rows are pixels, which may lie at equal distances, or `of_window`, elements of it, which may lie in runs.
    """
    kinds = set(of_columns[:, 1].tolist())
    most, vectors = min(MOST_ROWS[kind] for kind in kinds), 2 if WIDE in kinds else 1
    found = []
    for first, count, tap, n_taps in phases:
        at, offsets = first, rows[0, first : first + count]
        if of_window and kinds == {NARROW} and (sizes := _run_sizes(offsets)):
            cuts = sizes
        elif of_window:
            cuts = _long_runs(offsets, max(kinds), most, vectors)
        elif WIDE not in kinds:
            cuts = [(size, mode) for length, mode in _distances(offsets) for size in split(length, most, vectors)]
        else:
            cuts = [(size, TABLE) for size in split(count, most, vectors)]
        for size, mode in cuts:
            found.append((at, size, tap, n_taps, mode))
            at += size
    return np.array(found, np.int64).reshape(-1, 5)


def _run_sizes(offsets) -> list[tuple[int, int]]:
    """(rows, run) of blocks, if the offsets are runs of one length for which the tile has rows that fit; else none."""
    ends = np.flatnonzero(np.diff(offsets) != 1) + 1
    run = int(ends[0]) if len(ends) else len(offsets)
    if run not in RUN_ROWS or len(offsets) % run or not np.array_equal(ends, np.arange(run, len(offsets), run)):
        return []
    left, sizes = len(offsets), []
    while left:
        fitting = [rows for rows in RUN_ROWS[run] if rows <= left]
        if not fitting:
            return []
        sizes.append((max(fitting), run))
        left -= max(fitting)
    return sizes


def _long_runs(offsets, widest, most, vectors) -> list[tuple[int, int]]:
    """(rows, mode) of blocks that are runs of consecutive elements where these are long; what is left is as it is."""
    run, ends = LONG_RUNS.get(widest, len(offsets) + 1), np.flatnonzero(np.diff(offsets) != 1) + 1
    lengths = np.diff([0, *ends, len(offsets)]).tolist()
    if min(lengths) < run:
        return [(size, TABLE) for size in split(len(offsets), most, vectors)]
    cuts = []
    for length in lengths:
        cuts += [(run, run)] * (length // run) + [(size, TABLE) for size in split(length % run, most, vectors)]
    return cuts


def _distances(offsets) -> list[tuple[int, int]]:
    """(rows, STRIDED) of stretches of rows at equal distances; all rows together where these are short."""
    if len(offsets) > 2:
        cuts = np.flatnonzero(np.diff(offsets, 2)) + 2
        # a change of distance shows twice, at the last row before it and the first after it
        starts = [0]
        for cut in cuts.tolist():
            if cut - starts[-1] > 1:
                starts.append(cut)
        if len(offsets) >= 7 * len(starts):
            ends = [*starts[1:], len(offsets)]
            return [(end - start, STRIDED) for start, end in zip(starts, ends, strict=True)]
    return [(len(offsets), TABLE)]


def following(blocks: np.ndarray, offsets: np.ndarray, inner: int, x_bytes: int) -> np.ndarray:
    """For each block of pixels what to fetch for the next: (its first offset, elements further with each of `inner`).

    The tile goes through the next block's windows while it sums its own; an input that stays in the near caches is not
    asked for. On Sapphire Rapids, one thread, times as fast as without: 3x3 of stride 2, 8 images, (64 to 128, 56x56)
    1.14, its data gradient 1.04, (128 to 256, 28x28) 1.03; 64 images of 16 to 32, 32x32, 1.07. The weights need none.
    """
    first, last = offsets[blocks[:, 0]], offsets[blocks[:, 0] + blocks[:, 1] - 1]
    found = np.stack([first, np.zeros_like(first)], 1)
    for phase in np.unique(blocks[:, 2:4], axis=0) if x_bytes > FAR else []:
        (own,) = np.nonzero((blocks[:, 2:4] == phase).all(1))
        here, after = own[:-1], own[1:]
        found[here, 0] = first[after]
        found[here, 1] = np.minimum((last[after] - first[after]) // inner + 2, MOST_PACE)
    return found


def parts(tasks: int, n_blocks: int) -> int:
    """Into how many parts the blocks of an image are cut, so that there are about TASKS tasks."""
    per_part = -(-n_blocks // max(1, min(n_blocks, -(-TASKS // tasks))))
    return -(-n_blocks // per_part)


NEAR = 1 << 19  # bytes that a task can rely on to stay in the cache beside its core: half of 1 MiB, the least today


def joined(images: int, pixels: int) -> int:
    """How many images make one: small ones, so that rows of pixels fill the tile (7x7: 28 of 14 in place of 32)."""
    return max(n for n in range(1, images + 1) if images % n == 0 and (n == 1 or n * pixels <= JOINED_PIXELS))


def order(x_bytes: int, w_bytes: int, images: int, strips: int, blocks: int) -> tuple[int, bool]:
    """(parts of an image, whether strips of weights come first) with the least memory traffic.

    Strips first read the weights once, and the input for every strip; parts first the input once, and the weights for
    every part: unless they stay in the cache.
    """
    wanted = max(1, -(-TASKS // (images * strips)), -(-x_bytes // (images * NEAR)))
    per_part = -(-blocks // min(blocks, wanted))
    n_parts = -(-blocks // per_part)
    strips_first = w_bytes + x_bytes * (strips if x_bytes > NEAR else 1)
    parts_first = x_bytes + w_bytes * (images * n_parts if w_bytes > NEAR else 1)
    return n_parts, strips_first < parts_first


def turns_strips(strips: int, pixels: int) -> bool:
    """Whether the data gradient turns each strip of weights where it is used, a task a strip.

    Else all are turned first, which shares the pixels of a strip among tasks, but writes and reads a copy that other
    threads turned (dense 400 to 120, 64 samples: 67 us; turned in place and fetched ahead, 32).
    """
    return strips >= STRIP_TASKS or pixels <= FEW_PIXELS


def gradient_cuts(data: int, weights: int, rows: int, inner: int, blocks: int) -> tuple[int, int, int]:
    """(chunks, groups, spans) of the weight gradient, from the bytes of input and output gradient and of weights.

    Every chunk writes partial sums, which are read again: three times the weights' bytes. Every group of blocks reads
    its chunk's data. Chunks times groups is TASKS, with the least of both together; powers of two share evenly.
    """
    best = (TASKS * data / (3 * weights)) ** 0.5
    chunks = 1 << min(round(math.log2(max(1, best))), TASKS.bit_length() - 1, rows.bit_length() - 1)
    groups = min(blocks, -(-TASKS // chunks))
    return chunks, groups, max(1, round(rows * inner / chunks / SPAN_PIXELS))


def reach(of_columns: np.ndarray, itemsize: int) -> np.ndarray:
    """How far the last channel of each block of columns lies from its first."""
    return np.where(of_columns[:, 1] == WIDE, lanes(SINGLE, itemsize), 0) + of_columns[:, 2] - 1


def check_bounds(what: str, elements: int, *offsets: np.ndarray | int) -> None:
    """Raise IndexError if a sum of one entry of each of `offsets` can lie outside [0, elements).

    Raw addresses are not checked when they are used; the tables are checked when they are made, at every build. What a
    vector reads beyond its last channel, less than one register, lies in the SLACK.
    """
    low = sum(int(np.min(o)) for o in offsets if np.size(o))
    high = sum(int(np.max(o)) for o in offsets if np.size(o))
    if low < 0 or high >= elements:
        raise IndexError(f"{what}: offsets {low}..{high} leave an array of {elements} elements")
