"""The mean of each channel over all pixels, and its gradient: one pass over the image, a task an image."""

from cnncli.kernels.program import kernel


@kernel
def global_average(first, last, y, x, rows, pixels, scale):
    """y = sum over pixels of x, times scale. y (N, C), x (N, X), rows (R,): where each row of `pixels` begins in x."""
    channels = y.shape[1]
    for n in range(first, last):
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


@kernel
def global_average_gradient(first, last, dx, dy, gate, rows, pixels, scale, gated):
    """dx = dy times scale at every pixel; if `gated`, only where `gate` > 0. rows (2, R) of dx and gate."""
    channels, zero = dy.shape[1], dx.dtype.type(0)
    for n in range(first, last):
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
