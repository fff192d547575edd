"""Convolutions whose weights change from one output to the next: loops over the register tile.

Rows of the tile are the pixels, of all images, that share their weights; what they are is in the tables, which
`tiled_convolution` makes. Arrays are (images, elements of an image) as in `conv`, and so are `columns` and `blocks`.
"""

from cnncli.kernels.fetching import fetch, fetch_to_write
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import ACCUMULATE, STORE, tile, variant
from cnncli.kernels.turn import turn_block


@kernel
def convolve_tiles(
    first_task, last_task, thread, y, x, w, scratch, bias, gate, rows, taps, blocks, columns, turns, works, inner, op,
    bias_step, window, side,
):  # fmt: skip
    """y = op(sum over taps of x * w), where each block of rows has taps, and so weights, of its own.

    rows, taps: as in `conv.convolve`. works (S, 7): the pieces of an image, each with (first block, blocks, first block
    of columns, blocks of columns, first of `turns`, turns, phase). A piece with turns has its weights turned into the
    thread's `scratch`, where its strip of them begins: for the data gradient. Else its phase has `window` rows of them,
    which are fetched while the piece before is worked on; so are the rows of y, which lie images apart: together 1.2
    times the speed of unshared weights. Biases of phases are `bias_step` apart. A task is a piece of an image.
    """
    pieces, size, turned = works.shape[0], y.itemsize, scratch[thread]
    for task in range(first_task, last_task):
        n = task // pieces
        block, n_blocks, column, n_columns, turn, n_turns, phase = works[task % pieces]
        following = works[(task + 1) % pieces, 6]
        weights = w.ctypes.data
        if n_turns:
            origin = columns[column, 4]
            weights = turned.ctypes.data - size * origin
            for i in range(turn, turn + n_turns):
                turn_block(turned, w, turns, i, turn + n_turns, origin, side)
        for own in range(column, column + n_columns):
            first, kind, tail, _, w_offset, w_step, width = columns[own]
            share = (window * w_step * size + n_blocks - 1) // n_blocks
            for i in range(block, block + n_blocks):
                row, count, tap, n_taps, mode = blocks[i]
                if following != phase:
                    ahead = w.ctypes.data + size * (w_offset + following * window * w_step)
                    fetch(ahead + (i - block) * share, share)
                to = y.ctypes.data + size * (n * y.shape[1] + first)
                for r in range(row, row + count):
                    fetch_to_write(to + size * rows[1, r], size * w_step)
                tile(
                    y,
                    variant(kind, mode, count),
                    (x.ctypes.data + size * n * x.shape[1], rows.ctypes.data + 8 * row, taps.ctypes.data + 8 * tap, 1),
                    (weights + size * w_offset, taps.ctypes.data + 8 * ((1 + width) * taps.shape[1] + tap), w_step),
                    (n_taps, inner),
                    (to, rows.ctypes.data + 8 * (rows.shape[1] + row), tail),
                    (
                        bias.ctypes.data + size * (phase * bias_step + first),
                        gate.ctypes.data + size * (n * gate.shape[1] + first),
                        rows.ctypes.data + 8 * (2 * rows.shape[1] + row),
                        op,
                    ),
                )


@kernel
def tiles_weight_gradient(first_task, last_task, dw, x, dy, rows, taps, phases, blocks, columns, window, span):
    """dw[s, phase] = sum over images and the s-th chunk of a phase's pixels of x (outer product) dy.

    dw (S, elements of w) partial sums. taps (2, T): the windows of the pixels in x, their places in dy; phases (P, 2):
    first tap, taps. rows (1 + widths, window): the elements of the window in x, and in w for each width of a strip.
    `span` pixels of all images go over all blocks while they are in the caches. A task owns a phase of a chunk.
    """
    chunks, size, inner = dw.shape[0], dw.itemsize, x.shape[0]
    for task in range(first_task, last_task):
        phase, chunk = task // chunks, task % chunks
        first_tap, many = phases[phase]
        per_chunk = (many + chunks - 1) // chunks
        start = min(chunk * per_chunk, many)
        end = min(start + per_chunk, many)
        for begin in range(start, max(end, start + 1), span):
            tap, n_taps = first_tap + begin, min(begin + span, end) - begin
            for own in range(columns.shape[0]):
                first, kind, tail, _, w_offset, w_step, width = columns[own]
                for i in range(blocks.shape[0]):
                    row, count, _, _, mode = blocks[i]
                    # a store that waits for its line holds up the loads behind it: 1.2 times the speed
                    at_dw = dw.ctypes.data + size * (chunk * dw.shape[1] + w_offset + phase * window * w_step)
                    fetch_to_write(at_dw + size * row * w_step, size * count * w_step)
                    tile(
                        dw,
                        variant(kind, mode, count),
                        (x.ctypes.data, rows.ctypes.data + 8 * row, taps.ctypes.data + 8 * tap, x.shape[1]),
                        (dy.ctypes.data + size * first, taps.ctypes.data + 8 * (taps.shape[1] + tap), dy.shape[1]),
                        (n_taps, inner),
                        (at_dw, rows.ctypes.data + 8 * ((1 + width) * rows.shape[1] + row), tail),
                        (dw.ctypes.data, dw.ctypes.data, rows.ctypes.data, ACCUMULATE if begin > start else STORE),
                    )


@kernel
def tiles_bias_gradient(first_task, last_task, db, dy, taps, phases):
    """db[phase] = sum over images and the phase's pixels of dy. db (P, C); taps, phases as above; a task is a phase."""
    channels = db.shape[1]
    for phase in range(first_task, last_task):
        own = db[phase]
        first, many = phases[phase]
        for c in range(channels):
            own[c] = 0
        for n in range(dy.shape[0]):
            for tap in range(first, first + many):
                more = dy[n, taps[1, tap] : taps[1, tap] + channels]
                for c in range(channels):
                    own[c] += more[c]
