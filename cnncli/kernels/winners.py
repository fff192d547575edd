"""The weight gradient of a convolution from the gradient of its pooled output, which only each window's winner gets.

dw[r, k, c] = sum over windows i of g[i, c] * x[start[i, c] + row[r] + k]: of the pixels of the whole map, three in four
have no gradient and are never touched. `start` is where the winner's window lies in x; lanes run over k, a row of the
kernel or a piece of it, and the sums of all rows and channels stay in registers over all windows of an image.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

from cnncli.kernels.native import address_of, call
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import elements, table
from cnncli.kernels.vectors import HOST, I32, I64, REALS, Vectors, at, integer, phis

MOST_SUMS = HOST.registers - 2  # beside them, one gradient and one vector of the input


def lanes(length: int, itemsize: int) -> int:
    """Elements of the smallest vector that holds a row of the kernel, or of the largest there is."""
    sizes = [size // itemsize for size in (16, 32, 64) if size <= HOST.bytes]
    return next((size for size in sizes if size >= length), sizes[-1])


def _emit_sums(v, channels, first, count, rows, x, starts, gradients, windows):
    """The sums of `count` channels from `first`, channel by channel, one vector for each offset in `rows`."""
    builder = v.builder
    entry, loop, done = builder.block, *(builder.function.append_basic_block(name) for name in ("windows", "end"))
    builder.branch(loop)
    builder.position_at_end(loop)
    (i,) = phis(I64, [integer(0)], entry, builder)
    sums = phis(v.type, [v.zero] * (count * len(rows)), entry, builder)
    place, new = builder.mul(i, integer(channels)), []
    for c in range(count):
        here = builder.add(place, integer(first + c))
        gradient = v.splat(builder.load(at(builder, gradients, here)))
        window = at(builder, x, builder.sext(builder.load(at(builder, starts, here)), I64))
        for row, before in zip(rows, sums[c * len(rows) : (c + 1) * len(rows)], strict=True):
            new.append(v.multiply_add(gradient, v.load(at(builder, window, row)), before))
    i_next = builder.add(i, integer(1))
    i.add_incoming(i_next, loop)
    for phi, value in zip(sums, new, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", i_next, windows), loop, done)
    builder.position_at_end(done)
    return new


@intrinsic(prefer_literal=True)
def _emit_windows(context, itemsize, channels, n_rows, length, dw, x, starts, gradients, windows, rows):
    given = itemsize, channels, n_rows, length, dw, x, starts, gradients, windows, rows
    itemsize, channels, n_rows, length = (of.literal_value for of in given[:4])

    def codegen(context, builder, signature, arguments):
        real = REALS[itemsize].as_pointer()
        kinds = (real, real, I32.as_pointer(), real, None, I64.as_pointer())
        dw, x, starts, gradients, windows, rows = (
            builder.inttoptr(value, kind) if kind else value for value, kind in zip(arguments[4:], kinds, strict=True)
        )
        v = Vectors(builder, lanes(length, itemsize), itemsize)
        offsets = [builder.load(at(builder, rows, integer(row))) for row in range(n_rows)]
        per = max(1, MOST_SUMS // n_rows)
        for row in range(0, n_rows, MOST_SUMS):
            for first in range(0, channels, per):
                count, own = min(per, channels - first), offsets[row : row + MOST_SUMS]
                sums = _emit_sums(v, channels, first, count, own, x, starts, gradients, windows)
                for i, value in enumerate(sums):
                    at_row = (first + i // len(own)) * n_rows + row + i % len(own)
                    target = at(builder, dw, integer(at_row * v.lanes))
                    v.store(builder.fadd(v.load(target), value), target, v.everything)
        return context.get_dummy_value()

    return types.void(*given), codegen


def _make_windows(itemsize, channels, n_rows, length):
    def add_windows(dw, x, starts, gradients, windows, rows):
        _emit_windows(itemsize, channels, n_rows, length, dw, x, starts, gradients, windows, rows)

    return add_windows


def load(itemsize: int, channels: int, n_rows: int, length: int) -> int:
    """The address of the sums for `n_rows` pieces of rows of the kernel, in vectors for `length` elements."""
    return address_of(_make_windows, itemsize, channels, n_rows, length)


def add_windows(like, address, shape, dw, x, starts, gradients, windows, rows):
    """dw (channels, rows, lanes) += the sums over an image's windows, in NumPy; all but shape and windows address."""
    channels, n_rows, vector, _ = shape
    places = elements(starts, np.arange(windows * channels), np.dtype(np.int32))[0].astype(np.int64)
    g = elements(gradients, np.arange(windows * channels), like.dtype)[0].reshape(-1, channels)
    index = places.reshape(-1, channels, 1, 1) + table(rows, n_rows)[:, None] + np.arange(vector)
    before, store = elements(dw, np.arange(channels * n_rows * vector), like.dtype)
    store(before + np.einsum("ic,icrk->crk", g, elements(x, index, like.dtype)[0]).ravel())


@overload(add_windows)
def _add_windows(like, address, shape, dw, x, starts, gradients, windows, rows):
    def implementation(like, address, shape, dw, x, starts, gradients, windows, rows):
        call(address, (dw, x, starts, gradients, windows, rows))

    return implementation


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _keep_positive(to, bias, of, kept, gated):
    """to = of where `kept` is positive, or everywhere if not `gated`; bias += to."""
    for i in range(to.shape[0]):
        value = of[i] if kept[i] > 0 or not gated else to.dtype.type(0)
        to[i] = value
        bias[i] += value


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _place(starts, corners, taps, down, right):
    """starts = the place of each window's first tap, and from there to its winner."""
    for i in range(starts.shape[0]):
        starts[i] = corners[i] + (taps[i] >> 1) * down + (taps[i] & 1) * right


@kernel
def pooled_weight_gradient(
    begin, end, partial, partial_bias, x, dy, arg, gate, gradients, starts, corners, places, steps, address, shape,
    rows, gated,
):  # fmt: skip
    """Sums for the gradients of a convolution's weights and bias, from dy, that of its output after 2x2 max pooling.

    x (N, X), dy (N, Y), arg (N, windows * C) int32 as `max_pool` gives it,
    gate (N, G) the pooled output: where that is not positive, and `gated`, there is no gradient. corners (windows * C)
    int32: the place in x of each window's first tap; steps: what the next row and the next pixel of the map add to it.
    places (2, R): where each row of windows begins in dy and gate. shape is (channels, pieces of rows of the kernel,
    lanes, elements of a row), rows the pieces' offsets. A task is a chunk of images, with sums of its own: partial (S,
    C * pieces * lanes), partial_bias (S, elements of a row of windows); gradients and starts (S, windows * C) are its
    to work in.
    """
    chunks, size, windows = partial.shape[0], dy.itemsize, corners.shape[0] // shape[0]
    per_chunk, length = (dy.shape[0] + chunks - 1) // chunks, partial_bias.shape[1]
    for s in range(begin, end):
        for i in range(partial.shape[1]):
            partial[s, i] = 0
        for i in range(length):
            partial_bias[s, i] = 0
        for n in range(s * per_chunk, min((s + 1) * per_chunk, dy.shape[0])):
            for row in range(places.shape[1]):
                to = gradients[s, row * length : (row + 1) * length]
                of = dy[n, places[0, row] : places[0, row] + length]
                kept = gate[n, places[1, row] : places[1, row] + length]
                _keep_positive(to, partial_bias[s], of, kept, gated)
            _place(starts[s], corners, arg[n], np.int32(steps[0]), np.int32(steps[1]))
            add_windows(
                dy,
                address,
                shape,
                partial.ctypes.data + size * s * partial.shape[1],
                x.ctypes.data + size * n * x.shape[1],
                starts.ctypes.data + 4 * s * starts.shape[1],
                gradients.ctypes.data + size * s * gradients.shape[1],
                windows,
                rows.ctypes.data,
            )


@kernel
def fold(begin, end, dw, db, partial, bias, shape):
    """dw, db = the sums of all chunks, in their order, from channels, pieces and lanes to rows and channels.

    dw (elements of the kernel, C), db (C,), the others as in `pooled_weight_gradient`. There is one task.
    """
    channels, n_rows, vector, kernel = shape
    total, of_row, pieces = partial[0], bias[0], (kernel + vector - 1) // vector
    for s in range(1, partial.shape[0]):
        more, of_more = partial[s], bias[s]
        for i in range(total.shape[0]):
            total[i] += more[i]
        for i in range(of_row.shape[0]):
            of_row[i] += of_more[i]
    for c in range(channels):
        for i in range(dw.shape[0]):
            row, k = c * n_rows + i // kernel * pieces, i % kernel
            dw[i, c] = total[(row + k // vector) * vector + k % vector]
        db[c] = 0
        for i in range(c, of_row.shape[0], channels):
            db[c] += of_row[i]
