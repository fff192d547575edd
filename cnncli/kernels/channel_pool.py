"""Maximum over groups of neighbouring channels at each pixel. `rows` (arrays, R) as in `elementwise`; a task owns an
image.
"""

from cnncli.kernels.program import kernel


@kernel
def channel_max(first, last, y, arg, x, rows, pixels, channels, size, stride):
    """y = maximum over each group of `size` channels, arg its number in it, of the first among equals or the last NaN.

    Groups begin `stride` channels apart. arg (N, pixels of all rows * groups) int32; rows (2, R) of y and x.
    """
    groups = (channels - size) // stride + 1
    for n in range(first, last):
        for row in range(rows.shape[1]):
            for p in range(pixels):
                at, beside, place = rows[0, row] + p * groups, rows[1, row] + p * channels, row * pixels + p
                to, of = y[n, at : at + groups], x[n, beside : beside + channels]
                chosen = arg[n, place * groups : (place + 1) * groups]
                for c in range(groups):
                    best, which = of[c * stride], 0
                    for t in range(1, size):
                        value = of[c * stride + t]
                        if value > best or value != value:
                            best, which = value, t
                    to[c], chosen[c] = best, which


@kernel
def channel_max_gradient(first, last, dx, dy, arg, rows, pixels, channels, size, stride):
    """dx = dy at the maximum of each group, summed where groups overlap, 0 elsewhere; rows (2, R) of dx and dy."""
    groups = (channels - size) // stride + 1
    for n in range(first, last):
        for row in range(rows.shape[1]):
            for p in range(pixels):
                at, beside, place = rows[0, row] + p * channels, rows[1, row] + p * groups, row * pixels + p
                to, of = dx[n, at : at + channels], dy[n, beside : beside + groups]
                chosen = arg[n, place * groups : (place + 1) * groups]
                to[:] = 0
                for c in range(groups):
                    to[c * stride + chosen[c]] += of[c]
