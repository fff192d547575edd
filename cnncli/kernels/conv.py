"""Convolution and dense layers: loops over the register tile. What they compute is in the tables, made by `geometry`.

Arrays are (images, elements of an image): whatever their axes, an image is one row. `columns` holds for each block of
output channels what `strips.columns` says, `blocks` for each block of rows (first row, rows, first tap, taps, mode).
"""

from cnncli.kernels.program import kernel
from cnncli.kernels.tile import ACCUMULATE, STORE, tile, variant

SLICE = 1024  # elements of a task that adds chunks


@kernel
def convolve(
    first_task,
    last_task,
    y,
    x,
    w,
    bias,
    gate,
    rows,
    taps,
    blocks,
    after,
    columns,
    inner,
    op,
    parts,
    columns_first,
    clear,
):
    """y = op(sum over taps of x * w), by output pixels: forward, and with turned weights the data gradient.

    y (N, Y), x (N, X), gate (N, G) at the places that `rows` (3, pixels) gives for each output pixel: its window in x,
    its place in y, its place in gate. taps (1 + widths, T): the offset of each tap in x, and in w for each width of a
    strip; each sums `inner` elements of x, side by side, times rows of w. `parts` cuts the blocks of an image so that
    few images serve many threads; `after` holds for each what `geometry.following` says. `columns_first`: a strip of
    weights goes over all images before the next one, else a part of an image meets all strips. With `clear`, y is set
    to 0 first. One task owns its elements.
    """
    images, many, size = y.shape[0], columns.shape[0], y.itemsize
    per_part = (blocks.shape[0] + parts - 1) // parts
    for task in range(first_task, last_task):
        column = task // (images * parts) if columns_first else task % many
        place = task % (images * parts) if columns_first else task // many
        n, part = place // parts, place % parts
        first, kind, tail, x_offset, w_offset, w_step, width = columns[column]
        x_image = x.ctypes.data + size * (n * x.shape[1] + x_offset)
        y_image = y.ctypes.data + size * (n * y.shape[1] + first)
        gate_image = gate.ctypes.data + size * (n * gate.shape[1] + first)
        if clear:
            for i in range(y.shape[1]):
                y[n, i] = 0
        for i in range(part * per_part, min((part + 1) * per_part, blocks.shape[0])):
            row, count, tap, n_taps, mode = blocks[i]
            soon, pace = after[i]
            tile(
                y,
                variant(kind, mode, count),
                (x_image, rows.ctypes.data + 8 * row, taps.ctypes.data + 8 * tap, 1),
                (w.ctypes.data + size * w_offset, taps.ctypes.data + 8 * ((1 + width) * taps.shape[1] + tap), w_step),
                (n_taps, inner),
                (y_image, rows.ctypes.data + 8 * (rows.shape[1] + row), tail),
                (bias.ctypes.data + size * first, gate_image, rows.ctypes.data + 8 * (2 * rows.shape[1] + row), op),
                (x_image + size * soon, pace),
            )


@kernel
def weight_gradient(
    first_task, last_task, dw, x, dy, rows, taps, blocks, columns, x_step, y_step, inner, groups, spans
):
    """dw[s] = sum over the s-th chunk of rows of output pixels of x (outer product) dy.

    dw (S, elements of w) partial sums, one a chunk. rows (1 + widths, window): the offset of each element of the window
    in x, and of its row in w for each width of a strip. taps (2, T): the offset in x and in dy of each row of output
    pixels of each image; each sums `inner` pixels, x_step and y_step apart. A task has a chunk and one of `groups` of
    blocks, which all go over one of `spans` of the chunk while it is in the caches, then over the next. One task owns
    its elements.
    """
    chunks, many, size = dw.shape[0], columns.shape[0], dw.itemsize
    per_group = (blocks.shape[0] * many + groups - 1) // groups
    for task in range(first_task, last_task):
        chunk, group = task // groups, task % groups
        for span in range(spans):
            for i in range(group * per_group, min((group + 1) * per_group, blocks.shape[0] * many)):
                first, kind, tail, x_offset, w_offset, _, width = columns[i // blocks.shape[0]]
                row, count, tap, n_taps, mode = blocks[i % blocks.shape[0]]
                per_chunk = (n_taps + chunks - 1) // chunks
                per_span = (per_chunk + spans - 1) // spans
                start = min(chunk * per_chunk + span * per_span, n_taps)
                end = min(start + per_span, (chunk + 1) * per_chunk, n_taps)
                tap += start
                tile(
                    dw,
                    variant(kind, mode, count),
                    (x.ctypes.data + size * x_offset, rows.ctypes.data + 8 * row, taps.ctypes.data + 8 * tap, x_step),
                    (dy.ctypes.data + size * first, taps.ctypes.data + 8 * (taps.shape[1] + tap), y_step),
                    (end - start, inner),
                    (
                        dw.ctypes.data + size * (chunk * dw.shape[1] + w_offset),
                        rows.ctypes.data + 8 * ((1 + width) * rows.shape[1] + row),
                        tail,
                    ),
                    (dw.ctypes.data, dw.ctypes.data, rows.ctypes.data, ACCUMULATE if span else STORE),
                )


@kernel
def add_chunks(first_task, last_task, total, partial, slice_size):
    """total = sum over chunks s of partial[s], in the order of s. total (E,), partial (S, E); a task owns a slice."""
    for part in range(first_task, last_task):
        first, last = part * slice_size, min((part + 1) * slice_size, total.shape[0])
        own = total[first:last]  # slices, whose indices begin at 0, are vectorised: no index is negative
        own[:] = partial[0, first:last]
        for s in range(1, partial.shape[0]):
            more = partial[s, first:last]
            for i in range(last - first):
                own[i] += more[i]


def plan_add_chunks(total, partial):
    return add_chunks.step(-(-total.size // SLICE), total, partial, SLICE)


@kernel
def add_rows(first_task, last_task, partial, dy):
    """partial[s] = sum of the s-th chunk of rows of dy. partial (S, W * C), dy (R, W * C). One task owns a chunk.

    Rows are added whole, in full vectors however few their channels are.
    """
    chunks, width = partial.shape
    per_chunk = (dy.shape[0] + chunks - 1) // chunks
    for s in range(first_task, last_task):
        own = partial[s]
        for i in range(width):
            own[i] = 0
        for row in range(s * per_chunk, min((s + 1) * per_chunk, dy.shape[0])):
            more = dy[row]
            for i in range(width):
                own[i] += more[i]


@kernel
def fold_rows(first_task, last_task, db, partial):
    """db[c] = sum of partial over chunks and pixels, in their order. db (C,), partial (S, W * C); all is one task."""
    channels = db.shape[0]
    for c in range(channels):
        db[c] = 0
    for s in range(partial.shape[0]):
        for start in range(0, partial.shape[1], channels):
            more = partial[s, start : start + channels]
            for c in range(channels):
                db[c] += more[c]
