"""A convolution tile whose lanes run over pixels: for few output channels, which leave most lanes of `tile` empty.

Two rows of two vectors of output pixels, for each of `channels` channels, are summed in registers over all taps: an
input vector is loaded unaligned and a weight broadcast. Then relu, and if asked the maximum of each 2x2 window, are
taken in the registers, so that the whole map is never written, and the channels are interleaved on the way to memory.

The input has one channel, or its channels lie in planes: neighbouring pixels are neighbours in memory.
"""

from itertools import pairwise

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from cnncli.kernels.native import address_of, call
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import elements, table
from cnncli.kernels.vectors import HOST, I32, I64, REALS, Vectors, at, integer, phis

PLAIN, MAX, MAX_TAP = range(3)  # both rows; the maximum of each 2x2 window; that and the number of its tap
ROWS, VECTORS = 2, 2  # of one block; two of each are what a 2x2 window needs
BLOCK = 6  # entries of a block in the table: two rows in x, two in y, one in arg, pixels
# channels whose sums the registers hold, beside the input vectors and one weight
MOST_CHANNELS = (HOST.registers - ROWS * VECTORS - 1) // (ROWS * VECTORS)


def lanes(itemsize: int) -> int:
    """Pixels of one vector."""
    return HOST.bytes // itemsize


def _emit_sums(v, channels, first, count, x_rows, w, bias, taps, n_taps):
    """The sums of `count` channels from `first`, by channel, row and vector. They begin at the bias."""
    builder = v.builder
    starts = [v.splat(builder.load(at(builder, bias, integer(first + c)))) for c in range(count)]
    starts = [start for start in starts for _ in range(ROWS * VECTORS)]
    entry, loop, done = builder.block, *(builder.function.append_basic_block(name) for name in ("taps", "taps_end"))
    builder.branch(loop)
    builder.position_at_end(loop)
    (t,) = phis(I64, [integer(0)], entry, builder)
    sums = phis(v.type, starts, entry, builder)
    offset = builder.load(at(builder, taps, t))
    pixels = [v.load(at(builder, at(builder, x, offset), integer(i * v.lanes))) for x in x_rows for i in range(VECTORS)]
    row = at(builder, w, builder.mul(t, integer(channels)))
    new = []
    for c in range(count):
        weight = v.splat(builder.load(at(builder, row, integer(first + c))))
        of_channel = sums[c * len(pixels) : (c + 1) * len(pixels)]
        new += [v.multiply_add(x, weight, before) for x, before in zip(pixels, of_channel, strict=True)]
    t_next = builder.add(t, integer(1))
    t.add_incoming(t_next, loop)
    for phi, value in zip(sums, new, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", t_next, n_taps), loop, done)
    builder.position_at_end(done)
    return [new[c * len(pixels) : (c + 1) * len(pixels)] for c in range(count)]


def _larger(v, a, b):
    """The larger of a and b, and where it is b. Among equals it is a; a NaN is larger than all, the last of two."""
    wins = v.builder.or_(v.builder.fcmp_ordered(">", b, a), v.builder.fcmp_unordered("uno", b, b))
    return v.builder.select(wins, b, a), wins


def _emit_max(v, top, bottom):
    """The maximum of each 2x2 window of two rows of pixels, and the number of its tap."""
    builder = v.builder

    def every_second(pair, start):
        lane = ir.Constant(v.index_type, [start + 2 * i for i in range(v.lanes)])
        return builder.shuffle_vector(*pair, lane)

    best, second = _larger(v, every_second(top, 0), every_second(top, 1))
    below, fourth = _larger(v, every_second(bottom, 0), every_second(bottom, 1))
    best, is_below = _larger(v, best, below)
    number = [ir.Constant(v.index_type, [i] * v.lanes) for i in range(4)]
    of_top = builder.select(second, number[1], number[0])
    of_bottom = builder.select(fourth, number[3], number[2])
    return best, builder.select(is_below, of_bottom, of_top)


def _interleave(v, by_channel):
    """Vectors of pixels, by channel, as vectors in memory order: all channels of a pixel side by side."""
    channels, found = len(by_channel), []
    for k in range(channels * len(by_channel[0])):
        places = [divmod(k * v.lanes + i, channels) for i in range(v.lanes)]  # (pixel, channel)
        sources = list(dict.fromkeys((c, pixel // v.lanes) for pixel, c in places))
        result = by_channel[sources[0][0]][sources[0][1]]
        for step, (c, vector) in enumerate(sources):
            lane = list(range(v.lanes)) if step else [pixel % v.lanes for pixel, _ in places]
            for i, (pixel, channel) in enumerate(places):
                if step and (channel, pixel // v.lanes) == (c, vector):
                    lane[i] = v.lanes + pixel % v.lanes
            result = v.builder.shuffle_vector(result, by_channel[c][vector], ir.Constant(v.index_type, lane))
        found.append(result)
    return found


def _store(v, by_channel, target, pixels):
    """Store the channels of the first `pixels` pixels."""
    builder = v.builder
    left = builder.mul(pixels, integer(len(by_channel)))
    for k, vector in enumerate(_interleave(v, by_channel)):
        mask = v.below(builder.sub(left, integer(k * v.lanes)))
        v.store(vector, at(builder, target, integer(k * v.lanes)), mask)


def _emit_block(v, channels, pool, block, x, w, y, arg, taps, relu):
    builder = v.builder
    x_0, x_1, y_0, y_1, arg_0, pixels = (builder.load(at(builder, block, integer(i))) for i in range(BLOCK))
    parts = -(-channels // MOST_CHANNELS)
    cuts = [channels * i // parts for i in range(parts + 1)]
    sums = []
    for first, last in pairwise(cuts):
        x_rows = at(builder, x, x_0), at(builder, x, x_1)
        sums += _emit_sums(v, channels, first, last - first, x_rows, *w, *taps)
    lowest = builder.select(relu, v.zero, v.constant(float("-inf")))
    if pool == PLAIN:
        for row, place in enumerate((y_0, y_1)):
            of_row = [[v.maximum(x, lowest) for x in s[row * VECTORS : (row + 1) * VECTORS]] for s in sums]
            _store(v, of_row, at(builder, y, place), pixels)
        return
    pooled = builder.lshr(pixels, integer(1))
    largest = [_emit_max(v, s[:VECTORS], s[VECTORS:]) for s in sums]
    _store(v, [[v.maximum(value, lowest)] for value, _ in largest], at(builder, y, y_0), pooled)
    if pool == MAX_TAP:
        _store(v, [[tap] for _, tap in largest], at(builder, arg, arg_0), pooled)


@intrinsic(prefer_literal=True)
def _emit(context, itemsize, channels, pool, x, w, bias, y, arg, blocks, n_blocks, taps, n_taps, relu):
    given = itemsize, channels, pool, x, w, bias, y, arg, blocks, n_blocks, taps, n_taps, relu
    itemsize, channels, pool = (of.literal_value for of in given[:3])

    def codegen(context, builder, signature, arguments):
        real, integers = REALS[itemsize].as_pointer(), I64.as_pointer()
        kinds = (real, real, real, real, I32.as_pointer(), integers, None, integers, None, None)
        x, w, bias, y, arg, blocks, n_blocks, taps, n_taps, relu = (
            builder.inttoptr(value, kind) if kind else value for value, kind in zip(arguments[3:], kinds, strict=True)
        )
        v, relu = Vectors(builder, lanes(itemsize), itemsize), builder.icmp_signed("!=", relu, integer(0))
        with cgutils.for_range(builder, n_blocks, intp=I64) as loop:
            block = at(builder, blocks, builder.mul(loop.index, integer(BLOCK)))
            _emit_block(v, channels, pool, block, x, (w, bias), y, arg, (taps, n_taps), relu)
        return context.get_dummy_value()

    return types.void(*given), codegen


def _make(itemsize, channels, pool):
    def pixels(x, w, bias, y, arg, blocks, n_blocks, taps, n_taps, relu):
        _emit(itemsize, channels, pool, x, w, bias, y, arg, blocks, n_blocks, taps, n_taps, relu)

    return pixels


def load(itemsize: int, channels: int, pool: int) -> int:
    """The address of the tile for so many channels, which `convolve_pixels` takes."""
    return address_of(_make, itemsize, channels, pool)


def pixel_rows(like, address, shape, x, w, bias, y, arg, blocks, taps, relu):
    """The tile in NumPy, for debugging and coverage without the compiler. `like` is any array of the element type.

    shape is (channels, pool), `blocks` and `taps` are (address of the table, entries), the others addresses.
    """
    channels, pool = shape
    kernel = elements(w, np.arange(taps[1] * channels), like.dtype)[0].reshape(-1, channels)
    start, offsets = elements(bias, np.arange(channels), like.dtype)[0], table(*taps)
    for x_0, x_1, y_0, y_1, arg_0, pixels in table(blocks[0], blocks[1] * BLOCK).reshape(-1, BLOCK):
        window = np.array([x_0, x_1])[:, None, None] + np.arange(pixels)[:, None] + offsets
        sums = elements(x, window, like.dtype)[0] @ kernel + start  # (2, pixels, channels)
        if pool == PLAIN:
            sums = np.maximum(sums, 0) if relu else sums
            for place, of_row in zip((y_0, y_1), sums, strict=True):
                elements(y, place + np.arange(of_row.size), like.dtype)[1](of_row.ravel())
            continue
        taps_last = sums.reshape(2, -1, 2, channels).transpose(1, 3, 0, 2).reshape(-1, 4)
        nan = np.isnan(taps_last)
        tap = np.where(nan.any(1), 3 - np.argmax(nan[:, ::-1], 1), np.argmax(taps_last, 1))
        largest = taps_last[np.arange(len(tap)), tap]
        elements(y, y_0 + np.arange(len(tap)), like.dtype)[1](np.maximum(largest, 0) if relu else largest)
        if pool == MAX_TAP:
            elements(arg, arg_0 + np.arange(len(tap)), np.dtype(np.int32))[1](tap)


@overload(pixel_rows)
def _pixel_rows(like, address, shape, x, w, bias, y, arg, blocks, taps, relu):
    def implementation(like, address, shape, x, w, bias, y, arg, blocks, taps, relu):
        call(address, (x, w, bias, y, arg, blocks[0], blocks[1], taps[0], taps[1], relu))

    return implementation


@kernel
def convolve_pixels(begin, end, y, arg, x, w, bias, address, shape, blocks, taps, parts, relu):
    """y = relu(convolution of x by w, plus bias), or the maximum of each 2x2 window of it; arg = the winner's number.

    y (N, Y), arg (N, A) int32, x (N, X). shape is (channels, pool), `address` that of its tile. `parts` cuts the
    blocks of an image so that few images serve many threads: a task is a part of an image, and owns its elements.
    """
    size, per_part = y.itemsize, (blocks.shape[0] + parts - 1) // parts
    for task in range(begin, end):
        n, first = task // parts, task % parts * per_part
        pixel_rows(
            y,
            address,
            shape,
            x.ctypes.data + size * n * x.shape[1],
            w.ctypes.data,
            bias.ctypes.data,
            y.ctypes.data + size * n * y.shape[1],
            arg.ctypes.data + 4 * n * arg.shape[1],
            (blocks.ctypes.data + 8 * BLOCK * first, max(0, min(per_part, blocks.shape[0] - first))),
            (taps.ctypes.data, taps.shape[0]),
            relu,
        )
