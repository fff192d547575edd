"""A relu whose slope below 0 is learned, for each channel or for all (He et al. 2015, "Delving Deep into Rectifiers").

Buffers are (images, elements); `rows` (buffers, R) gives where each row of `length` elements, whole pixels, begins in
each. As in `normalize`, rows are worked on in segments of a period, over which the slopes are repeated, and a task owns
a chunk of the rows of all images.
"""

from numba import njit

from cnncli.kernels.elementwise import row_of
from cnncli.kernels.program import kernel


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _repeat(period, values):
    for i in range(period.shape[0]):
        period[i] = values[i % values.shape[0]]


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _apply(to, of, slopes):
    for i in range(to.shape[0]):
        value = of[i]
        to[i] = value if value > 0 else value * slopes[i]


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _apply_gradient(to, dy, x, slopes):
    for i in range(to.shape[0]):
        to[i] = dy[i] if x[i] > 0 else dy[i] * slopes[i]


@njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _add_below(sums, dy, x):
    for i in range(x.shape[0]):
        sums[i] += dy[i] * (x[i] if x[i] < 0 else x.dtype.type(0))


@kernel
def prelu(first, last, y, x, rows, length, slopes, weight):
    """y = x where positive, else its channel's slope times x. weight (C,) or (1,); slopes (T, P) is to work in."""
    tasks, width, many = slopes.shape[0], slopes.shape[1], rows.shape[1]
    total = x.shape[0] * many
    per_task = (total + tasks - 1) // tasks
    for task in range(first, last):
        _repeat(slopes[task], weight)
        for at in range(task * per_task, min((task + 1) * per_task, total)):
            n, row = at // many, at % many
            for done in range(0, length, width):
                count = min(width, length - done)
                to, of = row_of(y, n, rows[0, row] + done, count), row_of(x, n, rows[1, row] + done, count)
                _apply(to, of, slopes[task])


@kernel
def prelu_gradient(first, last, dx, partial, dy, x, rows, length, slopes, wanted):
    """dx, if `wanted`, and partial[t] = sums of dy * x where x < 0 over the t-th chunk of rows; rows of dx, dy, x."""
    tasks, width, many = slopes.shape[0], slopes.shape[1], rows.shape[1]
    total = x.shape[0] * many
    per_task = (total + tasks - 1) // tasks
    for task in range(first, last):
        for i in range(width):
            partial[task, i] = 0
        for at in range(task * per_task, min((task + 1) * per_task, total)):
            n, row = at // many, at % many
            for done in range(0, length, width):
                count = min(width, length - done)
                of, kept = row_of(dy, n, rows[1, row] + done, count), row_of(x, n, rows[2, row] + done, count)
                _add_below(partial[task], of, kept)
                if wanted:
                    _apply_gradient(row_of(dx, n, rows[0, row] + done, count), of, kept, slopes[task])


@kernel
def fold_periods(first, last, dweight, partial):
    """dweight (C,) = the sums of its channel over tasks and periods in float64. A task owns a channel."""
    channels = dweight.shape[0]
    for c in range(first, last):
        total = 0.0
        for task in range(partial.shape[0]):
            for i in range(c, partial.shape[1], channels):
                total += partial[task, i]
        dweight[c] = total
