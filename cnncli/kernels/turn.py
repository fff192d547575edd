"""Turning weights for the data gradient: small matrices transposed in vector registers."""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic, overload

from cnncli.kernels.tile import SINGLE, elements, lanes
from cnncli.kernels.vectors import REALS, Vectors, at, integer


def _interleaved(v, a, b, half):
    """The lanes of a and b in turns, from their first halves or from their second."""
    start = half * v.lanes // 2
    order = [lane + of for lane in range(start, start + v.lanes // 2) for of in (0, v.lanes)]
    return v.builder.shuffle_vector(a, b, ir.Constant(v.index_type, order))


def _emit_turn(builder, itemsize, to, to_step, of, of_step):
    """Rows i and i + half interleaved, log2(lanes) times: then rows are columns (16 rows: 64 shuffles)."""
    v = Vectors(builder, lanes(SINGLE, itemsize), itemsize)
    to, of = (builder.inttoptr(address, REALS[itemsize].as_pointer()) for address in (to, of))
    rows = [v.load(at(builder, of, builder.mul(of_step, integer(row)))) for row in range(v.lanes)]
    half = v.lanes // 2
    for _ in range(half.bit_length()):
        rows = [_interleaved(v, rows[i // 2], rows[i // 2 + half], i % 2) for i in range(v.lanes)]
    for i, row in enumerate(rows):
        v.store(row, at(builder, to, builder.mul(to_step, integer(i))), v.everything)


def _square(itemsize):
    @intrinsic
    def emit(context, to, to_step, of, of_step):
        def codegen(context, builder, signature, arguments):
            _emit_turn(builder, itemsize, *arguments)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp, types.intp), codegen

    return emit


_emit_4, _emit_8 = _square(4), _square(8)


def turn_square(like, to, to_step, of, of_step):
    """Transpose a square of as many rows and columns as a vector has lanes: to[i, j] = of[j, i]; raw addresses.

    Steps between rows are in elements. `like` is any array of the element type.
    """
    side = range(lanes(SINGLE, like.itemsize))
    values, _ = elements(of, np.array([[row * of_step + c for c in side] for row in side]), like.dtype)
    _, store = elements(to, np.array([[row * to_step + c for c in side] for row in side]), like.dtype)
    store(values.T)


@overload(turn_square, inline="always")
def _call_square(like, to, to_step, of, of_step):
    emit = _emit_4 if like.dtype == types.float32 else _emit_8

    def implementation(like, to, to_step, of, of_step):
        emit(to, to_step, of, of_step)

    return implementation


SIDE = {4: lanes(SINGLE, 4), 8: lanes(SINGLE, 8)}


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def turn_weights(turned, w, blocks, side):
    """Every block (from, its rows' step, to, its rows' step, rows, columns) of w, transposed, into `turned`: flat.

    `side` is that of the squares which go through registers; what is left beside them goes by element.
    """
    per_task = (blocks.shape[0] + 31) // 32
    for task in prange((blocks.shape[0] + per_task - 1) // per_task):
        for block in range(task * per_task, min((task + 1) * per_task, blocks.shape[0])):
            of, of_step, to, to_step, rows, columns = blocks[block]
            whole_rows, whole_columns = rows // side * side, columns // side * side
            for row in range(0, whole_rows, side):
                for c in range(0, whole_columns, side):
                    turn_square(
                        w,
                        turned.ctypes.data + w.itemsize * (to + c * to_step + row),
                        to_step,
                        w.ctypes.data + w.itemsize * (of + row * of_step + c),
                        of_step,
                    )
            for row in range(rows):
                for c in range(whole_columns if row < whole_rows else 0, columns):
                    turned[to + c * to_step + row] = w[of + row * of_step + c]
