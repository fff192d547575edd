"""The weight gradient with its input packed: what a tile broadcasts lies side by side, in memory of the thread.

In place, each pixel's few channels lie a line or two at a stride of all channels, which powers of two map to a few sets
of the cache nearest to the core. A block of the window's elements is copied for a span of pixels into a panel that
stays there, and meets all strips of dy; meanwhile the tile fetches the next span, and dw before it writes. On Sapphire
Rapids, times as fast as in place: 3x3 of stride 2, 8 images, (64 to 128, 56x56) 1.16, (128 to 256, 28x28) 1.28, (256
to 512, 14x14) 1.30; 1x1, 4 images, (64 to 64, 56x56) 1.04, (256 to 64, 56x56) 1.23, (128 to 512, 28x28) 1.27, (1024 to
256, 14x14) 1.57. With one strip the copy costs what it saves or more (16 to 16 channels of 32x32 3x3: 0.6).
"""

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from cnncli.kernels import geometry, most_threads
from cnncli.kernels.buffer import ALIGNMENT
from cnncli.kernels.program import kernel
from cnncli.kernels.strips import STRIP
from cnncli.kernels.tile import ACCUMULATE, MOST_ROWS, PANEL, SINGLE, STORE, TABLE, WIDE, elements, lanes, tile, variant
from cnncli.kernels.vectors import I64, REALS, Vectors, at, integer

LEAST_STRIPS = 2  # of outputs in a group
LEAST_PIXELS = 96  # half a span; not tuned
# What partial sums cost beside data that is fetched ahead, against data that is not: (256 to 512, 14x14, stride 2) 1.15
# times as fast with 3x3, 1.09 with 1x1, (1024 to 256, 14x14) 1.04, (512 to 2048, 7x7) 0.95.
DEARER = 4
# On two threads, with 16 tasks 1.05 times as fast as with 32 (256 to 512, 14x14, stride 2), else 1.00-1.03.
# More read their data more often. What is added, and in which order, is the same: chunks and spans alone cut sums.
TASKS_A_THREAD = 8
APART = 4096  # bytes between the panels of two threads: what one fetches ahead is not what the other writes


def _copy(itemsize):
    @intrinsic
    def emit(context, to, to_step, of, of_step, rows, columns):
        def codegen(context, builder, signature, arguments):
            v = Vectors(builder, lanes(SINGLE, itemsize), itemsize)
            to, to_step, of, of_step, rows, columns = arguments
            to, of = (builder.inttoptr(address, REALS[itemsize].as_pointer()) for address in (to, of))
            with (
                cgutils.for_range_slice(builder, integer(0), columns, integer(v.lanes), intp=I64) as (c, _),
                cgutils.for_range(builder, rows, intp=I64) as row,
            ):
                value = v.load(at(builder, of, builder.add(builder.mul(of_step, row.index), c)))
                v.store(value, at(builder, to, builder.add(builder.mul(to_step, row.index), c)), v.everything)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return emit


_copy_4, _copy_8 = _copy(4), _copy(8)


def copy_rows(like, to, to_step, of, of_step, rows, columns):
    """to[r, c] = of[r, c] in whole vectors, as many as hold `columns`; raw addresses, steps in elements.

    `like` is any array of the element type.
    """
    vector = lanes(SINGLE, like.itemsize)
    row, column = np.arange(rows)[:, None], np.arange(-(-columns // vector) * vector)
    values, _ = elements(of, row * of_step + column, like.dtype)
    _, store = elements(to, row * to_step + column, like.dtype)
    store(values)


@overload(copy_rows, inline="always")
def _call_copy(like, to, to_step, of, of_step, rows, columns):
    emit = _copy_4 if like.dtype == types.float32 else _copy_8

    def implementation(like, to, to_step, of, of_step, rows, columns):
        emit(to, to_step, of, of_step, rows, columns)

    return implementation


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _span(n_taps, chunk, chunks, span, spans):
    """The first of a phase's rows of pixels in a span of a chunk, and the one behind its last."""
    per_chunk = (n_taps + chunks - 1) // chunks
    per_span = (per_chunk + spans - 1) // spans
    start = min(chunk * per_chunk + span * per_span, n_taps)
    return start, max(start, min(start + per_span, (chunk + 1) * per_chunk, n_taps))


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _following(x, dy, taps, block, place, inner, calls):
    """What the span after this one reads: (address in x, bytes, address in dy, elements to fetch with each pixel)."""
    chunk, chunks, span, spans = place
    size, tap, n_taps = x.itemsize, block[2], block[3]
    start, end = _span(n_taps, chunk, chunks, span, spans)
    first = tap + min(end, n_taps - 1)
    last = tap + min(2 * end - start, n_taps - 1)
    of_x, of_y = taps[0, last] - taps[0, first], taps[1, last] - taps[1, first]
    pace = (of_x + of_y) // max(1, calls * (end - start) * inner) + 1
    return x.ctypes.data + size * taps[0, first], size * of_x, dy.ctypes.data + size * taps[1, first], pace


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _pack(x, panel, origin, starts, steps, count):
    """`count` elements of each pixel of the rows of pixels that begin at `starts`, offsets from `origin` in x."""
    for row in range(starts.shape[0]):
        copy_rows(
            x,
            panel + x.itemsize * row * steps[2] * steps[3],
            steps[3],
            x.ctypes.data + x.itemsize * (origin + starts[row]),
            steps[0],
            steps[2],
            count,
        )


@kernel
def weight_gradient(first_task, last_task, thread, dw, x, dy, scratch, rows, taps, blocks, columns, lines, steps, cuts):
    """`conv.weight_gradient`, of panels of x.

    blocks: (first row, rows, first tap, taps, mode, whether its rows of dy are one). lines (2, L): the offset of each
    row of pixels in a panel, and 0, 1, 2 and so on. steps: between pixels in x and in dy, pixels of a row, elements of
    a pixel in a panel. cuts: groups of blocks and of columns, spans. scratch: memory for each thread.
    """
    chunks, size, inner = dw.shape[0], dw.itemsize, steps[2]
    block_groups, column_groups, spans = cuts
    panel = scratch.ctypes.data + size * scratch.shape[1] * thread
    ones = lines.ctypes.data + 8 * lines.shape[1]
    for task in range(first_task, last_task):
        chunk, group = task // (block_groups * column_groups), task % (block_groups * column_groups)
        of_blocks, of_columns = group // column_groups, group % column_groups
        first_block = of_blocks * blocks.shape[0] // block_groups
        last_block = (of_blocks + 1) * blocks.shape[0] // block_groups
        first_column = of_columns * columns.shape[0] // column_groups
        last_column = (of_columns + 1) * columns.shape[0] // column_groups
        calls = (last_block - first_block) * (last_column - first_column)
        for span in range(spans):
            place, fetched = (chunk, chunks, span, spans), 0
            ahead_x, x_bytes, ahead_y, pace = _following(x, dy, taps, blocks[0], place, inner, calls)
            for i in range(first_block, last_block):
                row, count, tap, n_taps, mode, joined = blocks[i]
                start, end = _span(n_taps, chunk, chunks, span, spans)
                packed = -1
                for column in range(first_column, last_column):
                    first, kind, tail, x_offset, w_offset, _, width = columns[column]
                    if x_offset != packed:
                        _pack(x, panel, x_offset + rows[0, row], taps[0, tap + start : tap + end], steps, count)
                        packed = x_offset
                    ahead = ahead_x + fetched if fetched < x_bytes else ahead_y + fetched - x_bytes
                    fetched += size * pace * (end - start) * inner
                    tile(
                        dw,
                        variant(kind, mode, count),
                        (panel, ones, lines.ctypes.data, steps[3]),
                        (
                            dy.ctypes.data + size * first,
                            taps.ctypes.data + 8 * (taps.shape[1] + tap + start),
                            steps[1],
                        ),
                        (min(1, end - start), (end - start) * inner) if joined else (end - start, inner),
                        (
                            dw.ctypes.data + size * (chunk * dw.shape[1] + w_offset),
                            rows.ctypes.data + 8 * ((1 + width) * rows.shape[1] + row),
                            tail,
                        ),
                        (dw.ctypes.data, dw.ctypes.data, ones, ACCUMULATE if span else STORE),
                        (ahead, pace),
                    )


def blocks(phases, rows, taps, row_step: int) -> np.ndarray | None:
    """Blocks of rows for `weight_gradient`, none across runs of consecutive elements; None where these are short.

    `row_step` lies between the rows of pixels of dy where they are contiguous.
    """
    found, most = [], MOST_ROWS[WIDE]
    for first, count, tap, n_taps in phases:
        at, offsets = first, rows[0, first : first + count]
        ends = np.flatnonzero(np.diff(offsets) != 1) + 1
        joined = bool((np.diff(taps[1, tap : tap + n_taps]) == row_step).all())
        for length in np.diff([0, *ends, count]).tolist():
            if length < most:
                return None
            whole, rest = divmod(length, most)
            if 0 < rest < most // 2:  # 14 and 2 take longer than 8 and 8
                whole, rest = whole - 1, rest + most
            for size in (most,) * whole + geometry.split(rest, most, 2):
                found.append((at, size, tap, n_taps, PANEL if size == most else TABLE, joined))
                at += size
    return np.array(found, np.int64)


def worth(channels: int, pixels: int) -> bool:
    """Whether a panel meets strips enough for its copy, and so many pixels that dw is not all there is to move."""
    return channels >= LEAST_STRIPS * STRIP and pixels >= LEAST_PIXELS


def plan(dw, x, dy, tables, steps, cuts, multiply_adds, arena):
    """(partial sums of dw, the step that makes them). tables: rows, taps, blocks, columns.

    steps: between pixels in x and in dy, pixels of a row; cuts as `geometry.gradient_cuts` says.
    """
    (chunks, groups, spans), (rows, taps, of_rows, of_columns) = cuts, tables
    groups = min(groups, -(-TASKS_A_THREAD * most_threads() // chunks))
    of_blocks = min(groups, len(of_rows))
    of_both = of_blocks, min(len(of_columns), -(-groups // of_blocks)), spans
    vector, most = lanes(SINGLE, dw.itemsize), int(of_rows[:, 1].max())
    step, per_chunk = -(-most // vector) * vector, -(-int(of_rows[:, 3].max()) // chunks)
    per_span = -(-per_chunk // spans)
    numbers = np.arange(max(per_span, most))
    lines = np.stack([numbers * steps[2] * step, numbers])
    line = ALIGNMENT // dw.itemsize
    partials = -(-dw.size * (chunks > 1) * chunks // line) * line
    panel = per_span * steps[2] * step + APART // dw.itemsize
    whole = arena.scratch((partials + most_threads() * panel,))
    partial = dw.reshape(1, -1) if chunks == 1 else whole[: chunks * dw.size].reshape(chunks, -1)
    scratch = whole[partials:].reshape(most_threads(), panel)
    given = partial, x, dy, scratch, rows, taps, of_rows, of_columns, lines, (*steps, step), of_both
    return partial, weight_gradient.step(chunks * of_both[0] * of_both[1], *given, multiply_adds=multiply_adds)
