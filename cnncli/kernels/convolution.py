"""A convolution of fixed shapes as steps that are ready to run: forward, data gradient, weight gradient.

Each `plan_...` makes the tables for its arrays, checks that no address can leave them, and returns the steps of
a program. A dense layer is the same: `dense`, on buffers `as_pixels`.
"""

import math

import numpy as np

from cnncli.kernels import conv, direct_gradient, geometry, most_threads, strips, turn, winograd, winograd_gradient
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.geometry import Axis, Group, check_bounds
from cnncli.kernels.tile import (
    ACCUMULATE,
    ACCUMULATE_GATE,
    ADD,
    ADD_RELU,
    BIAS,
    BIAS_RELU,
    BIASED,
    GATE,
    NARROW,
    SINGLE,
    STORE,
    WITH_GATE,
    lanes,
    load,
)

__all__ = ["ACCUMULATE", "ACCUMULATE_GATE", "ADD", "ADD_RELU", "BIAS", "BIAS_RELU", "GATE", "STORE", "Convolution"]

FEW_ROWS = 14  # rows of the weight gradient's tile: with fewer in a row of the kernel, rows of the kernel are joined


class Convolution:
    """The shapes of one: three axes, channels, groups. Weights are (groups, KD, KH, KW, in, out) of one group.

    `algorithm` is "direct", "winograd", which raises ValueError where it cannot be done, or "auto", the faster of them.
    """

    def __init__(self, axes: tuple[Axis, Axis, Axis], c_in: int, c_out: int, groups: int = 1, algorithm: str = "auto"):
        if algorithm == "winograd" and (reason := winograd.refusal(axes, groups)):
            raise ValueError(f"its algorithm cannot be winograd: {reason}")
        self.algorithm = algorithm
        self.axes, self.c_in, self.c_out, self.groups = axes, c_in, c_out, groups
        self.kernel = tuple(axis.kernel for axis in axes)
        self.weight_shape = (groups, *self.kernel, c_in // groups, c_out // groups)
        # a row of the kernel is contiguous in the input: one sum over kw * c_in
        self.merged = groups == 1 and axes[2].dilation == 1
        self.merged_back = self.merged and axes[2].stride == 1

    @property
    def border(self):
        """The zeros that the input needs around it: along the width always, elsewhere if kernel rows are joined."""
        joined = self.kernel[2] * self.c_in // self.groups < FEW_ROWS
        return tuple(both if joined or i == 2 else (0, 0) for i, both in enumerate(self.around))

    @property
    def around(self):
        """The zeros around the input with which no tap is ever left out, (before, after) along each axis."""
        return tuple(
            (max(0, a.before), max(0, (a.out - 1) * a.stride - a.before + (a.kernel - 1) * a.dilation + 1 - a.size))
            for a in self.axes
        )

    @property
    def gradient_border(self):
        """The zeros that the output's gradient needs around it, for the data gradient."""
        size, out, kernel, _, _, before = self.axes[2]
        if not self.merged_back:
            return ((0, 0),) * 3
        return ((0, 0), (0, 0), (max(0, kernel - 1 - before), max(0, size - 1 + before - (out - 1))))

    def by_winograd(self, images: int, training: bool) -> bool:
        """Whether forward pass and data gradient of so many images go by Winograd's algorithm."""
        return self._by_winograd(winograd.wins, images, training)

    def _by_winograd(self, wins, *how) -> bool:
        if self.algorithm != "auto":
            return self.algorithm == "winograd"
        return wins(self.axes, self.c_in, self.c_out, self.groups, *how)

    @property
    def multiply_adds(self) -> int:
        """Multiplications with an addition for one image, of each of forward and the two gradients."""
        return math.prod(self.weight_shape) * math.prod(axis.out for axis in self.axes)

    @property
    def window(self):
        """Elements of an output's window in its group: the rows of the weights."""
        return math.prod(self.weight_shape[1:5])

    def pack(self, matrices: np.ndarray) -> np.ndarray:
        """Weights (groups, taps * inputs, outputs of a group) -> flat, as the kernels take them."""
        return strips.pack(matrices)

    def unpack(self, flat: np.ndarray) -> np.ndarray:
        """What `pack` was given: a copy."""
        return strips.unpack(flat, self.groups, self.weight_shape[5])

    def weight_strides(self, c_rows):
        """Between the taps of weights, in their rows."""
        _, height, width = self.kernel
        return (height * width * c_rows, width * c_rows, c_rows)

    def _bordered(self, i, axis):
        """All output coordinates in one group: the border lets every tap read."""
        starts = np.arange(axis.out) * axis.stride - axis.before
        taps = np.arange(1 if i == 2 and self.merged else axis.kernel)
        return [Group(np.arange(axis.out), starts, taps, taps * axis.dilation)]

    def plan_forward(self, y: Buffer, x: Buffer, w, bias, op, other: Buffer | None = None, arena=None, prepared=None):
        """y = op(convolution of x by w): the steps. `bias` (c_out,) is read by all ops but STORE and ACCUMULATE.

        ADD and ADD_RELU add `other`, of y's shape, which may be y itself. `prepared`, a list, takes the steps to
        run after each change of w; without one, they are among those returned.
        """
        if self.by_winograd(len(y.array), prepared is None):
            arena = arena or Arena(w.dtype)
            return winograd.plan_forward(self, y, x, w, bias, op, arena, other, prepared)
        c_in, c_out = self.weight_shape[4:]
        # Along the width a tap that reads the border's zeros can be left out where it is summed by itself: 0.59 to 0.97
        # of the time (64 images of 64x8x8, 4 groups, of 32x16x16, 2), but 1.67 with a stride, which cuts rows in two.
        all_taps = *(any(both) for both in self.border[:2]), self.merged or self.axes[2].stride > 1
        groups = [
            self._bordered(i, axis) if reads_all else geometry.forward_groups(axis)
            for i, (axis, reads_all) in enumerate(zip(self.axes, all_taps, strict=True))
        ]
        other = other or y
        join = geometry.joined(len(y.array), math.prod(y.size))
        layouts = [y.layout, other.layout]
        tables = geometry.tables(groups, x.layout, layouts, self.weight_strides(c_in), join)
        inner = c_in * (self.kernel[2] if self.merged else 1)
        columns = strips.columns(c_out, self.groups, c_in, self.window, w.itemsize)
        arrays = y.array, x.array, w, bias, other.array
        return _bind(arrays, tables, columns, c_out, inner, op, join)

    def plan_data_gradient(
        self, dx: Buffer, dy: Buffer, w, arena: Arena, op=STORE, gate: Buffer | None = None, bias=None, prepared=None
    ):
        """dx = op(transposed convolution of dy by w): the steps.

        ACCUMULATE adds to what dx holds; GATE and ACCUMULATE_GATE keep the result where `gate`, of dx's shape, is
        positive. A transposed convolution as a layer has `bias` (c_in,) and the other ops, which add it, and
        `prepared`, as in `plan_forward`.
        """
        if self.by_winograd(len(dx.array), training=True):
            return winograd.plan_data_gradient(self, dx, dy, w, arena, op, gate, bias, prepared)
        if op in (STORE, ACCUMULATE) and self._scatters(w.itemsize):
            return self._plan_scatter(dx, dy, w, arena, clear=op == STORE)
        c_in, c_out = self.weight_shape[4:]
        groups = [geometry.backward_groups(axis) for axis in self.axes[:2]]
        size, _, kernel, _, _, before = self.axes[2]
        strides, last_tap = self.weight_strides(c_out), 0
        if self.merged_back:
            every = np.arange(size)
            groups.append([Group(every, every + before - (kernel - 1), np.zeros(1, np.int64), np.zeros(1, np.int64))])
        else:  # the turned weights run backwards along the width
            groups.append(geometry.backward_groups(self.axes[2]))
            last_tap, strides = (kernel - 1) * strides[2], (*strides[:2], -strides[2])
        gate, join = gate or dx, geometry.joined(len(dx.array), math.prod(dx.size))
        tables = geometry.tables(groups, dy.layout, [dx.layout, gate.layout], strides, join)
        tables.taps[1] += last_tap
        inner = c_out * (kernel if self.merged_back else 1)
        columns = strips.columns(c_in, self.groups, c_out, math.prod(self.kernel) * c_out, w.itemsize)
        shape = self.groups, self.kernel[0] * self.kernel[1], kernel, c_in, c_out
        bias, pixels = w.reshape(-1) if bias is None else bias, len(dx.array) * math.prod(dx.size)
        if prepared is None and geometry.turns_strips(len(strips.strips(c_in)) * self.groups, pixels):
            arrays = dx.array, dy.array, w, bias, gate.array
            return _bind_turning(arrays, tables, columns, shape, inner, op, join, arena)
        turned = arena.scratch((w.size,)) if prepared is None else arena.take((w.size,))
        steps = _bind((dx.array, dy.array, turned, bias, gate.array), tables, columns, c_in, inner, op, join)
        if prepared is None:
            return [turn.plan(turned, w, shape), *steps]
        prepared.append(turn.plan(turned, w, shape))
        return steps

    def _scatters(self, itemsize):
        """Whether the data gradient goes by output pixels: each adds its window's rows, kw * c_in contiguous elements.

        By input pixels it would waste the lanes beside few input channels, and multiply the border's zeros: LeNet's
        second convolution took 297 us that way and takes 190 so. No window may leave the input along the width.
        """
        axis, few = self.axes[2], self.c_in <= lanes(NARROW, itemsize)
        row = self.kernel[2] * self.c_in
        inside = axis.before == 0 and (axis.out - 1) * axis.stride + axis.kernel <= axis.size
        return self.merged and few and inside and row > self.c_in and row <= 2 * lanes(SINGLE, itemsize)

    def _plan_scatter(self, dx, dy, w, arena, clear):
        (depth, height, _), width = self.axes, self.axes[2]
        row = self.kernel[2] * self.c_in
        rows, phases = [], []
        for tap, (kd, kh) in enumerate(np.ndindex(self.kernel[:2])):
            # w before h: the rows of a tile lie in different rows of dx, so that no store waits for the one before
            o_w, o_d, o_h = np.meshgrid(*(np.arange(axis.out) for axis in (width, depth, height)), indexing="ij")
            d, h = (o * a.stride + k * a.dilation - a.before for o, a, k in ((o_d, depth, kd), (o_h, height, kh)))
            inside = (d >= 0) & (d < depth.size) & (h >= 0) & (h < height.size)
            places = dx.layout.place(d, h, o_w * width.stride)[inside]
            phases.append((sum(r.shape[1] for r in rows), places.size, tap, 1))
            rows.append(np.stack([dy.layout.place(o_d, o_h, o_w)[inside], places, places]))
        taps = np.stack([np.zeros(len(phases), np.int64), np.arange(len(phases)) * self.c_out])
        tables = geometry.Tables(np.ascontiguousarray(np.concatenate(rows, 1)), taps, phases)
        turned = arena.scratch((w.size,))
        columns = strips.columns(row, 1, 0, 0, w.itemsize)
        arrays = dx.array, dy.array, turned, turned, dx.array
        steps = _bind(arrays, tables, columns, row, self.c_out, ACCUMULATE, overlap=True, clear=clear)
        return [turn.plan(turned, w, (1, len(phases), 1, row, self.c_out)), *steps]

    def plan_weight_gradient(self, dw, x: Buffer, dy: Buffer, arena: Arena):
        """dw = sum over images and pixels of x by dy: the steps."""
        by_winograd = self._by_winograd(winograd_gradient.wins, len(x.array))
        return (winograd_gradient if by_winograd else direct_gradient).plan(self, dw, x, dy, arena)


def plan_bias_gradient(db, dy: Buffer, arena: Arena):
    """db = sum of dy over images and pixels: the steps."""
    by_row = dy.array.reshape(-1, dy.padded[2] * dy.channels)
    partial = arena.scratch((min(geometry.TASKS, by_row.shape[0]), by_row.shape[1]))
    return [conv.add_rows.step(len(partial), partial, by_row), conv.fold_rows.step(1, db, partial)]


def as_pixels(buffer: Buffer) -> Buffer:
    """A batch of flat samples as one image whose pixels are the samples: a dense layer is then a 1x1 convolution."""
    return Buffer(buffer.array.reshape(1, -1), (1, 1, buffer.array.shape[0]), buffer.channels, ((0, 0),) * 3)


def dense(samples: int, c_in: int, c_out: int) -> Convolution:
    """The dense layer of `samples` samples, on buffers made by `as_pixels`."""
    one = Axis(1, 1, 1, 1, 1, 0)
    return Convolution((one, one, Axis(samples, samples, 1, 1, 1, 0)), c_in, c_out)


def _bind(arrays, tables, columns, channels, inner, op, join=1, overlap=False, clear=False):
    """The step of `convolve` with everything in its place, `join` images as one.

    Results may overlap: an image is then one task.
    """
    y, x, w, bias, gate = arrays
    y, x, gate = (a.reshape(len(a) // join, -1) for a in (y, x, gate))
    load(y.itemsize)
    blocks = geometry.blocks(tables.phases, tables.rows, columns)
    parts, columns_first = 1, True
    if not overlap:
        # phases of few taps beside those of many: equal parts of the image are equal work, and lie together
        blocks = blocks[np.argsort(tables.rows[1, blocks[:, 0]], kind="stable")]
        parts, columns_first = geometry.order(x.nbytes, w.nbytes, len(y), len(columns), len(blocks))
    rows, taps = tables.rows, np.concatenate([tables.taps[:1], strips.by_width(tables.taps[1], channels)])
    _check(y, x, w, bias, gate, rows, taps, tables.phases, columns, inner, op)
    tasks, work = len(y) * len(columns) * parts, _work(y, tables, columns, inner)
    after = geometry.following(blocks, rows[0], inner, x.nbytes)
    given = y, x, w, bias, gate, rows, taps, blocks, after, columns, inner, op, parts, columns_first, clear
    return [conv.convolve.step(tasks, *given, multiply_adds=work)]


def _bind_turning(arrays, tables, columns, shape, inner, op, join, arena):
    """The step of `convolve_turning`; shape as for `turned_blocks`."""
    y, x, w, bias, gate = arrays
    y, x, gate = (a.reshape(len(a) // join, -1) for a in (y, x, gate))
    load(y.itemsize)
    groups, _, _, c_in, _ = shape
    turns, of_strip, flat, side = strips.turned_blocks(*shape), [], w.reshape(-1), turn.SIDE[w.itemsize]
    per_strip = len(turns) // (groups * len(strips.strips(c_in)))
    for i, (first, width) in enumerate((g * c_in + c, n) for g in range(groups) for c, n in strips.strips(c_in)):
        mine = np.flatnonzero((columns[:, 0] >= first) & (columns[:, 0] < first + width))
        of_strip.append((i * per_strip, per_strip, mine[0], len(mine)))
    of_strip = np.array(of_strip, np.int64)
    scratch = arena.scratch((most_threads(), min(c_in, strips.STRIP) * w.size // (groups * c_in)))
    blocks = geometry.blocks(tables.phases, tables.rows, columns)
    rows, taps = tables.rows, np.concatenate([tables.taps[:1], strips.by_width(tables.taps[1], c_in)])
    _check(y, x, flat, bias, gate, rows, taps, tables.phases, columns, inner, op)
    given = y, x, flat, scratch, bias, gate, rows, taps, blocks, columns, turns, of_strip, inner, op, side
    work = max(_work(y, tables, columns, inner), 4 * flat.size)  # turning takes longer than to multiply with one pixel
    return [turn.convolve_turning.step(len(of_strip), *given, multiply_adds=work)]


def _work(y, tables, columns, inner):
    """Multiplications with an addition, about: the last block of columns tells how many channels there are."""
    return (
        len(y) * sum(count * taps for _, count, _, taps in tables.phases) * inner * int(columns[-1, 0] + columns[-1, 2])
    )


def _check(y, x, w, bias, gate, rows, taps, phases, columns, inner, op):
    """Whether all that the tables say lies inside the arrays."""
    last = geometry.reach(columns, y.itemsize)
    check_bounds("bias", bias.size, (columns[:, 0] + last) * (op in BIASED))
    for first, count, tap, n_taps in phases:
        at, by = rows[:, first : first + count], taps[:, tap : tap + n_taps]
        check_bounds("y", y.shape[1], at[1], columns[:, 0] + last)
        check_bounds("gate", gate.shape[1], at[2], (columns[:, 0] + last) * (op in WITH_GATE))
        if n_taps:
            check_bounds("x", x.shape[1], at[0], by[0], inner - 1, columns[:, 3])
            for i, of_width in enumerate(by[1:]):
                of = columns[:, 6] == i
                check_bounds("w", w.size, of_width, ((inner - 1) * columns[:, 5] + columns[:, 4] + last)[of])
