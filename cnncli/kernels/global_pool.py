"""The mean of each channel over all pixels, and its gradient: one pass over the image, a task an image."""

from numba import njit, prange


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def global_average(y, x, rows, pixels, scale):
    """y = sum over pixels of x, times scale. y (N, C), x (N, X), rows (R,): where each row of `pixels` begins in x."""
    channels = y.shape[1]
    for n in prange(y.shape[0]):
        to = y[n]
        to[:] = 0
        for row in range(rows.shape[0]):
            for p in range(pixels):
                start = rows[row] + p * channels
                of = x[n, start : start + channels]  # slices are vectorised: no index is negative
                for c in range(channels):
                    to[c] += of[c]
        for c in range(channels):
            to[c] *= scale


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
def global_average_gradient(dx, dy, gate, rows, pixels, scale, gated):
    """dx = dy times scale at every pixel; if `gated`, only where `gate` > 0. rows (2, R) of dx and gate."""
    channels, zero = dy.shape[1], dx.dtype.type(0)
    for n in prange(dx.shape[0]):
        of = dy[n]
        for row in range(rows.shape[1]):
            for p in range(pixels):
                start, beside = rows[0, row] + p * channels, rows[1, row] + p * channels
                to, kept = dx[n, start : start + channels], gate[n, beside : beside + channels]
                if gated:
                    for c in range(channels):
                        to[c] = of[c] * scale if kept[c] > zero else zero
                else:
                    for c in range(channels):
                        to[c] = of[c] * scale
