"""Biases of their own for every place of a map, and weights that stay zero: passes beside a convolution."""

import numpy as np

from cnncli.kernels.buffer import Buffer
from cnncli.kernels.program import Step, kernel

SLICE = 4096  # elements of a task


@kernel
def _add(first, last, y, bias, rows, length, relu):
    """y += bias, or relu of it. bias (R, length) by the rows of an image, `rows` (R,) where they lie in y."""
    many = rows.shape[0]
    for task in range(first, last):
        n, row = task // many, task % many
        own, more = y[n, rows[row] : rows[row] + length], bias[row]
        if relu:
            for i in range(length):
                value = own[i] + more[i]
                own[i] = 0 if value < 0 else value
        else:
            for i in range(length):
                own[i] += more[i]


@kernel
def _sum(first, last, db, dy, rows, length):
    """db = the sum of dy over images: a task owns a row, and adds the images in their order."""
    for row in range(first, last):
        own = db[row]
        for i in range(length):
            own[i] = 0
        for n in range(dy.shape[0]):
            more = dy[n, rows[row] : rows[row] + length]
            for i in range(length):
                own[i] += more[i]


@kernel
def _keep(first, last, values, kept):
    """values = 0 where `kept` is; both are flat."""
    for task in range(first, last):
        begin, end = task * SLICE, min((task + 1) * SLICE, values.shape[0])
        own, of = values[begin:end], kept[begin:end]
        for i in range(end - begin):
            own[i] = own[i] if of[i] else 0


def plan_bias(y: Buffer, bias: np.ndarray, relu: bool) -> list[Step]:
    """y += bias, a number for each element of an image, and relu if asked."""
    rows, length = y.row_starts, y.size[2] * y.channels
    return [_add.step(len(y.array) * len(rows), y.array, bias.reshape(len(rows), length), rows, length, relu)]


def plan_bias_gradient(db: np.ndarray, dy: Buffer) -> list[Step]:
    """db = sum over images of dy."""
    rows, length = dy.row_starts, dy.size[2] * dy.channels
    return [_sum.step(len(rows), db.reshape(len(rows), length), dy.array, rows, length)]


def plan_mask(gradient: np.ndarray, connected: np.ndarray) -> list[Step]:
    """The gradient of weights is 0 where nothing is connected: what begins at 0 then stays 0."""
    flat = gradient.reshape(-1)
    return [_keep.step(-(-flat.size // SLICE), flat, connected.astype(np.uint8))]
