"""Pooling. Lanes run over channels; windows, strides and padding are in the tables of `geometry`, as in `conv`.

`rows` gives for each output pixel its window in x, then its place in each result; `taps` the offsets of a window's
elements; `phases` holds (first row, rows, first tap, taps): padding is simply not among a pixel's taps.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from cnncli.kernels.program import kernel
from cnncli.kernels.tile import NARROW, SINGLE, elements, lanes, table
from cnncli.kernels.vectors import I32, I64, REALS, Vectors, at, integer, phis


def pointers(builder, group, *kinds):
    """The members of a tuple of integers, as pointers where a kind is given."""
    values = cgutils.unpack_tuple(builder, group)
    return [builder.inttoptr(v, kind.as_pointer()) if kind else v for v, kind in zip(values, kinds, strict=True)]


def _emit_max(v, x, taps, y, arg, count, tail):
    """For each row: y = max over the taps, arg = the first tap that has it. A NaN wins, as it does in PyTorch."""
    builder, mask = v.builder, v.below(tail)
    none = ir.Constant(v.index_type, [0] * v.lanes)
    with cgutils.for_range(builder, count, intp=I64) as row:
        window = at(builder, x[0], builder.load(at(builder, x[1], row.index)))
        first = v.load(at(builder, window, builder.load(taps[0])), mask)
        before, function = builder.block, builder.function
        loop, done = function.append_basic_block("taps"), function.append_basic_block("taps_end")
        builder.cbranch(builder.icmp_signed("<", integer(1), taps[1]), loop, done)
        builder.position_at_end(loop)
        (t,) = phis(I64, [integer(1)], before, builder)
        (best,) = phis(v.type, [first], before, builder)
        (best_tap,) = phis(v.index_type, [none], before, builder)
        value = v.load(at(builder, window, builder.load(at(builder, taps[0], t))), mask)
        is_nan = builder.fcmp_unordered("uno", value, value)
        wins = builder.or_(builder.fcmp_ordered(">", value, best), is_nan)
        new_best = builder.select(wins, value, best)
        new_tap = builder.select(wins, v.splat(builder.trunc(t, I32), v.index_type), best_tap)
        t_next = builder.add(t, integer(1))
        for phi, new in ((t, t_next), (best, new_best), (best_tap, new_tap)):
            phi.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", t_next, taps[1]), loop, done)
        builder.position_at_end(done)
        (top,) = phis(v.type, [first], before, builder)
        (top_tap,) = phis(v.index_type, [none], before, builder)
        top.add_incoming(new_best, loop)
        top_tap.add_incoming(new_tap, loop)
        v.store(top, at(builder, y[0], builder.load(at(builder, y[1], row.index))), mask)
        v.store(top_tap, at(builder, arg[0], builder.load(at(builder, arg[1], row.index))), mask)


def _emit_max_gradient(v, dx, taps, dy, arg, gate, count, tail, gated, overlap):
    """For each row and tap: dx = dy where the tap is the maximum, else 0; or dx += it where windows overlap."""
    with v.builder.if_else(overlap) as (adds, stores):
        with adds:
            _emit_max_gradient_rows(v, dx, taps, dy, arg, gate, count, tail, gated, True)
        with stores:
            _emit_max_gradient_rows(v, dx, taps, dy, arg, gate, count, tail, gated, False)


def _emit_max_gradient_rows(v, dx, taps, dy, arg, gate, count, tail, gated, overlap):
    builder, mask = v.builder, v.below(tail)

    def place(pair, row):
        return at(builder, pair[0], builder.load(at(builder, pair[1], row)))

    with cgutils.for_range(builder, count, intp=I64) as row:
        window, gradient = place(dx, row.index), v.load(place(dy, row.index), mask)
        winner = v.load(place(arg, row.index), mask, ir.Constant(v.index_type, [0] * v.lanes), v.index_type)
        kept = v.load(place(gate, row.index), builder.select(gated, mask, v.nothing), v.constant(1.0))
        gradient = builder.select(builder.fcmp_ordered(">", kept, v.zero), gradient, v.zero)
        with cgutils.for_range(builder, taps[1], intp=I64) as tap:
            target = at(builder, window, builder.load(at(builder, taps[0], tap.index)))
            mine = builder.icmp_signed("==", winner, v.splat(builder.trunc(tap.index, I32), v.index_type))
            value = builder.select(mine, gradient, v.zero)
            v.store(builder.fadd(v.load(target, mask), value) if overlap else value, target, mask)


def _either_width(builder, kind, itemsize, emit):
    """Emit for narrow and for whole vectors; `kind` chooses at run time."""
    with builder.if_else(builder.icmp_signed("==", kind, integer(NARROW))) as (narrow, whole):
        with narrow:
            emit(Vectors(builder, lanes(NARROW, itemsize), itemsize))
        with whole:
            emit(Vectors(builder, lanes(SINGLE, itemsize), itemsize))


@intrinsic
def _max_rows_llvm(context, like, kind, x, taps, y, arg, size):
    itemsize = like.dtype.bitwidth // 8

    def codegen(context, builder, signature, arguments):
        _, kind, x, taps, y, arg, size = arguments
        real = REALS[itemsize]
        x, y, arg = (pointers(builder, g, of, I64) for g, of in ((x, real), (y, real), (arg, I32)))
        taps, size = pointers(builder, taps, I64, None), pointers(builder, size, None, None)
        _either_width(builder, kind, itemsize, lambda v: _emit_max(v, x, taps, y, arg, *size))
        return context.get_dummy_value()

    return types.void(like, kind, x, taps, y, arg, size), codegen


@intrinsic
def _max_rows_gradient_llvm(context, like, kind, dx, taps, dy, arg, gate, size, flags):
    itemsize = like.dtype.bitwidth // 8

    def codegen(context, builder, signature, arguments):
        _, kind, dx, taps, dy, arg, gate, size, flags = arguments
        real = REALS[itemsize]
        groups = ((dx, real), (dy, real), (arg, I32), (gate, real))
        dx, dy, arg, gate = (pointers(builder, g, of, I64) for g, of in groups)
        taps, size = pointers(builder, taps, I64, None), pointers(builder, size, None, None)
        gated, overlap = (builder.icmp_signed("!=", f, integer(0)) for f in cgutils.unpack_tuple(builder, flags))
        _either_width(
            builder, kind, itemsize, lambda v: _emit_max_gradient(v, dx, taps, dy, arg, gate, *size, gated, overlap)
        )
        return context.get_dummy_value()

    return types.void(like, kind, dx, taps, dy, arg, gate, size, flags), codegen


def max_rows(like, kind, x, taps, y, arg, size):
    """The maximum over the taps, in NumPy. Pairs are (address, rows), taps (table, count), size (rows, columns)."""
    rows, columns = size[0], np.arange(size[1])
    window = table(x[1], rows)[:, None, None] + table(*taps)[:, None] + columns
    values = elements(x[0], window, like.dtype)[0]
    nan = np.isnan(values)
    last_nan = values.shape[1] - 1 - np.argmax(nan[:, ::-1], 1)
    found = np.where(nan.any(1), last_nan, np.argmax(values, 1))
    elements(y[0], table(y[1], rows)[:, None] + columns, like.dtype)[1](
        np.take_along_axis(values, found[:, None], 1)[:, 0]
    )
    elements(arg[0], table(arg[1], rows)[:, None] + columns, np.dtype(np.int32))[1](found)


def max_rows_gradient(like, kind, dx, taps, dy, arg, gate, size, flags):
    """The gradient of `max_rows`, in NumPy. flags = (gated, overlapping windows)."""
    columns = np.arange(size[1])

    def rows(pair, dtype):
        return elements(pair[0], table(pair[1], size[0])[:, None] + columns, dtype)[0]

    gradient, winner = rows(dy, like.dtype), rows(arg, np.dtype(np.int32))
    if flags[0]:
        gradient = np.where(rows(gate, like.dtype) > 0, gradient, 0)
    for row, start in enumerate(table(dx[1], size[0])):  # row by row: windows may overlap
        for t, tap in enumerate(table(*taps)):
            before, store = elements(dx[0], start + tap + columns, like.dtype)
            mine = np.where(winner[row] == t, gradient[row], 0)
            store(before + mine if flags[1] else mine)


@overload(max_rows)
def _max_rows(like, kind, x, taps, y, arg, size):
    return lambda like, kind, x, taps, y, arg, size: _max_rows_llvm(like, kind, x, taps, y, arg, size)


@overload(max_rows_gradient)
def _max_rows_gradient(like, kind, dx, taps, dy, arg, gate, size, flags):
    def implementation(like, kind, dx, taps, dy, arg, gate, size, flags):
        _max_rows_gradient_llvm(like, kind, dx, taps, dy, arg, gate, size, flags)

    return implementation


@kernel
def max_pool(first, last, y, arg, x, rows, taps, phases, columns):
    """y, arg = maximum over each window and the number of its tap. y (N, Y), arg (N, A) int32, x (N, X).

    rows (3, pixels) in x, y, arg. A task owns an image.
    """
    size, many = y.itemsize, rows.shape[1]
    for n in range(first, last):
        for c in range(columns.shape[0]):
            for p in range(phases.shape[0]):
                channel, kind, tail = columns[c, 0], columns[c, 1], columns[c, 2]
                row, count, tap, n_taps = phases[p]
                table = rows.ctypes.data + 8 * row
                max_rows(
                    y,
                    kind,
                    (x.ctypes.data + size * (n * x.shape[1] + channel), table),
                    (taps.ctypes.data + 8 * tap, n_taps),
                    (y.ctypes.data + size * (n * y.shape[1] + channel), table + 8 * many),
                    (arg.ctypes.data + 4 * (n * arg.shape[1] + channel), table + 16 * many),
                    (count, tail),
                )


@kernel
def max_pool_gradient(first, last, dx, dy, arg, gate, rows, taps, phases, columns, gated, overlap):
    """dx = dy at the maximum of each window, 0 elsewhere; if `gated`, only where `gate` > 0. A task owns an image.

    rows (4, pixels) in dx, dy, arg, gate. With `overlap` windows are summed into a cleared dx: where they overlap, and
    where elements are in none.
    """
    size, many = dx.itemsize, rows.shape[1]
    for n in range(first, last):
        if overlap:
            for i in range(dx.shape[1]):
                dx[n, i] = 0
        for c in range(columns.shape[0]):
            for p in range(phases.shape[0]):
                channel, kind, tail = columns[c, 0], columns[c, 1], columns[c, 2]
                row, count, tap, n_taps = phases[p]
                table = rows.ctypes.data + 8 * row
                max_rows_gradient(
                    dx,
                    kind,
                    (dx.ctypes.data + size * (n * dx.shape[1] + channel), table),
                    (taps.ctypes.data + 8 * tap, n_taps),
                    (dy.ctypes.data + size * (n * dy.shape[1] + channel), table + 8 * many),
                    (arg.ctypes.data + 4 * (n * arg.shape[1] + channel), table + 16 * many),
                    (gate.ctypes.data + size * (n * gate.shape[1] + channel), table + 24 * many),
                    (count, tail),
                    (gated, overlap),
                )


@kernel
def average_pool(first, last, y, x, rows, taps, phases, scales, channels):
    """y = sum over each window times its phase's scale. y (N, Y), x (N, X), rows (2, pixels); a task owns an image."""
    for n in range(first, last):
        for p in range(phases.shape[0]):
            row, count, tap, n_taps = phases[p]
            for r in range(row, row + count):
                to = y[n, rows[1, r] : rows[1, r] + channels]  # slices are vectorised: no index is negative
                to[:] = 0
                for t in range(tap, tap + n_taps):
                    start = rows[0, r] + taps[t]
                    of = x[n, start : start + channels]
                    for c in range(channels):
                        to[c] += of[c]
                for c in range(channels):
                    to[c] *= scales[p]


@kernel
def average_pool_gradient(first, last, dx, dy, rows, taps, phases, scales, channels):
    """dx = dy of every window that an element is in, times the window's scale; a task owns an image."""
    for n in range(first, last):
        for i in range(dx.shape[1]):
            dx[n, i] = 0
        for p in range(phases.shape[0]):
            row, count, tap, n_taps = phases[p]
            for r in range(row, row + count):
                of = dy[n, rows[1, r] : rows[1, r] + channels]
                for t in range(tap, tap + n_taps):
                    start = rows[0, r] + taps[t]
                    to = dx[n, start : start + channels]
                    for c in range(channels):
                        to[c] += of[c] * scales[p]
