"""Convolution with few channels a group, depthwise with one. What is computed is in the tables.

    y[p, i ^ r] (op)= bias + sum over taps t, r of x[start[p] + offset[t], i] * w[t, r, i]    forward
    dw[t, r, i] = sum over pixels p of x[start[p] + offset[t], i] * dy[p, i ^ r]              the weight gradient
    db = sum over pixels p of dy[p]

r goes below the width of a group, a power of two: w[t, r, i] leads from input i to output i ^ r, whose bits differ by
r's. The data gradient is a forward pass with other taps and turned weights, w[t, r, i ^ r]. A run is pixels at equal
distances that share their taps: what lies in the padding is not among them.
"""

from cnncli.kernels.depthwise_tile import sum_pixels, sum_taps
from cnncli.kernels.program import kernel
from cnncli.kernels.tile import ACCUMULATE, ACCUMULATE_GATE, GATE


@kernel
def depthwise(first_task, last_task, y, x, w, bias, gate, runs, taps, columns, op, parts, address, group, out):
    """y = op(bias + sum over taps of x * w): forward, and with other taps the data gradient.

    y (N, Y), x (N, X), w (taps, group, out), gate (N, G). runs (R, 9): first pixel and distance of pixels in x, in y
    and in gate, then pixels, first tap, taps. taps (2, T): the offset of each tap in x and in w. columns (K, 2): first
    channel and count of each block of channels. `parts` cuts the runs of an image. `address` is that of the runs of
    this width of `group`, as `sum_taps` takes it. One task owns its elements.
    """
    many, size, per_part = columns.shape[0], y.itemsize, (runs.shape[0] + parts - 1) // parts
    for task in range(first_task, last_task):
        n, column, part = task // (many * parts), task // parts % many, task % parts
        first, channels = columns[column]
        x_image = x.ctypes.data + size * (n * x.shape[1] + first)
        y_image = y.ctypes.data + size * (n * y.shape[1] + first)
        gate_image = gate.ctypes.data + size * (n * gate.shape[1] + first)
        for i in range(part * per_part, min((part + 1) * per_part, runs.shape[0])):
            x_first, x_step, y_first, y_step, gate_first, gate_step, pixels, tap, n_taps = runs[i]
            table = taps.ctypes.data + 8 * tap
            sum_taps(
                y,
                address,
                group,
                pixels,
                (x_image + size * x_first, x_step),
                (table, w.ctypes.data + size * first, table + 8 * taps.shape[1], out, n_taps),
                (y_image + size * y_first, y_step),
                (bias.ctypes.data + size * first, gate_image + size * gate_first, gate_step, op),
                channels,
            )


@kernel
def depthwise_gradient(
    first_task, last_task, dw, partial, x, dy, blocks, taps, columns, x_steps, dy_steps, address, group
):
    """partial[s] = sum of x * dy over the s-th chunk of blocks, and in its last row that of dy.

    partial (S, T + 1, C), dw (T, C), which `add_taps` fills, T taps times the width of a group, x (N, X), dy (N, Y).
    Chunks are of the blocks of all images one after another. blocks (B, 7) of an image: first pixel in x and in dy,
    rows, pixels of a row, first tap, taps, whether it counts in db. taps (2, T): the offset of each tap in x and in w.
    Steps: the distances of rows and of pixels. `address` and `group` as in `depthwise`, for `sum_pixels`. One task owns
    its elements.
    """
    chunks, many, size, n_taps, width = partial.shape[0], columns.shape[0], dw.itemsize, dw.shape[0], dw.shape[1]
    total = x.shape[0] * blocks.shape[0]
    per_chunk = (total + chunks - 1) // chunks
    for task in range(first_task, last_task):
        chunk, column = task // many, task % many
        first, channels = columns[column]
        for t in range(n_taps + 1):
            own = partial[chunk, t, first : first + channels]
            own[:] = 0
        to = partial.ctypes.data + size * (chunk * (n_taps + 1) * width + first)
        for i in range(chunk * per_chunk, min((chunk + 1) * per_chunk, total)):
            n = i // blocks.shape[0]
            x_first, dy_first, rows, pixels, tap, of_block, counted = blocks[i - n * blocks.shape[0]]
            table = taps.ctypes.data + 8 * tap
            sum_pixels(
                dw,
                address,
                group,
                of_block,
                (x.ctypes.data + size * (n * x.shape[1] + x_first + first), x_steps[0], x_steps[1], table),
                (dy.ctypes.data + size * (n * dy.shape[1] + dy_first + first), dy_steps[0], dy_steps[1]),
                (to, table + 8 * taps.shape[1], width, n_taps * width, counted),
                (rows, pixels),
                channels,
            )


@kernel
def add_taps(first_tap, last_tap, dw, db, partial):
    """dw, db = the sums of all chunks of `partial`, in their order. A task owns a tap; the last one is db."""
    for t in range(first_tap, last_tap):
        own = dw[t] if t < dw.shape[0] else db
        own[:] = partial[0, t]
        for s in range(1, partial.shape[0]):
            more = partial[s, t]
            for c in range(own.shape[0]):
                own[c] += more[c]


@kernel
def turn_groups(first_row, last_row, turned, w, group):
    """turned[t, r, i] = w[t, r, i ^ r]: from weights by inputs to weights by outputs, and back. A task owns a row.

    Both (taps * group, C).
    """
    for row in range(first_row, last_row):
        r = row % group
        for i in range(w.shape[1]):
            turned[row, i] = w[row, i ^ r]


@kernel
def repeat_channels(first_task, last_task, wide, x, rows, pixels, channels):
    """wide[p, c * M + m] = x[p, c] for each m < M. wide (N, P * C * M), x (N, X), rows (R,): where each row begins."""
    multiplier = wide.shape[1] // (rows.shape[0] * pixels * channels)
    for n in range(first_task, last_task):
        for row in range(rows.shape[0]):
            of = x[n, rows[row] : rows[row] + pixels * channels]
            start = row * pixels * channels * multiplier
            to = wide[n, start : start + pixels * channels * multiplier]
            for i in range(pixels * channels):
                for m in range(multiplier):
                    to[i * multiplier + m] = of[i]


@kernel
def add_repeated(first_task, last_task, x, gate, wide, rows, pixels, channels, op):
    """x[p, c] (op)= sum over m of wide[p, c * M + m]: the gradient of `repeat_channels`.

    rows (2, R): where each row begins in x, in gate.
    """
    multiplier = wide.shape[1] // (rows.shape[1] * pixels * channels)
    adds, gated = op in (ACCUMULATE, ACCUMULATE_GATE), op in (GATE, ACCUMULATE_GATE)
    for n in range(first_task, last_task):
        for row in range(rows.shape[1]):
            to = x[n, rows[0, row] : rows[0, row] + pixels * channels]
            beside = gate[n, rows[1, row] : rows[1, row] + pixels * channels]
            start = row * pixels * channels * multiplier
            of = wide[n, start : start + pixels * channels * multiplier]
            for i in range(pixels * channels):
                total = of[i * multiplier]
                for m in range(1, multiplier):
                    total += of[i * multiplier + m]
                if adds:
                    total += to[i]
                to[i] = 0 if gated and not beside[i] > 0 else total
