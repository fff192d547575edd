"""A convolution of few channels a group as steps that are ready to run, as `convolution` has them for the others."""

import itertools
import math
from itertools import pairwise

import numpy as np

from cnncli.kernels import depthwise, depthwise_tile, geometry
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.convolution import STORE
from cnncli.kernels.geometry import Axis, check_bounds

# Channels that are worked on together: with 128 bytes of them it took up to 1.9 times as long. Where an output sums
# over its group, with as many more weights, half as many are up to 1.2 times as fast (8 images of 256x14x14).
GROUP_BYTES = 1024
# What the weight gradient sums of one vector of channels before it goes to the next: so many bytes of x and dy, but so
# many pixels at least, in short rows, whose other channels are used soon after. With whole rows it took up to 1.35
# times as long.
BLOCK_BYTES, BLOCK_PIXELS, BLOCK_WIDTH = 1 << 14, 24, 8


class DepthwiseConvolution:
    """The shapes of one: three axes, channels, and how many outputs a channel has. Weights are (taps, outputs).

    Where a channel has several outputs, all works on the input with its channels repeated as often: one kernel a
    channel does for both. With a `group` of more than one channel, one of `depthwise_tile.WIDTHS`, an output has all
    of its group as inputs: weights are (taps * group, channels), as `depthwise` has them.
    """

    def __init__(self, axes: tuple[Axis, Axis, Axis], channels: int, multiplier: int = 1, group: int = 1):
        self.axes, self.multiplier, self.group, self.out = axes, multiplier, group, channels * multiplier
        self.weight_shape = (math.prod(axis.kernel for axis in axes) * group, self.out)

    def _wide(self, x: Buffer, take) -> Buffer:
        """A buffer for x with its channels repeated."""
        return Buffer(take((len(x.array), math.prod(x.size) * self.out)), x.size, self.out, ((0, 0),) * 3)

    def plan_repeat(self, x: Buffer, take):
        """What stands for x in forward and weight gradient, and the steps that fill it. `take` gives the memory."""
        if self.multiplier == 1:
            return x, []
        wide = self._wide(x, take)
        rows, pixels = x.row_starts, x.size[2]
        given = wide.array, x.array, rows, pixels, x.channels
        return wide, [depthwise.repeat_channels.step(len(x.array), *given)]

    @property
    def _weight_strides(self):
        _, height, width = (axis.kernel for axis in self.axes)
        of_tap = self.group * self.out
        return height * width * of_tap, width * of_tap, of_tap

    def _columns(self, itemsize: int) -> np.ndarray:
        """(first channel, count) of each block of channels that is worked on together."""
        most = GROUP_BYTES // itemsize // (1 if self.group == 1 else 2)
        firsts = range(0, self.out, most)
        return np.array([(first, min(most, self.out - first)) for first in firsts], np.int64)

    def plan_forward(self, y: Buffer, x: Buffer, w, bias, op, other: Buffer | None = None):
        """y = op(convolution of x by w): the steps, as `Convolution.plan_forward` has it."""
        return self._bind(y, x, w, bias, other or y, [geometry.forward_groups(axis) for axis in self.axes], op)

    def plan_data_gradient(
        self, dx: Buffer, dy: Buffer, w, arena: Arena, op=STORE, gate: Buffer | None = None, bias=None, prepared=None
    ):
        """dx = op(transposed convolution of dy by w): the steps, as `Convolution.plan_data_gradient` has it."""
        groups = [geometry.backward_groups(axis) for axis in self.axes]
        bias, gate = arena.take((self.out,)) if bias is None else bias, gate or dx
        if self.group > 1:
            turned = (arena.scratch if prepared is None else arena.take)(self.weight_shape)
            turn = depthwise.turn_groups.step(len(turned), turned, w.reshape(turned.shape), self.group)
            steps = self._bind(dx, dy, turned, bias, gate, groups, op)
            if prepared is None:
                return [turn, *steps]
            prepared.append(turn)
            return steps
        if self.multiplier == 1:
            return self._bind(dx, dy, w, bias, gate, groups, op)
        wide = self._wide(dx, arena.scratch)
        convolve = self._bind(wide, dy, w, bias, wide, groups, STORE)
        rows, pixels = np.stack([dx.row_starts, gate.row_starts]), dx.size[2]
        given = dx.array, gate.array, wide.array, rows, pixels, dx.channels, op
        return [*convolve, depthwise.add_repeated.step(len(dx.array), *given)]

    def _bind(self, y, x, w, bias, gate, groups, op):
        tables = geometry.tables(groups, x.layout, [y.layout, gate.layout], self._weight_strides)
        runs, taps = _runs(tables, depthwise_tile.most_pixels(self.group)), tables.taps
        columns = self._columns(w.itemsize)
        parts = geometry.parts(y.array.shape[0] * len(columns), len(runs))
        last = self.out - 1
        check_bounds("bias", bias.size, last)
        for first, count, tap, n_taps in tables.phases:
            at, by = tables.rows[:, first : first + count], taps[:, tap : tap + n_taps]
            check_bounds("y", y.array.shape[1], at[1], last)
            check_bounds("gate", gate.array.shape[1], at[2], last)
            if n_taps:
                check_bounds("x", x.array.shape[1], at[0], by[0], last)
                check_bounds("w", w.size, by[1], (self.group - 1) * self.out + last)
        arrays = y.array, x.array, w, bias, gate.array
        of_group = depthwise_tile.load_runs(w.itemsize, self.group), self.group, self.out
        tasks = len(y.array) * len(columns) * parts
        return [depthwise.depthwise.step(tasks, *arrays, runs, taps, columns, op, parts, *of_group)]

    def plan_weight_gradient(self, dw, db, x: Buffer, dy: Buffer, arena: Arena):
        """dw, db = sums over images and pixels of x * dy, of dy: the steps. `db` may be None."""
        columns, last = self._columns(dw.itemsize), self.out - 1
        x_steps = tuple(axis.stride * step for axis, step in zip(self.axes[1:], x.layout.strides[1:], strict=True))
        dy_steps = dy.layout.strides[1:]
        blocks, taps = self._blocks(x, dy, int(columns[0, 1]) * dw.itemsize)
        for x_first, dy_first, rows, pixels, tap, n_taps, _ in blocks.tolist():
            offsets = taps[:, tap : tap + n_taps]
            far_x, far_dy = ((rows - 1) * row + (pixels - 1) * pixel for row, pixel in (x_steps, dy_steps))
            check_bounds("dy", dy.array.shape[1], dy_first, np.array([0, far_dy]), last)
            if n_taps:
                check_bounds("x", x.array.shape[1], x_first, np.array([0, far_x]), offsets[0], last)
                check_bounds("dw", dw.size, offsets[1], (self.group - 1) * self.out + last)
        chunks = min(x.array.shape[0] * len(blocks), -(-geometry.TASKS // len(columns)))
        partial = arena.scratch((chunks, self.weight_shape[0] + 1, self.out))
        of_taps = dw.reshape(self.weight_shape)
        arrays, tables = (of_taps, partial, x.array, dy.array), (blocks, taps, columns)
        of_group = depthwise_tile.load_taps(dw.itemsize, self.group), self.group
        return [
            depthwise.depthwise_gradient.step(chunks * len(columns), *arrays, *tables, x_steps, dy_steps, *of_group),
            depthwise.add_taps.step(
                len(of_taps) + (db is not None), of_taps, of_taps[0] if db is None else db, partial
            ),
        ]

    def _blocks(self, x: Buffer, dy: Buffer, pixel_bytes: int):
        """Output pixels in rows that share their taps, in blocks, with up to `most_taps` of them; and their offsets.

        (first pixel in x, in dy, rows, pixels of a row, first tap, taps, whether they are the first of these pixels).
        """
        groups, found = [geometry.forward_groups(axis) for axis in self.axes], []
        tables = geometry.tables(groups, x.layout, [dy.layout], self._weight_strides)
        for (deep, high, wide), (first, count, tap, n_taps) in zip(
            itertools.product(*groups), tables.phases, strict=True
        ):
            at = tables.rows[:, first : first + count].reshape(2, len(deep.places), len(high.places), len(wide.places))
            width = min(BLOCK_WIDTH, len(wide.places))
            row_bytes = pixel_bytes * width * (1 + self.axes[1].stride * self.axes[2].stride)
            height = max(BLOCK_BYTES // row_bytes, -(-BLOCK_PIXELS // width))
            pieces = _cuts(np.arange(n_taps), depthwise_tile.most_taps(self.group)) or [(0, 0)]
            for d, (h, rows), (w, pixels), (t, of_block) in itertools.product(
                range(len(deep.places)), _cuts(high.places, height), _cuts(wide.places, BLOCK_WIDTH), pieces
            ):
                found.append((*at[:, d, h, w].tolist(), rows, pixels, tap + t, of_block, t == 0))
        return np.array(sorted(found, key=lambda block: block[1]), np.int64).reshape(-1, 7), tables.taps


def _cuts(places: np.ndarray, most: int) -> list[tuple[int, int]]:
    """(first, count) of parts of neighbouring places, of nearly one size, `most` at most."""
    found = []
    for stretch in np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) != 1) + 1):
        parts = -(-len(stretch) // most)
        found += [(int(part[0]), len(part)) for part in (np.array_split(stretch, parts) if parts else ())]
    return found


def _runs(tables: geometry.Tables, most: int) -> np.ndarray:
    """Up to `most` pixels at equal distances in all arrays: first and distance in each, pixels, first tap, taps.

    By places in y.
    """
    found = []
    for first, count, tap, n_taps in tables.phases:
        places = tables.rows[:, first : first + count]
        for start, length in _stretches(places):
            step = places[:, start + 1] - places[:, start] if length > 1 else np.zeros(3, np.int64)
            for piece, pixels in _cuts(np.arange(length), most):
                pairs = np.stack([places[:, start + piece], step], 1).ravel()
                found.append((*pairs.tolist(), pixels, tap, n_taps))
    return np.array(sorted(found, key=lambda run: run[2]), np.int64)


def _stretches(places: np.ndarray) -> list[tuple[int, int]]:
    """(start, length) of stretches of columns at equal distances, as long as they go."""
    steps, starts = np.diff(places, axis=1), [0]
    # a change of distance shows twice, at the last pixel before it and the first after it
    for cut in (np.flatnonzero(np.any(steps[:, 1:] != steps[:, :-1], 0)) + 2).tolist():
        if cut - starts[-1] > 1:
            starts.append(cut)
    return [(start, end - start) for start, end in pairwise([*starts, places.shape[1]])]
