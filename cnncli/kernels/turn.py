"""Turning weights for the data gradient: small matrices transposed in vector registers."""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from cnncli.kernels import geometry, strips
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import SINGLE, elements, lanes, tile, variant
from cnncli.kernels.vectors import REALS, Vectors, at, integer


def _interleaved(v, a, b, half):
    """The lanes of a and b in turns, from their first halves or from their second."""
    start = half * v.lanes // 2
    order = [lane + of for lane in range(start, start + v.lanes // 2) for of in (0, v.lanes)]
    return v.builder.shuffle_vector(a, b, ir.Constant(v.index_type, order))


def _emit_turn(builder, itemsize, to, to_step, of, of_step, soon):
    """Rows i and i + half interleaved, log2(lanes) times: then rows are columns (16 rows: 64 shuffles)."""
    v = Vectors(builder, lanes(SINGLE, itemsize), itemsize)
    to, of, soon = (builder.inttoptr(address, REALS[itemsize].as_pointer()) for address in (to, of, soon))
    rows = [v.load(at(builder, of, builder.mul(of_step, integer(row)))) for row in range(v.lanes)]
    for row in range(v.lanes):
        v.prefetch(at(builder, soon, builder.mul(of_step, integer(row))))
    half = v.lanes // 2
    for _ in range(half.bit_length()):
        rows = [_interleaved(v, rows[i // 2], rows[i // 2 + half], i % 2) for i in range(v.lanes)]
    for i, row in enumerate(rows):
        v.store(row, at(builder, to, builder.mul(to_step, integer(i))), v.everything)


def _square(itemsize):
    @intrinsic
    def emit(context, to, to_step, of, of_step, soon):
        def codegen(context, builder, signature, arguments):
            _emit_turn(builder, itemsize, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), codegen

    return emit


_emit_4, _emit_8 = _square(4), _square(8)


def turn_square(like, to, to_step, of, of_step, soon):
    """Transpose a square of as many rows and columns as a vector has lanes: to[i, j] = of[j, i]; raw addresses.

    Steps between rows are in elements. `soon` is the address of a square that will be turned soon. `like` is any array
    of the element type.
    """
    side = range(lanes(SINGLE, like.itemsize))
    values, _ = elements(of, np.array([[row * of_step + c for c in side] for row in side]), like.dtype)
    _, store = elements(to, np.array([[row * to_step + c for c in side] for row in side]), like.dtype)
    store(values.T)


@overload(turn_square, inline="always")
def _call_square(like, to, to_step, of, of_step, soon):
    emit = _emit_4 if like.dtype == types.float32 else _emit_8

    def implementation(like, to, to_step, of, of_step, soon):
        emit(to, to_step, of, of_step, soon)

    return implementation


SIDE = {4: lanes(SINGLE, 4), 8: lanes(SINGLE, 8)}


@njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
def turn_block(turned, w, blocks, block, end, origin, side):
    """One of the blocks before `end`; `turned` begins at the offset `origin`.

    The one after the next is fetched meanwhile: blocks lie pages apart, where no processor looks ahead by itself.
    """
    of, of_step, to, to_step, rows, columns = blocks[block]
    soon = blocks[min(block + 2, end - 1), 0]
    to -= origin
    whole_rows, whole_columns = rows // side * side, columns // side * side
    for row in range(0, whole_rows, side):
        for c in range(0, whole_columns, side):
            turn_square(
                w,
                turned.ctypes.data + w.itemsize * (to + c * to_step + row),
                to_step,
                w.ctypes.data + w.itemsize * (of + row * of_step + c),
                of_step,
                w.ctypes.data + w.itemsize * (soon + row * of_step + c),
            )
    for row in range(rows):
        for c in range(whole_columns if row < whole_rows else 0, columns):
            turned[to + c * to_step + row] = w[of + row * of_step + c]


@kernel
def turn_weights(first_task, last_task, turned, w, blocks, per_task, side):
    """Every block (from, its rows' step, to, its rows' step, rows, columns) of w, transposed, into `turned`: flat.

    `side` is that of the squares which go through registers; what is left beside them goes by element. A task has
    `per_task` blocks.
    """
    for task in range(first_task, last_task):
        end = min((task + 1) * per_task, blocks.shape[0])
        for block in range(task * per_task, end):
            turn_block(turned, w, blocks, block, end, 0, side)


def plan(turned, w, shape):
    """The step that turns weights of `shape`, as `strips.turned_blocks` takes it."""
    blocks, flat = strips.turned_blocks(*shape), w.reshape(-1)
    per_task = -(-len(blocks) // geometry.TASKS)
    return turn_weights.step(-(-len(blocks) // per_task), turned, flat, blocks, per_task, SIDE[w.itemsize])


@kernel
def convolve_turning(
    first_task,
    last_task,
    thread,
    y,
    x,
    w,
    scratch,
    gate,
    rows,
    taps,
    blocks,
    columns,
    turns,
    of_strips,
    inner,
    op,
    side,
):
    """`convolve` with turned weights, strip by strip: each is turned into the thread's `scratch` and used from there.

    of_strips (S, 4): first block of `turns`, their number, first block of columns, their number. Saves writing and
    reading a turned copy of all weights; a task owns all results of a strip's channels.
    """
    size, turned = y.itemsize, scratch[thread]
    for task in range(first_task, last_task):
        turn, n_turns, column, n_columns = of_strips[task]
        origin = columns[column, 4]
        for block in range(turn, turn + n_turns):
            turn_block(turned, w, turns, block, turn + n_turns, origin, side)
        for n in range(y.shape[0]):
            for own in range(column, column + n_columns):
                first, kind, tail, x_offset, w_offset, w_step, width = columns[own]
                for i in range(blocks.shape[0]):
                    row, count, tap, n_taps, mode = blocks[i]
                    tile(
                        y,
                        variant(kind, mode, count),
                        (
                            x.ctypes.data + size * (n * x.shape[1] + x_offset),
                            rows.ctypes.data + 8 * row,
                            taps.ctypes.data + 8 * tap,
                            1,
                        ),
                        (
                            turned.ctypes.data + size * (w_offset - origin),
                            taps.ctypes.data + 8 * ((1 + width) * taps.shape[1] + tap),
                            w_step,
                        ),
                        (n_taps, inner),
                        (
                            y.ctypes.data + size * (n * y.shape[1] + first),
                            rows.ctypes.data + 8 * (rows.shape[1] + row),
                            tail,
                        ),
                        (
                            x.ctypes.data,
                            gate.ctypes.data + size * (n * gate.shape[1] + first),
                            rows.ctypes.data + 8 * (2 * rows.shape[1] + row),
                            op,
                        ),
                    )
