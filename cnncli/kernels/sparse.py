"""The product with a sparse matrix: what a convolution is beside, to be compared with."""

from numba import njit, prange


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def multiply(y, x, starts, columns, values):
    """y (N, R) = x (N, C) times the transpose of a matrix (R, C) in compressed rows.

    Row r has `values[j]` in `columns[j]` for j in starts[r] .. starts[r + 1].
    """
    for r in prange(y.shape[1]):
        for n in range(y.shape[0]):
            total = x.dtype.type(0)
            for j in range(starts[r], starts[r + 1]):
                total += values[j] * x[n, columns[j]]
            y[n, r] = total
