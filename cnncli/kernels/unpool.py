"""The elements at the recorded maxima of a max pooling: the transpose of what its gradient does."""

from cnncli.kernels.program import kernel


@kernel
def take_maxima(first, last, y, x, arg, rows, taps, phases, channels):
    """y = the element of each window of x that `arg` names. rows (3, pixels) in x, y, arg. A task is an image."""
    for n in range(first, last):
        for p in range(phases.shape[0]):
            row, count, tap, _ = phases[p]
            for r in range(row, row + count):
                to, of = y[n, rows[1, r] : rows[1, r] + channels], arg[n, rows[2, r] : rows[2, r] + channels]
                for c in range(channels):
                    to[c] = x[n, rows[0, r] + taps[tap + of[c]] + c]
