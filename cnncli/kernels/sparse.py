"""The product with a sparse matrix: another way to compute a convolution, to be compared with."""

from cnncli.kernels.program import Step, kernel

ROWS = 64  # a task


@kernel
def _multiply(first, last, y, x, starts, columns, values):
    for r in range(first * ROWS, min(last * ROWS, y.shape[1])):
        for n in range(y.shape[0]):
            total = x.dtype.type(0)
            for j in range(starts[r], starts[r + 1]):
                total += values[j] * x[n, columns[j]]
            y[n, r] = total


def multiply(y, x, starts, columns, values) -> Step:
    """The step y (N, R) = x (N, C) times the transpose of a matrix (R, C) in compressed rows.

    Row r has `values[j]` in `columns[j]` for j in starts[r] .. starts[r + 1].
    """
    return _multiply.step(-(-y.shape[1] // ROWS), y, x, starts, columns, values)
