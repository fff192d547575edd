"""The tiles of depthwise convolution, in LLVM vectors and in NumPy: lanes run over channels, nothing sums over them.

`sum_taps` makes a run of pixels, `sum_pixels` the gradient of a few taps. One vector of channels after another, results
stay in registers over the loop; an input vector is loaded for each multiplication, so they go at the speed of the
loads, or of the memory.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from cnncli.kernels.pool import pointers
from cnncli.kernels.tile import ACCUMULATE, ACCUMULATE_GATE, BIAS_RELU, GATE, SINGLE, elements, lanes, table
from cnncli.kernels.vectors import I32, I64, REALS, Vectors, at, integer, phis

I8 = ir.IntType(8)

MOST_PIXELS = 8  # of a run: with a tap's weight they fit the 16 registers of AVX2, and hide the latency of 8 products
MOST_TAPS = 9  # of a call of the weight gradient, by the same reckoning: a whole kernel of 3 x 3


def _strips(v, channels, emit):
    """`emit(first channel, mask)` in a loop over whole vectors of channels, and once more for what is left."""
    builder, width = v.builder, integer(v.lanes)
    whole, rest = builder.udiv(channels, width), builder.urem(channels, width)
    with cgutils.for_range(builder, whole, intp=I64) as strip:
        emit(builder.mul(strip.index, width), None)
    with builder.if_then(builder.icmp_signed(">", rest, integer(0))):
        emit(builder.mul(whole, width), v.below(rest))


def _loop(builder, count, values, body):
    """`values` after `body(i, values)` for each i below `count`, which may be 0."""
    before, function = builder.block, builder.function
    loop, done = function.append_basic_block("loop"), function.append_basic_block("loop_end")
    builder.cbranch(builder.icmp_signed(">", count, integer(0)), loop, done)
    builder.position_at_end(loop)
    (i,) = phis(I64, [integer(0)], before, builder)
    here = phis(values[0].type, values, before, builder)
    following = body(i, here)
    i_next, last = builder.add(i, integer(1)), builder.block
    i.add_incoming(i_next, last)
    for phi, value in zip(here, following, strict=True):
        phi.add_incoming(value, last)
    builder.cbranch(builder.icmp_signed("<", i_next, count), loop, done)
    builder.position_at_end(done)
    results = phis(values[0].type, values, before, builder)
    for phi, value in zip(results, following, strict=True):
        phi.add_incoming(value, last)
    return results


def _fetch(v, pointer):
    """Ask for the cache line of `pointer`, to write there soon."""
    kind, (write, near, data) = I8.as_pointer(), (ir.Constant(I32, n) for n in (1, 3, 1))
    fetch = v.function("llvm.prefetch.p0", ir.VoidType(), kind, I32, I32, I32)
    v.builder.call(fetch, [v.builder.bitcast(pointer, kind), write, near, data])


def _emit_run(v, pixels, x, taps, y, epilogue, channels):
    """All channels of `pixels` pixels. Vectors are read whole: beyond the last channel lies at least the slack."""
    builder = v.builder
    (x, x_step), (y, y_step), (bias, gate, gate_step, op) = x, y, epilogue
    x_taps, w, w_taps, n_taps = taps
    floor = builder.select(builder.icmp_signed("==", op, integer(BIAS_RELU)), v.zero, v.constant(float("-inf")))

    def either(*ops):
        found = [builder.icmp_signed("==", op, integer(one)) for one in ops]
        return builder.or_(*found)

    adds, gated = either(ACCUMULATE, ACCUMULATE_GATE), either(GATE, ACCUMULATE_GATE)

    def row(pointer, step, channel):
        return [at(builder, pointer, builder.add(channel, builder.mul(step, integer(i)))) for i in range(pixels)]

    def strip(channel, mask):
        def tap(t, sums):
            weight = v.load(at(builder, w, builder.add(channel, builder.load(at(builder, w_taps, t)))))
            here = row(at(builder, x, builder.load(at(builder, x_taps, t))), x_step, channel)
            return [v.multiply_add(v.load(p), weight, total) for p, total in zip(here, sums, strict=True)]

        targets = row(y, y_step, channel)
        for target in targets:  # the data gradient of stride 2 took 1.45 times as long without it
            _fetch(v, target)
        sums = _loop(builder, n_taps, [v.load(at(builder, bias, channel))] * pixels, tap)
        with builder.if_else(builder.or_(adds, gated)) as (back, plain):
            with plain:
                for target, total in zip(targets, sums, strict=True):
                    store(v.maximum(total, floor), target, mask)
            with back:
                everywhere = v.everything if mask is None else mask
                for target, beside, total in zip(targets, row(gate, gate_step, channel), sums, strict=True):
                    before = v.load(target, builder.select(adds, everywhere, v.nothing))
                    kept = v.load(beside, builder.select(gated, everywhere, v.nothing), v.constant(1.0))
                    value = builder.fadd(before, total)
                    store(builder.select(builder.fcmp_ordered(">", kept, v.zero), value, v.zero), target, mask)

    def store(value, target, mask):
        v.store(value, target, v.everything if mask is None else mask)

    _strips(v, channels, strip)


def _emit_taps(v, n_taps, x, dy, dw, count, channels):
    """All channels of the sums of `n_taps` taps, and of dy alone, over rows of pixels."""
    builder = v.builder
    (x, x_row, x_step, x_taps), (dy, dy_row, dy_step), (dw, w_taps, bias, counted), (rows, pixels) = x, dy, dw, count
    offsets = [builder.load(at(builder, x_taps, integer(t))) for t in range(n_taps)]
    targets = [bias, *(builder.load(at(builder, w_taps, integer(t))) for t in range(n_taps))]

    def strip(channel, mask):
        to = [at(builder, dw, builder.add(channel, target)) for target in targets]

        def row(r, sums):
            x_here = at(builder, x, builder.add(channel, builder.mul(r, x_row)))
            dy_here = at(builder, dy, builder.add(channel, builder.mul(r, dy_row)))

            def pixel(p, sums):
                gradient = v.load(at(builder, dy_here, builder.mul(p, dy_step)))
                window = at(builder, x_here, builder.mul(p, x_step))
                values = [v.load(at(builder, window, offset)) for offset in offsets]
                products = [v.multiply_add(value, gradient, of) for value, of in zip(values, sums[1:], strict=True)]
                return [builder.fadd(sums[0], gradient), *products]

            return _loop(builder, pixels, sums, pixel)

        sums = _loop(builder, rows, [v.load(target) for target in to], row)
        for target, total in zip(to[1:], sums[1:], strict=True):
            v.store(total, target, v.everything if mask is None else mask)
        with builder.if_then(builder.icmp_signed("!=", counted, integer(0))):
            v.store(sums[0], to[0], v.everything if mask is None else mask)

    _strips(v, channels, strip)


def _variants(builder, which, known, emit):
    """`emit(n)` for the n of `known` that `which` is at run time."""
    done, unknown = (builder.function.append_basic_block(name) for name in ("done", "unknown"))
    switch = builder.switch(which, unknown)
    builder.position_at_end(unknown)
    Vectors(builder, 1, 4).trap()
    for n in known:
        block = builder.function.append_basic_block(f"variant_{n}")
        switch.add_case(integer(n), block)
        builder.position_at_end(block)
        emit(n)
        builder.branch(done)
    builder.position_at_end(done)


@intrinsic
def _sum_taps_llvm(context, like, pixels, x, taps, y, epilogue, channels):
    itemsize = like.dtype.bitwidth // 8

    def codegen(context, builder, signature, arguments):
        _, pixels, x, taps, y, epilogue, channels = arguments
        real, v = REALS[itemsize], Vectors(builder, lanes(SINGLE, itemsize), itemsize)
        x, y = pointers(builder, x, real, None), pointers(builder, y, real, None)
        taps = pointers(builder, taps, I64, real, I64, None)
        epilogue = pointers(builder, epilogue, real, real, None, None)
        _variants(builder, pixels, range(1, MOST_PIXELS + 1), lambda n: _emit_run(v, n, x, taps, y, epilogue, channels))
        return context.get_dummy_value()

    return types.void(like, pixels, x, taps, y, epilogue, channels), codegen


@intrinsic
def _sum_pixels_llvm(context, like, n_taps, x, dy, dw, count, channels):
    itemsize = like.dtype.bitwidth // 8

    def codegen(context, builder, signature, arguments):
        _, n_taps, x, dy, dw, count, channels = arguments
        real, v = REALS[itemsize], Vectors(builder, lanes(SINGLE, itemsize), itemsize)
        x, dy = pointers(builder, x, real, None, None, I64), pointers(builder, dy, real, None, None)
        dw, count = pointers(builder, dw, real, I64, None, None), pointers(builder, count, None, None)
        _variants(builder, n_taps, range(MOST_TAPS + 1), lambda n: _emit_taps(v, n, x, dy, dw, count, channels))
        return context.get_dummy_value()

    return types.void(like, n_taps, x, dy, dw, count, channels), codegen


def sum_taps(like, pixels, x, taps, y, epilogue, channels):
    """One run, in NumPy. x, y = (address, distance of pixels), taps = (x table, address of w, w table, count),
    epilogue = (bias address, gate address, distance of its pixels, op)."""
    columns, places = np.arange(channels), np.arange(pixels)[:, None, None]
    offsets = table(taps[0], taps[3])
    lowest = int(offsets.min(initial=0))  # the first tap is not the lowest where it runs backwards
    window = places * x[1] + (offsets - lowest)[:, None] + columns
    weights = elements(taps[1], table(taps[2], taps[3])[:, None] + columns, like.dtype)[0]
    values = elements(x[0] + lowest * like.itemsize, window, like.dtype)[0]
    bias, gate, gate_step, op = epilogue
    sums = elements(bias, columns, like.dtype)[0] + (values * weights).sum(1)
    before, store = elements(y[0], places[:, 0] * y[1] + columns, like.dtype)
    if op in (ACCUMULATE, ACCUMULATE_GATE):
        sums += before
    if op in (GATE, ACCUMULATE_GATE):
        sums[~(elements(gate, places[:, 0] * gate_step + columns, like.dtype)[0] > 0)] = 0
    store(np.maximum(sums, 0) if op == BIAS_RELU else sums)


def sum_pixels(like, n_taps, x, dy, dw, count, channels):
    """Taps over rows of pixels, in NumPy. x = (address, distance of rows, of pixels, table of taps),
    dy = (address, distance of rows, of pixels), dw = (address, table of taps, place of the bias, whether it counts),
    count = (rows, pixels)."""
    columns = np.arange(channels)
    row, pixel = np.arange(count[0])[:, None, None], np.arange(count[1])[:, None]
    gradient = elements(dy[0], row * dy[1] + pixel * dy[2] + columns, like.dtype)[0]

    def add(target, more):
        before, store = elements(dw[0], target + columns, like.dtype)
        store(before + more.sum((0, 1)))

    for offset, target in zip(table(x[3], n_taps), table(dw[1], n_taps), strict=True):
        add(target, gradient * elements(x[0], row * x[1] + pixel * x[2] + offset + columns, like.dtype)[0])
    if dw[3]:
        add(dw[2], gradient)


@overload(sum_taps)
def _sum_taps(like, pixels, x, taps, y, epilogue, channels):
    def implementation(like, pixels, x, taps, y, epilogue, channels):
        _sum_taps_llvm(like, pixels, x, taps, y, epilogue, channels)

    return implementation


@overload(sum_pixels)
def _sum_pixels(like, n_taps, x, dy, dw, count, channels):
    return lambda like, n_taps, x, dy, dw, count, channels: _sum_pixels_llvm(like, n_taps, x, dy, dw, count, channels)
