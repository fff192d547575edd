"""The tiles of convolutions with few channels a group, in LLVM vectors and in NumPy: lanes run over channels.

`sum_taps` makes a run of pixels, `sum_pixels` the gradient of a few taps. One vector of channels after another, results
stay in registers over the loop. In groups of one channel, depthwise convolution, nothing sums over channels: an input
vector is loaded for each multiplication, so they go at the speed of the loads, or of the memory.

In wider groups an output sums over the channels of its group. Lane i multiplies input i, by the weights that lead to
output i ^ r, for each r below the group's width, a power of two that divides the lanes; the sums of each r change their
lanes once, after all taps. So nothing is moved in the loop, and every lane multiplies.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from cnncli.kernels.epilogue import apply, emit_epilogue
from cnncli.kernels.native import address_of, call
from cnncli.kernels.pool import pointers
from cnncli.kernels.tile import SINGLE, elements, lanes, table
from cnncli.kernels.vectors import HOST, I64, REALS, Vectors, at, integer, opaque, phis

WIDTHS = tuple(width for width in (1, 2, 4, 8) if width < lanes(SINGLE, 4))  # of groups; float64 has half the lanes
MOST_SUMS = 24 if HOST.registers == 32 else 12


def most_pixels(group: int) -> int:
    """Pixels of a run: 8 with a tap's weight fit the 16 registers of AVX2, and hide the latency of 8 products."""
    return min(8, MOST_SUMS // group)


def most_taps(group: int) -> int:
    """Taps of a call of the weight gradient, by the same reckoning: a whole kernel of 3 x 3 where groups are of one."""
    return 9 if group == 1 else max(1, MOST_SUMS // group)


def _strips(v, channels, emit):
    """`emit(first channel, mask)` in a loop over whole vectors of channels, and once more for what is left."""
    builder, width = v.builder, integer(v.lanes)
    whole, rest = builder.udiv(channels, width), builder.urem(channels, width)
    with cgutils.for_range(builder, whole, intp=I64) as strip:
        emit(builder.mul(strip.index, width), None)
    with builder.if_then(builder.icmp_signed(">", rest, integer(0))):
        emit(builder.mul(whole, width), v.below(rest))


def _loop(builder, count, values, body):
    """`values` after `body(i, values)` for each i below `count`, which may be 0.

    LLVM unrolls a loop whose length it can know, and then lacks registers: a forward pass of groups of 4 channels took
    0.22 ms in place of 0.14, depthwise weight gradients 1.1 to 1.2 times as long.
    """
    before, function = builder.block, builder.function
    loop, done = function.append_basic_block("loop"), function.append_basic_block("loop_end")
    builder.cbranch(builder.icmp_signed(">", count, integer(0)), loop, done)
    builder.position_at_end(loop)
    (i,) = phis(I64, [integer(0)], before, builder)
    here = phis(values[0].type, values, before, builder)
    following = body(i, here)
    i_next, last = opaque(builder, builder.add(i, integer(1))), builder.block
    i.add_incoming(i_next, last)
    for phi, value in zip(here, following, strict=True):
        phi.add_incoming(value, last)
    builder.cbranch(builder.icmp_signed("<", i_next, count), loop, done)
    builder.position_at_end(done)
    results = phis(values[0].type, values, before, builder)
    for phi, value in zip(results, following, strict=True):
        phi.add_incoming(value, last)
    return results


def _exchanged(v, value, r):
    """Lane i ^ r in lane i."""
    order = ir.Constant(v.index_type, [lane ^ r for lane in range(v.lanes)])
    return v.builder.shuffle_vector(value, value, order) if r else value


def _gathered(v, sums):
    """The outputs from the sums of each r, which lie in the lanes of the inputs."""
    total = sums[0]
    for r, value in enumerate(sums[1:], 1):
        total = v.builder.fadd(total, _exchanged(v, value, r))
    return total


def _emit_run(v, pixels, group, x, taps, y, epilogue, channels):
    """All channels of `pixels` pixels. Vectors are read whole: beyond the last channel lies at least the slack."""
    builder = v.builder
    (x, x_step), (y, y_step), (bias, gate, gate_step, op) = x, y, epilogue
    x_taps, w, w_taps, w_step, n_taps = taps

    def row(pointer, step, channel):
        return [at(builder, pointer, builder.add(channel, builder.mul(step, integer(i)))) for i in range(pixels)]

    def strip(channel, mask):
        def tap(t, sums):
            start = at(builder, w, builder.add(channel, builder.load(at(builder, w_taps, t))))
            here = row(at(builder, x, builder.load(at(builder, x_taps, t))), x_step, channel)
            weights = [v.load(at(builder, start, builder.mul(w_step, integer(r)))) for r in range(group)]
            values = [v.load(pointer) for pointer in here]
            return [v.multiply_add(values[i // group], weights[i % group], total) for i, total in enumerate(sums)]

        targets = row(y, y_step, channel)
        for target in targets:  # the data gradient of stride 2 took 1.45 times as long without it
            v.prefetch(target, write=True)
        sums = _loop(builder, n_taps, [v.zero] * (pixels * group), tap)
        outputs = [_gathered(v, sums[i : i + group]) for i in range(0, len(sums), group)]

        def read_bias(asked):
            kept = builder.select(asked, v.everything if mask is None else mask, v.nothing)
            return [v.load(at(builder, bias, channel), kept)] * pixels

        done = builder.append_basic_block("stored")
        beside = row(gate, gate_step, channel)
        places = targets.__getitem__, lambda: beside.__getitem__
        emit_epilogue(v, op, outputs, [mask] * pixels, *places, read_bias, done)
        builder.position_at_end(done)

    _strips(v, channels, strip)


def _emit_taps(v, n_taps, group, x, dy, dw, count, channels):
    """All channels of the sums of `n_taps` taps, and of dy alone, over rows of pixels."""
    builder = v.builder
    (x, x_row, x_step, x_taps), (dy, dy_row, dy_step) = x, dy
    (dw, w_taps, w_step, bias, counted), (rows, pixels) = dw, count
    offsets = [builder.load(at(builder, x_taps, integer(t))) for t in range(n_taps)]
    starts = [builder.load(at(builder, w_taps, integer(t))) for t in range(n_taps)]
    targets = [bias, *(builder.add(start, builder.mul(w_step, integer(r))) for start in starts for r in range(group))]

    def strip(channel, mask):
        to = [at(builder, dw, builder.add(channel, target)) for target in targets]

        def row(r, sums):
            x_here = at(builder, x, builder.add(channel, builder.mul(r, x_row)))
            dy_here = at(builder, dy, builder.add(channel, builder.mul(r, dy_row)))

            def pixel(p, sums):
                gradient = v.load(at(builder, dy_here, builder.mul(p, dy_step)))
                window = at(builder, x_here, builder.mul(p, x_step))
                values, products = [v.load(at(builder, window, offset)) for offset in offsets], list(sums[1:])
                for r in range(group):
                    turned = _exchanged(v, gradient, r)
                    for i, value in zip(range(r, len(products), group), values, strict=True):
                        products[i] = v.multiply_add(value, turned, products[i])
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


@intrinsic(prefer_literal=True)
def _emit_runs(context, itemsize, group, pixels, x, taps, y, epilogue, channels):
    size, of_group = itemsize.literal_value, group.literal_value

    def codegen(context, builder, signature, arguments):
        _, _, pixels, x, taps, y, epilogue, channels = arguments
        real, v = REALS[size], Vectors(builder, lanes(SINGLE, size), size)
        x, y = pointers(builder, x, real, None), pointers(builder, y, real, None)
        given = x, pointers(builder, taps, I64, real, I64, None, None), y
        given = *given, pointers(builder, epilogue, real, real, None, None), channels
        _variants(builder, pixels, range(1, most_pixels(of_group) + 1), lambda n: _emit_run(v, n, of_group, *given))
        return context.get_dummy_value()

    return types.void(itemsize, group, pixels, x, taps, y, epilogue, channels), codegen


@intrinsic(prefer_literal=True)
def _emit_pixels(context, itemsize, group, n_taps, x, dy, dw, count, channels):
    size, of_group = itemsize.literal_value, group.literal_value

    def codegen(context, builder, signature, arguments):
        _, _, n_taps, x, dy, dw, count, channels = arguments
        real, v = REALS[size], Vectors(builder, lanes(SINGLE, size), size)
        given = pointers(builder, x, real, None, None, I64), pointers(builder, dy, real, None, None)
        given = *given, pointers(builder, dw, real, I64, None, None, None), pointers(builder, count, None, None)
        known = range(most_taps(of_group) + 1)
        _variants(builder, n_taps, known, lambda n: _emit_taps(v, n, of_group, *given, channels))
        return context.get_dummy_value()

    return types.void(itemsize, group, n_taps, x, dy, dw, count, channels), codegen


def _make_run(itemsize, group):
    def run(pixels, x, x_step, at_x, w, at_w, w_step, n_taps, y, y_step, bias, gate, gate_step, op, channels):
        taps, epilogue = (at_x, w, at_w, w_step, n_taps), (bias, gate, gate_step, op)
        _emit_runs(itemsize, group, pixels, (x, x_step), taps, (y, y_step), epilogue, channels)

    return run


def _make_taps(itemsize, group):
    def run(n_taps, x, x_row, x_step, at_x, dy, dy_row, dy_step, dw, at_w, w_step, bias, counted, rows, pixels, many):
        of_x, of_dw = (x, x_row, x_step, at_x), (dw, at_w, w_step, bias, counted)
        _emit_pixels(itemsize, group, n_taps, of_x, (dy, dy_row, dy_step), of_dw, (rows, pixels), many)

    return run


def load_runs(itemsize: int, group: int) -> int:
    """The address of what makes runs of pixels of groups of so many channels, for `sum_taps`."""
    return address_of(_make_run, itemsize, group)


def load_taps(itemsize: int, group: int) -> int:
    """The address of what makes the gradient of taps, for `sum_pixels`."""
    return address_of(_make_taps, itemsize, group)


def sum_taps(like, address, group, pixels, x, taps, y, epilogue, channels):
    """One run, in NumPy. x, y = (address, distance of pixels), taps = (x table, address of w, w table, distance of the
    weights of one r and the next, count), epilogue = (bias address, gate address, distance of its pixels, op)."""
    columns, places = np.arange(channels), np.arange(pixels)[:, None, None]
    offsets = table(taps[0], taps[4])
    lowest = int(offsets.min(initial=0))  # the first tap is not the lowest where it runs backwards
    window = places * x[1] + (offsets - lowest)[:, None] + columns
    values, sums = elements(x[0] + lowest * like.itemsize, window, like.dtype)[0], 0
    for r in range(group):
        at_w = table(taps[2], taps[4])[:, None] + r * taps[3] + columns
        products = (values * elements(taps[1], at_w, like.dtype)[0]).sum(1, like.dtype)
        sums = sums + products[:, columns ^ r]
    bias, gate, gate_step, op = epilogue
    before, store = elements(y[0], places[:, 0] * y[1] + columns, like.dtype)

    def of_bias():
        return elements(bias, columns, like.dtype)[0]

    def beside():
        return elements(gate, places[:, 0] * gate_step + columns, like.dtype)[0]

    store(apply(op, sums, lambda: before, of_bias, beside))


def sum_pixels(like, address, group, n_taps, x, dy, dw, count, channels):
    """Taps over rows of pixels, in NumPy. x = (address, distance of rows, of pixels, table of taps),
    dy = (address, distance of rows, of pixels), dw = (address, table of taps, distance of one r and the next, place of
    the bias, whether it counts), count = (rows, pixels)."""
    columns = np.arange(channels)
    row, pixel = np.arange(count[0])[:, None, None], np.arange(count[1])[:, None]
    gradient = elements(dy[0], row * dy[1] + pixel * dy[2] + columns, like.dtype)[0]

    def add(target, more):
        before, store = elements(dw[0], target + columns, like.dtype)
        store(before + more.sum((0, 1)))

    for offset, target in zip(table(x[3], n_taps), table(dw[1], n_taps), strict=True):
        values = elements(x[0], row * x[1] + pixel * x[2] + offset + columns, like.dtype)[0]
        for r in range(group):
            add(target + r * dw[2], gradient[..., columns ^ r] * values)
    if dw[4]:
        add(dw[3], gradient)


@overload(sum_taps)
def _sum_taps(like, address, group, pixels, x, taps, y, epilogue, channels):
    def implementation(like, address, group, pixels, x, taps, y, epilogue, channels):
        call(address, (pixels, *x, *taps, *y, *epilogue, channels))

    return implementation


@overload(sum_pixels)
def _sum_pixels(like, address, group, n_taps, x, dy, dw, count, channels):
    def implementation(like, address, group, n_taps, x, dy, dw, count, channels):
        call(address, (n_taps, *x, *dy, *dw, *count, channels))

    return implementation
