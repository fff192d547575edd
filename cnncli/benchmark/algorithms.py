"""Four ways to compute one convolution: directly, by im2col and BLAS, with a dense and with a sparse matrix.

Goodfellow, Bengio and Courville 2016, section 9.2, count them on an edge detection (figure 9.6): a multiplication for
each weight of an output pixel and an addition less, and a stored number for each entry of a matrix. So do `counts`.
"""

import math
from dataclasses import dataclass

import numpy as np

from cnncli.benchmark import convolutions, programs
from cnncli.benchmark.suites import Item
from cnncli.kernels import sparse
from cnncli.kernels.program import Program
from cnncli.layers import Shape
from cnncli.layers.conv import Conv

DIRECT, IM2COL, DENSE, SPARSE = "direct", "im2col", "dense matrix", "sparse matrix"
MOST_ENTRIES = 1 << 27  # a larger matrix is counted and not built
EDGES = "edge detection"


def edges() -> Item:
    """The textbook's example: each pixel of 320 x 280 less its left neighbour."""
    return Item(EDGES, Conv(filters=1, kernel=[1, 2], bias=False), Shape((1, 280, 320), 1, 2), 1)


@dataclass(frozen=True)
class Matrix:
    """The matrix of a convolution in compressed rows: outputs times inputs, as flat as they lie, channels last."""

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    def dense(self) -> np.ndarray:
        found = np.zeros(self.shape, self.values.dtype)
        found[np.repeat(np.arange(self.shape[0]), np.diff(self.starts)), self.columns] = self.values
        return found


def windows(pixels: np.ndarray, item: Item, fill) -> np.ndarray:
    """The windows over images (..., height, width, channels): (..., height, width, channels, kh, kw), a view."""
    (_, kernel_h, kernel_w), (_, stride_h, stride_w) = item.layer.window(item.shape)
    around = [(0, 0)] * (pixels.ndim - 3) + [*programs.window(item.layer, item.shape)["pads"], (0, 0)]
    padded = np.pad(pixels, around, constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(padded, (kernel_h, kernel_w), axis=(-3, -2))
    return found[..., ::stride_h, ::stride_w, :, :, :]


def taps(item: Item) -> np.ndarray:
    """Which inputs each output sums, -1 in the padding: (height, width, filters, inputs of a group, kh, kw)."""
    shape = item.shape
    found = windows(np.arange(shape.elements).reshape(*shape.axes, shape.channels), item, -1)
    of_group = found.reshape(*found.shape[:2], item.groups, -1, *found.shape[3:])
    return np.repeat(of_group, item.output.channels // item.groups, axis=2)


def entries(item: Item) -> int:
    """How many pairs of an output and an input inside the image have a weight."""
    found = item.output.channels * item.shape.channels // item.groups
    axes = programs.window(item.layer, item.shape)
    for size, kernel, stride, (before, after) in zip(
        item.shape.axes, axes["kernel"], axes["stride"], axes["pads"], strict=True
    ):
        starts = np.arange(-before, size + after - kernel + 1, stride)
        found *= int((np.minimum(starts + kernel, size) - np.maximum(starts, 0)).sum())
    return found


def matrix(item: Item, weights: np.ndarray) -> Matrix:
    """The sparse matrix of a convolution with weights (filters, inputs of a group, kh, kw)."""
    columns = taps(item)
    values = np.broadcast_to(weights, columns.shape).reshape(-1)
    columns = columns.reshape(-1)
    rows = item.output.elements
    inside = columns >= 0
    counts = inside.reshape(rows, -1).sum(1)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Matrix(starts, columns[inside], np.ascontiguousarray(values[inside]), (rows, item.shape.elements))


def counts(item: Item) -> dict[str, tuple[int, int]]:
    """(stored floats, operations) of each algorithm.

    Stored is what describes the transformation and what is made of the input: the weights, the windows of im2col, the
    entries of a matrix. A row of n numbers takes n multiplications and n - 1 additions.
    """
    layer, shape, images = item.layer, item.shape, item.batch
    output = item.output
    weights = sum(math.prod(parameter.shape) for parameter in layer.parameters(shape).values())
    window = weights // item.output.channels
    pixels = images * output.elements // item.output.channels
    direct = images * output.elements * (2 * window - 1)
    dense = output.elements * shape.elements
    return {
        DIRECT: (weights, direct),
        IM2COL: (weights + pixels * window * item.groups, direct),
        DENSE: (dense, images * (2 * dense - output.elements)),
        SPARSE: (entries(item), images * (2 * entries(item) - output.elements)),
    }


def tasks(item: Item, integers: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Each algorithm's call on the same images, and the output (N, elements) that it fills.

    `integers`: small whole numbers, so that all four have to agree to the last bit.
    """
    bound = convolutions.bound(item.layer, item.shape, item.batch)
    generator = np.random.default_rng(0)
    if integers:
        bound.x.interior[...] = generator.integers(-3, 4, bound.x.interior.shape)
        bound.weights[:] = generator.integers(-3, 4, bound.weights.size)
    x = np.ascontiguousarray(bound.x.interior).reshape(item.batch, -1)
    declared = item.layer.parameters(item.shape)["weight"]
    weights = np.ascontiguousarray(declared.to_file(bound.weights))
    y = {name: np.zeros_like(bound.y.array) for name in (IM2COL, SPARSE, DENSE)}
    found = {DIRECT: bound.tasks["forward"], IM2COL: im2col(item, x, weights, y[IM2COL])}
    if entries(item) <= MOST_ENTRIES:
        m = matrix(item, weights)
        found[SPARSE] = Program([sparse.multiply(y[SPARSE], x, m.starts, m.columns, m.values)])
        if math.prod(m.shape) <= MOST_ENTRIES:
            transposed = m.dense().T
            found[DENSE] = lambda: np.matmul(x, transposed, out=y[DENSE])
    return found, {DIRECT: bound.y.array, **y}


def im2col(item: Item, x: np.ndarray, weights: np.ndarray, y: np.ndarray):
    """Every window as a row of a matrix, made anew in each call, and its product with the weights by BLAS."""
    groups = item.groups
    view = windows(x.reshape(item.batch, *item.shape.axes, -1), item, 0)
    view = np.moveaxis(view.reshape(*view.shape[:3], groups, -1, *view.shape[4:]), 3, 0)
    rows = np.empty((groups, math.prod(view.shape[1:4]), weights[0].size), x.dtype)
    target = rows.reshape(view.shape)
    of_groups = weights.reshape(groups, item.output.channels // groups, -1).transpose(0, 2, 1)
    products = y.reshape(rows.shape[1], groups, -1).transpose(1, 0, 2)

    def call():
        target[...] = view
        np.matmul(rows, of_groups, out=products)

    return call
