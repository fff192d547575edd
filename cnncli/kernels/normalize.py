"""Batch normalisation (Ioffe and Szegedy 2015), with the addition and the relu that follow it in the same pass.

Buffers are (images, elements); `rows` (buffers, R) gives where each row of `length` elements, whole pixels, begins in
each. Rows are worked on in segments of `period` elements, a multiple of the channels: what there is to know of each
channel is repeated over a period, so that every loop runs over contiguous elements, however few the channels are.

Sums are taken in the arrays' type over a task's rows for each element of the period, then over tasks and periods in
float64, both cut by shapes alone. The variance is that of the differences from a mean of few of the batch's numbers, so
that no square of a large mean cancels.
"""

import math

from numba import njit

from cnncli.kernels.geometry import TASKS
from cnncli.kernels.program import kernel

SEGMENT = 256  # elements of a period, if the channels are fewer: three arrays of it lie in the first-level cache
CHUNK = 1 << 14  # elements of a task, at least: each leaves a period of sums to be added


def period(channels: int, length: int) -> int:
    """How many elements of a row of `length` are worked on together."""
    return min(length, channels * max(1, SEGMENT // channels))


def chunks(rows: int, length: int) -> int:
    """Into how many tasks the rows of all images are cut."""
    return min(TASKS, rows, max(1, rows * length // CHUNK))


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def segment(array, n, start, count):
    return array[n, start : start + count]


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def add_moments(sums, squares, x, origin):
    for i in range(x.shape[0]):
        difference = x[i] - origin[i]
        sums[i] += difference
        squares[i] += difference * difference


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def add_products(sums, products, dy, x, mean):
    for i in range(x.shape[0]):
        sums[i] += dy[i]
        products[i] += dy[i] * (x[i] - mean[i])


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def apply(y, x, mean, scale, shift, zero, relu):
    # differences first: a large mean takes no digits from them
    if relu:
        for i in range(x.shape[0]):
            value = (x[i] - mean[i]) * scale[i] + shift[i]
            y[i] = zero if value < zero else value
    else:
        for i in range(x.shape[0]):
            y[i] = (x[i] - mean[i]) * scale[i] + shift[i]


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def apply_and_add(y, x, other, mean, scale, shift, zero, relu):
    if relu:
        for i in range(x.shape[0]):
            value = (x[i] - mean[i]) * scale[i] + shift[i] + other[i]
            y[i] = zero if value < zero else value
    else:
        for i in range(x.shape[0]):
            y[i] = (x[i] - mean[i]) * scale[i] + shift[i] + other[i]


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def apply_gradient(dx, dy, x, mean, of_dy, of_x, shift):
    for i in range(x.shape[0]):
        dx[i] = dy[i] * of_dy[i] + ((x[i] - mean[i]) * of_x[i] + shift[i])


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _mean(row, channel, channels):
    """The mean of one channel over a row, in float64."""
    total = 0.0
    for i in range(channel, row.shape[0], channels):
        total += row[i]
    return total / (row.shape[0] // channels)


@kernel
def origins(first, last, origin, x, starts, length, channels):
    """origin (P,) = the middle one of the means of each channel over three rows of x. A task owns a channel.

    The rows lie far apart. With one row alone, a row of 1e4 among normal numbers took three digits from their variance.
    """
    images, rows = x.shape[0], starts.shape[0]
    start, middle, end = starts[0], starts[rows // 2], starts[rows - 1]
    for c in range(first, last):
        a = _mean(x[0, start : start + length], c, channels)
        b = _mean(x[images // 2, middle : middle + length], c, channels)
        d = _mean(x[images - 1, end : end + length], c, channels)
        between = max(min(a, b), min(max(a, b), d))
        for i in range(c, origin.shape[0], channels):
            origin[i] = between


@kernel
def moments(first, last, partial, origin, x, starts, length):
    """partial[t] = sums and sums of squares of x - origin over the t-th chunk of rows, for each element of a period.

    partial (T, 2, P), origin (P,) as `origins` gives it, x (N, X), starts (R,).
    """
    tasks, width, rows = partial.shape[0], origin.shape[0], starts.shape[0]
    total = x.shape[0] * rows
    per_task = (total + tasks - 1) // tasks
    for task in range(first, last):
        sums, squares = partial[task, 0], partial[task, 1]
        for i in range(width):
            sums[i] = 0
            squares[i] = 0
        for at in range(task * per_task, min((task + 1) * per_task, total)):
            start = starts[at % rows]
            for done in range(0, length, width):
                values = segment(x, at // rows, start + done, min(width, length - done))
                add_moments(sums, squares, values, origin)


@kernel
def products(first, last, partial, mean, dy, x, rows, length):
    """partial[t] = sums of dy and of dy * (x - mean) over the t-th chunk of rows.

    partial (T, 2, P), mean (P,), rows (2, R) of dy and x.
    """
    tasks, width, many = partial.shape[0], mean.shape[0], rows.shape[1]
    total = x.shape[0] * many
    per_task = (total + tasks - 1) // tasks
    for task in range(first, last):
        sums, other = partial[task, 0], partial[task, 1]
        for i in range(width):
            sums[i] = 0
            other[i] = 0
        for at in range(task * per_task, min((task + 1) * per_task, total)):
            n, row = at // many, at % many
            for done in range(0, length, width):
                count = min(width, length - done)
                gradient = segment(dy, n, rows[0, row] + done, count)
                add_products(sums, other, gradient, segment(x, n, rows[1, row] + done, count), mean)


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _total(partial, which, channel, channels):
    """The sum of one channel over tasks and periods, in float64."""
    total = 0.0
    for task in range(partial.shape[0]):
        for i in range(channel, partial.shape[2], channels):
            total += partial[task, which, i]
    return total


@kernel
def statistics(first, last, period, saved, partial, weight, bias, running_mean, running_var, count, eps, momentum):
    """The statistics of a batch from `moments`, of `count` elements a channel.

    period (3, P) holds the origin and receives the mean, the scale and the shift of each element of a period; saved
    (C,) 1 / standard deviation. running_mean and running_var (C,) move by `momentum`; the latter is unbiased, as
    PyTorch has it.
    """
    channels, width = weight.shape[0], period.shape[1]
    for c in range(first, last):
        offset = _total(partial, 0, c, channels) / count
        variance = max(0.0, _total(partial, 1, c, channels) / count - offset * offset)
        if offset != offset:
            variance = offset  # a NaN is to be seen
        mean = period[0, c] + offset
        inverse = 1 / math.sqrt(variance + eps)
        saved[c] = inverse
        running_mean[c] += momentum * (mean - running_mean[c])
        running_var[c] += momentum * (variance * count / max(1, count - 1) - running_var[c])
        for i in range(c, width, channels):
            period[0, i], period[1, i], period[2, i] = mean, weight[c] * inverse, bias[c]


@kernel
def fixed_statistics(first, last, period, weight, bias, running_mean, running_var, eps):
    """What `statistics` fills, from what was counted while training: for inference."""
    channels, width = weight.shape[0], period.shape[1]
    for c in range(first, last):
        scale = weight[c] / math.sqrt(running_var[c] + eps)
        for i in range(c, width, channels):
            period[0, i], period[1, i], period[2, i] = running_mean[c], scale, bias[c]


@kernel
def normalize(first, last, y, x, other, rows, length, period, adds, relu):
    """y = (x - mean) * scale + shift, plus `other` if `adds`, then relu if asked. rows (3, R) of y, x and other."""
    many, width, zero = rows.shape[1], period.shape[1], y.dtype.type(0)
    mean, scale, shift = period[0], period[1], period[2]
    for at in range(first, last):
        n, row = at // many, at % many
        for done in range(0, length, width):
            count = min(width, length - done)
            to, of = segment(y, n, rows[0, row] + done, count), segment(x, n, rows[1, row] + done, count)
            if adds:
                apply_and_add(to, of, segment(other, n, rows[2, row] + done, count), mean, scale, shift, zero, relu)
            else:
                apply(to, of, mean, scale, shift, zero, relu)


@kernel
def gradient_terms(first, last, terms, dweight, dbias, partial, weight, saved, count):
    """dweight, dbias (C,) and the terms of dx = terms[0] * dy + terms[1] * (x - mean) + terms[2], from `products`."""
    channels, width = weight.shape[0], terms.shape[1]
    for c in range(first, last):
        of_dy, of_x, inverse = _total(partial, 0, c, channels), _total(partial, 1, c, channels), float(saved[c])
        dweight[c], dbias[c] = of_x * inverse, of_dy
        scale = weight[c] * inverse
        for i in range(c, width, channels):
            terms[0, i] = scale
            terms[1, i] = -scale * inverse * inverse * of_x / count
            terms[2, i] = -scale * of_dy / count


@kernel
def normalize_gradient(first, last, dx, dy, x, rows, length, terms, mean):
    """dx of `normalize` with the batch's own statistics. rows (3, R) of dx, dy and x; dx may be dy."""
    many, width = rows.shape[1], terms.shape[1]
    for at in range(first, last):
        n, row = at // many, at % many
        for done in range(0, length, width):
            count = min(width, length - done)
            to, of = segment(dx, n, rows[0, row] + done, count), segment(dy, n, rows[1, row] + done, count)
            apply_gradient(to, of, segment(x, n, rows[2, row] + done, count), mean, terms[0], terms[1], terms[2])
