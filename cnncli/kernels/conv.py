"""Convolution and dense layers: loops over the register tile. What they compute is in the tables, made by `geometry`.

Arrays are (images, elements of an image): whatever their axes, an image is one row. `columns` holds for each block of
output channels (first channel in y, kind of tile, channels in its last vector, offset in x, offset in w): the last two
are not 0 where a group begins. `blocks` holds for each block of rows (first row, rows, first tap, taps, mode).
"""

from numba import njit, prange

from cnncli.kernels.tile import STORE, tile, variant


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def convolve(y, x, w, bias, gate, rows, taps, blocks, columns, w_step, inner, op, parts, clear):
    """y = op(sum over taps of x * w), by output pixels: forward, and with turned weights the data gradient.

    y (N, Y), x (N, X), gate (N, G) at the places that `rows` (3, pixels) gives for each output pixel: its window in x,
    its place in y, its place in gate. taps (2, T): the offset of each tap in x and in w; each sums `inner` elements of
    x, side by side, times rows of w, w_step apart. `parts` cuts the blocks of an image so that few images serve many
    threads. With `clear`, y is set to 0 first. One task owns its elements.
    """
    images, many, size = y.shape[0], columns.shape[0], y.itemsize
    per_part = (blocks.shape[0] + parts - 1) // parts
    for task in prange(images * many * parts):
        n, column, part = task // (many * parts), task // parts % many, task % parts
        first, kind, tail, x_offset, w_offset = columns[column]
        x_image = x.ctypes.data + size * (n * x.shape[1] + x_offset)
        y_image = y.ctypes.data + size * (n * y.shape[1] + first)
        gate_image = gate.ctypes.data + size * (n * gate.shape[1] + first)
        if clear:
            for i in range(y.shape[1]):
                y[n, i] = 0
        for i in range(part * per_part, min((part + 1) * per_part, blocks.shape[0])):
            row, count, tap, n_taps, mode = blocks[i]
            tile(
                y,
                variant(kind, mode, count),
                (x_image, rows.ctypes.data + 8 * row, taps.ctypes.data + 8 * tap, 1),
                (w.ctypes.data + size * w_offset, taps.ctypes.data + 8 * (taps.shape[1] + tap), w_step),
                (n_taps, inner),
                (y_image, rows.ctypes.data + 8 * (rows.shape[1] + row), tail),
                (bias.ctypes.data + size * first, gate_image, rows.ctypes.data + 8 * (2 * rows.shape[1] + row), op),
            )


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def weight_gradient(dw, x, dy, rows, taps, blocks, columns, x_step, y_step, inner):
    """dw[s] = sum over the s-th chunk of rows of output pixels of x (outer product) dy.

    dw (S, elements of w) partial sums, one a chunk. rows (2, window): the offset of each element of the window in x,
    and of its row in w. taps (2, T): the offset in x and in dy of each row of output pixels of each image; each sums
    `inner` pixels, x_step and y_step apart. One task owns its elements.
    """
    chunks, many, size = dw.shape[0], columns.shape[0], dw.itemsize
    for task in prange(chunks * many * blocks.shape[0]):
        chunk, column, block = task // (many * blocks.shape[0]), task // blocks.shape[0] % many, task % blocks.shape[0]
        first, kind, tail, x_offset, w_offset = columns[column]
        row, count, tap, n_taps, mode = blocks[block]
        per_chunk = (n_taps + chunks - 1) // chunks
        start = min(chunk * per_chunk, n_taps)
        tap += start
        tile(
            dw,
            variant(kind, mode, count),
            (x.ctypes.data + size * x_offset, rows.ctypes.data + 8 * row, taps.ctypes.data + 8 * tap, x_step),
            (dy.ctypes.data + size * first, taps.ctypes.data + 8 * (taps.shape[1] + tap), y_step),
            (min(per_chunk, n_taps - start), inner),
            (
                dw.ctypes.data + size * (chunk * dw.shape[1] + w_offset),
                rows.ctypes.data + 8 * (rows.shape[1] + row),
                tail,
            ),
            (dw.ctypes.data, dw.ctypes.data, rows.ctypes.data, STORE),
        )


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def add_chunks(total, partial, slice_size):
    """total = sum over chunks s of partial[s], in the order of s. total (E,), partial (S, E); a task owns a slice."""
    for part in prange((total.shape[0] + slice_size - 1) // slice_size):
        first, last = part * slice_size, min((part + 1) * slice_size, total.shape[0])
        own = total[first:last]  # slices, whose indices begin at 0, are vectorised: no index is negative
        own[:] = partial[0, first:last]
        for s in range(1, partial.shape[0]):
            more = partial[s, first:last]
            for i in range(last - first):
                own[i] += more[i]


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def bias_gradient(db, partial, dy):
    """db[c] = sum of dy over all pixels. db (C,), dy (R, W * C): the zero border adds nothing; partial (S, W * C).

    Rows are added whole, in full vectors whatever C is, then folded. One task owns a chunk of rows.
    """
    chunks, width, channels = partial.shape[0], partial.shape[1], db.shape[0]
    per_chunk = (dy.shape[0] + chunks - 1) // chunks
    for s in prange(chunks):
        own = partial[s]
        for i in range(width):
            own[i] = 0
        for row in range(s * per_chunk, min((s + 1) * per_chunk, dy.shape[0])):
            more = dy[row]
            for i in range(width):
                own[i] += more[i]
    for c in range(channels):
        db[c] = 0
    for s in range(chunks):
        for start in range(0, width, channels):
            for c in range(channels):
                db[c] += partial[s, start + c]


@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
def turn_weights(turned, w):
    """The weights of the data gradient: channels exchanged, the last kernel axis reversed.

    w (T, K, I, O) -> turned (T, K, O, I), where T counts groups and the other kernel axes. One task owns a strip.
    """
    taps, kernel, c_in, c_out = w.shape
    strips = (c_in + 15) // 16  # 16 columns of the result fill a cache line of each of its rows
    for task in prange(taps * kernel * strips):
        t, k, first = task // (kernel * strips), task // strips % kernel, task % strips * 16
        last = min(first + 16, c_in)
        for c in range(c_out):
            for i in range(first, last):
                turned[t, kernel - 1 - k, c, i] = w[t, k, i, c]
