"""From the data set in memory to the first layer's input: gathered, augmented and normalised in one pass."""

import numpy as np
from numba import njit

from cnncli.kernels.elementwise import mix
from cnncli.kernels.program import kernel


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _motion(key, sample, shift, flip, height):
    """(rows down, columns right, whether mirrored) of a sample: decided by (key, sample) alone."""
    drawn = mix(key, np.uint64(sample))
    span = np.uint64(2 * shift + 1)
    down = np.int64(drawn % span) - shift if height > 1 else 0
    right = np.int64((drawn >> np.uint64(20)) % span) - shift
    return down, right, flip and (drawn >> np.uint64(60)) & np.uint64(1) == np.uint64(1)


@kernel
def gather(first, last, x, images, samples, row_starts, scale, offset, key, shift, flip):
    """x[n] = images[samples[n]] * scale + offset, moved and mirrored. A task owns an image.

    x (N, X) with its rows at row_starts (D * H,), images (M, D, H, W * C) uint8 or float, scale and offset (W, C).
    With shift > 0 the image is moved by up to so many pixels along height and width, what comes in is offset(0), and
    with `flip` half of the images are mirrored along the width; key (1,) uint64.
    """
    depth, height, length = images.shape[1:]
    channels = scale.shape[1]
    width = length // channels
    scales, offsets, real = scale.reshape(-1), offset.reshape(-1), x.dtype.type
    for n in range(first, last):
        sample = samples[n]
        if shift == 0 and not flip:
            for row in range(depth * height):
                to = x[n, row_starts[row] : row_starts[row] + length]  # slices are vectorised: no index is negative
                of = images[sample, row // height, row % height]
                for i in range(length):
                    to[i] = real(of[i]) * scales[i] + offsets[i]
        else:
            down, right, mirrored = _motion(key[0], sample, shift, flip, height)
            for row in range(depth * height):
                d, h, start = row // height, row % height - down, row_starts[row]
                for w in range(width):
                    source = (width - 1 - w if mirrored else w) - right
                    inside = 0 <= source < width and 0 <= h < height
                    for c in range(channels):
                        value = real(images[sample, d, h, source * channels + c]) if inside else real(0)
                        x[n, start + w * channels + c] = value * scale[w, c] + offset[w, c]


@kernel
def gather_labels(first, last, labels, masks, samples, key, shift, flip, unlabelled, ignore):
    """labels[n] = masks[samples[n]], moved and mirrored as `gather` does with the image of the same key.

    labels (N, D, H, W), masks (M, D, H, W) uint8. What comes in, and the classes `unlabelled` and `ignore`, are -1.
    """
    depth, height, width = masks.shape[1:]
    for n in range(first, last):
        down, right, mirrored = _motion(key[0], samples[n], shift, flip, height)
        for d in range(depth):
            for row in range(height):
                h = row - down
                for w in range(width):
                    source = (width - 1 - w if mirrored else w) - right
                    inside = 0 <= source < width and 0 <= h < height
                    label = np.int64(masks[samples[n], d, h, source]) if inside else unlabelled
                    labels[n, d, row, w] = -1 if label in (unlabelled, ignore) else label
