"""A convolution whose weights cycle over phases of the output's position, as steps that are ready to run.

With t tiles along an axis, outputs t apart share their weights (Le et al. 2010, "Tiled Convolutional Neural Networks").
One tile is the ordinary convolution; as many as there are outputs make each output's weights its own (the textbook's
unshared convolution, LeCun 1989). Weights are (*phases, *kernel, in, out), in strips: those of a phase lie together.
"""

import math

import numpy as np

from cnncli.kernels import conv, geometry, most_threads, strips, tiled
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.convolution import STORE, Convolution, plan_bias_gradient
from cnncli.kernels.geometry import Axis, Group, check_bounds
from cnncli.kernels.tile import BIASED, WITH_GATE, load
from cnncli.kernels.turn import SIDE

FLOAT, PAGE = 4, 4096  # bytes


class TiledConvolution:
    """The shapes of one: three axes, the tiles along each, channels."""

    def __init__(self, axes: tuple[Axis, Axis, Axis], tiles: tuple[int, int, int], c_in: int, c_out: int):
        self.axes, self.c_in, self.c_out = axes, c_in, c_out
        self.phases = tuple(min(t, axis.out) for t, axis in zip(tiles, axes, strict=True))
        self.kernel = tuple(axis.kernel for axis in axes)
        self.plain = Convolution(axes, c_in, c_out, algorithm="direct")
        self.merged = axes[2].dilation == 1  # a row of the kernel is contiguous in the input
        # between the weights of two phases along each axis, and of two taps, in their rows
        sizes = *self.phases, *self.kernel, c_in
        steps = [math.prod(sizes[i + 1 :]) for i in range(6)]
        self.phase_steps, self.tap_steps = steps[:3], steps[3:]
        self.window = math.prod(self.kernel) * c_in  # rows of weights of one phase
        self.rows = math.prod(self.phases) * self.window

    @property
    def border(self):
        """The zeros that the input needs around it: those with which every window is whole."""
        return _spread(self.plain.around, tuple(axis.size for axis in self.axes), self.c_in)

    @property
    def gradient_border(self):
        return _spread(((0, 0),) * 3, tuple(axis.out for axis in self.axes), self.c_out)

    def _forward_groups(self, i, axis):
        taps = np.arange(1 if i == 2 and self.merged else axis.kernel)
        starts = np.arange(axis.out) * axis.stride - axis.before
        found = []
        for phase in range(self.phases[i]):
            places = np.arange(phase, axis.out, self.phases[i])
            at_w = phase * self.phase_steps[i] + taps * self.tap_steps[i]
            found.append(Group(places, starts[places], at_w, taps * axis.dilation))
        return found

    def _backward_groups(self, i, axis):
        """For each input coordinate, the outputs that see it, and where the weights are that they see it by."""
        lists = []
        for place in range(axis.size):
            reached = [(k, divmod(place + axis.before - k * axis.dilation, axis.stride)) for k in range(axis.kernel)]
            outputs = [(k, o) for k, (o, rest) in reached if rest == 0 and 0 <= o < axis.out]
            lists.append([(o % self.phases[i] * self.phase_steps[i] + k * self.tap_steps[i], o) for k, o in outputs])
        return geometry.grouped(axis.size, lists)

    def _joined(self, images, w):
        """How many images make one: all, where the weights do not stay in a cache from one to the next."""
        outputs = math.prod(axis.out for axis in self.axes)
        return images if w.nbytes > geometry.NEAR else geometry.joined(images, outputs)

    def plan_forward(self, y: Buffer, x: Buffer, w, bias, op, other: Buffer | None = None):
        """y = op(convolution of x by w): the steps. `bias` (c_out,) or (phases * c_out,); ops as in `Convolution`."""
        other, join = other or y, self._joined(len(y.array), w)
        groups = [self._forward_groups(i, axis) for i, axis in enumerate(self.axes)]
        tables = geometry.tables(groups, x.layout, [y.layout, other.layout], (1, 1, 1), join)
        inner = self.c_in * (self.kernel[2] if self.merged else 1)
        columns = strips.columns(self.c_out, 1, 0, self.rows, w.itemsize)
        blocks, pieces = _pieces(tables, columns, len(y.array) // join, self.window * w.itemsize)
        works = blocks, np.zeros((0, 6), np.int64), [(*piece, 0, len(columns), 0, 0, phase) for phase, piece in pieces]
        arrays = y.array, x.array, w.reshape(-1), np.zeros((most_threads(), 1), w.dtype), bias, other.array
        of_phases = self.c_out if bias.size > self.c_out else 0, self.window
        return _bind(arrays, tables, columns, self.c_out, works, (inner, op, *of_phases), join)

    def plan_data_gradient(self, dx: Buffer, dy: Buffer, w, arena: Arena, op=STORE, gate: Buffer | None = None):
        """dx = op(the transposed operation on dy by w): the steps, as `Convolution.plan_data_gradient` has it."""
        gate, join = gate or dx, self._joined(len(dx.array), w)
        groups = [self._backward_groups(i, axis) for i, axis in enumerate(self.axes)]
        tables = geometry.tables(groups, dy.layout, [dx.layout, gate.layout], (1, 1, 1), join)
        # the turned weights of a phase begin with those of its first tap
        counts = np.array([n_taps for *_, n_taps in tables.phases])
        starts = np.repeat(np.array([tap for _, _, tap, _ in tables.phases]), counts)
        at_w = tables.taps[1].copy()
        tables.taps[1] = (np.arange(len(at_w)) - starts) * self.c_out
        most = int(counts.max()) * self.c_out
        columns = strips.columns(self.c_in, 1, 0, most, w.itemsize)
        turns = self._turns(at_w, starts, most)
        per_strip = len(turns) // len(strips.strips(self.c_in))
        per_tap, works = len(strips.strips(self.c_out)), []
        blocks, pieces = _pieces(tables, columns, len(dx.array) // join, most * w.itemsize)
        for phase, piece in pieces:
            tap, n_taps = tables.phases[phase][2:]
            for s, (first, width) in enumerate(strips.strips(self.c_in)):
                own = np.flatnonzero((columns[:, 0] >= first) & (columns[:, 0] < first + width))
                works.append((*piece, own[0], len(own), s * per_strip + tap * per_tap, n_taps * per_tap, 0))
        scratch = arena.scratch((most_threads(), most * min(self.c_in, strips.STRIP)))
        arrays = dx.array, dy.array, w.reshape(-1), scratch, w.reshape(-1), gate.array
        return _bind(arrays, tables, columns, self.c_in, (blocks, turns, works), (self.c_out, op, 0, 0), join)

    def _turns(self, at_w, starts, most):
        """Blocks of weights to turn, as `strips.turned_blocks` has them: strip by strip of inputs, tap by tap."""
        found, taps = [], np.arange(len(at_w)) - starts
        for first, height in strips.strips(self.c_in):
            of_strip = np.zeros((len(at_w), len(strips.strips(self.c_out)), 6), np.int64)
            for i, (c, width) in enumerate(strips.strips(self.c_out)):
                of_strip[:, i, 0] = c * self.rows + (at_w + first) * width
                of_strip[:, i, 2] = first * most + (taps * self.c_out + c) * height
                of_strip[:, i, [1, 3, 4, 5]] = width, height, height, width
            found.append(of_strip.reshape(-1, 6))
        return np.concatenate(found)

    def plan_weight_gradient(self, dw, x: Buffer, dy: Buffer, arena: Arena):
        """dw = sum over images and pixels of x by dy, each pixel's into its phase: the steps."""
        load(dw.itemsize)
        taps, phases = self._pixels(x, dy)
        at = np.meshgrid(*map(np.arange, (*self.kernel, self.c_in)), indexing="ij")
        dilated = [n * axis.dilation for n, axis in zip(at, self.axes, strict=False)]
        at_x = sum(n * step for n, step in zip(dilated, x.layout.strides, strict=True)) + at[3]
        rows = np.concatenate([at_x.reshape(1, -1), strips.by_width(np.arange(self.window), self.c_out)])
        columns = strips.columns(self.c_out, 1, 0, self.rows, dw.itemsize)
        blocks = geometry.blocks([(0, self.window, 0, 1)], rows, columns, of_window=True)
        check_bounds("x", x.array.shape[1], rows[0], taps[0])
        check_bounds("dy", dy.array.shape[1], taps[1], self.c_out - 1)
        last = (columns[:, 5] * (self.rows - 1)) + columns[:, 4] + geometry.reach(columns, dw.itemsize)
        check_bounds("dw", dw.size, np.array([0, *last]))
        images, most = len(x.array), int(phases[:, 1].max())
        chunks = min(most, -(-geometry.TASKS // len(phases)))
        partial = dw.reshape(1, -1) if chunks == 1 else arena.scratch((chunks, dw.size))
        span, work = max(1, geometry.SPAN_PIXELS // images), images * self.plain.multiply_adds
        given = partial, x.array, dy.array, np.ascontiguousarray(rows), taps, phases, blocks, columns, self.window, span
        gradient = tiled.tiles_weight_gradient.step(len(phases) * chunks, *given, multiply_adds=work)
        if chunks == 1:
            return [gradient]
        return [gradient, conv.plan_add_chunks(dw.reshape(-1), partial)]

    def plan_bias_gradient(self, db, x: Buffer, dy: Buffer, arena: Arena):
        """db = sum of dy over images and pixels, or where db has a number for each phase, over the pixels of each."""
        if db.size == self.c_out:
            return plan_bias_gradient(db, dy, arena)
        taps, phases = self._pixels(x, dy)
        check_bounds("dy", dy.array.shape[1], taps[1], self.c_out - 1)
        return [tiled.tiles_bias_gradient.step(len(phases), db.reshape(-1, self.c_out), dy.array, taps, phases)]

    def _pixels(self, x: Buffer, dy: Buffer):
        """(2, pixels): the window of each output pixel in x and its place in dy, phase by phase; (first, pixels)."""
        groups = [self._forward_groups(i, axis) for i, axis in enumerate(self.axes)]
        tables = geometry.tables(groups, x.layout, [dy.layout], (1, 1, 1))
        return tables.rows, np.array([phase[:2] for phase in tables.phases], np.int64)


def _spread(border, size, channels):
    """The border, wider by an element after height, width or both if images would lie whole pages apart.

    One pixel of all images, which is what a tile reads, would then be in a single set of the cache beside the core.
    """
    for more in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)):
        wider = tuple((before, after + m) for (before, after), m in zip(border, more, strict=True))
        padded = (n + before + after for n, (before, after) in zip(size, wider, strict=True))
        if math.prod(padded) * channels * FLOAT % PAGE:
            return wider
    return border


def _pieces(tables, columns, groups, x_bytes):
    """Blocks of rows, and the pieces into which phases are cut: (phase, (first block, blocks)).

    There are about TASKS of them with the groups of images, and the input of one, `x_bytes` a row, stays in a cache.
    """
    blocks, found = geometry.blocks(tables.phases, tables.rows, columns), []
    ends = np.searchsorted(blocks[:, 0], [first + count for first, count, _, _ in tables.phases]).tolist()
    start = 0
    for phase, (end, (_, rows, _, _)) in enumerate(zip(ends, tables.phases, strict=True)):
        wanted = max(-(-geometry.TASKS // (len(ends) * groups)), rows * x_bytes // geometry.NEAR)
        each = -(-(end - start) // max(1, min(end - start, wanted)))
        found += [(phase, (first, min(each, end - first))) for first in range(start, end, each)]
        start = end
    return blocks, found


def _bind(arrays, tables, columns, channels, works, how, join):
    """The step of `convolve_tiles`, checked, with `join` images as one.

    works: (blocks, turns, pieces); how: (inner, op, bias_step, window).
    """
    y, x, w, scratch, bias, gate = arrays
    y, x, gate = (a.reshape(len(a) // join, -1) for a in (y, x, gate))
    load(y.itemsize)
    (blocks, turns, pieces), (inner, op, bias_step, _) = works, how
    pieces = np.array(pieces, np.int64)
    rows, taps = tables.rows, np.concatenate([tables.taps[:1], strips.by_width(tables.taps[1], channels)])
    last = geometry.reach(columns, y.itemsize)
    check_bounds("y", y.shape[1], rows[1], columns[:, 0] + last)
    check_bounds("gate", gate.shape[1], rows[2], (columns[:, 0] + last) * (op in WITH_GATE))
    check_bounds("bias", bias.size, pieces[:, 6] * bias_step, (columns[:, 0] + last) * (op in BIASED))
    for row, count, tap, n_taps in tables.phases:
        if n_taps:
            check_bounds("x", x.shape[1], rows[0, row : row + count], taps[0, tap : tap + n_taps], inner - 1)
    # turned weights begin with their strip
    at_w, elements = (columns[:, 0] % strips.STRIP, scratch.shape[1]) if len(turns) else (columns[:, 4], w.size)
    for i, of_width in enumerate(taps[1:]):
        of = columns[:, 6] == i
        check_bounds("w", elements, of_width, ((inner - 1) * columns[:, 5] + at_w + last)[of])
    if len(turns):
        source, step, _, _, high, wide = turns.T
        check_bounds("w", w.size, np.concatenate([source, source + (high - 1) * step + wide - 1]))
    given = y, x, w, scratch, bias, gate, rows, taps, blocks, columns, turns, pieces, *how, SIDE[w.itemsize]
    work = sum(count * n_taps for _, count, _, n_taps in tables.phases) * inner * channels * len(y)
    return [tiled.convolve_tiles.step(len(y) * len(pieces), *given, multiply_adds=work)]
