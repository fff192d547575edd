"""Winograd's algorithm: its matrices exactly, its results within the bound that its roundings allow, and its choice."""

from fractions import Fraction

import naive
import numpy as np
import pytest
from bound import Bound, from_buffer, to_buffer
from cases import conv
from networks import filled, specification

from cnncli.kernels import set_threads, transforms, winograd
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.convolution import ACCUMULATE, ACCUMULATE_GATE, ADD, ADD_RELU, BIAS, BIAS_RELU, GATE, STORE
from cnncli.kernels.geometry import Axis
from cnncli.kernels.program import Program
from cnncli.network import Network

OPTIONS = {"algorithm": "winograd"}
CASES = [
    conv(1, (1, 1), 1, images=1, padding="same", **OPTIONS),
    conv(5, (4, 4), 7, images=1, padding="same", **OPTIONS),
    conv(8, (20, 16), 8, padding="same", **OPTIONS),  # three blocks of tiles, the last one short
    conv(16, (5, 9), 33, padding="same", **OPTIONS),
    conv(33, (7, 6), 16, images=3, **OPTIONS),
    conv(64, (13, 6), 65, images=1, padding="full", **OPTIONS),
    conv(20, (9, 10), 48, padding=[[0, 2], [3, 1]], **OPTIONS),
    conv(3, (2, 5), 40, images=1, padding=[[3, 4], [4, 2]], bias=False, **OPTIONS),  # windows in the padding alone
    conv(9, (27, 30), 64, **OPTIONS),
    conv(70, (5, 6), 150, images=1, padding="same", **OPTIONS),  # several tasks, blocks and strips, the last ones short
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def normals(generator, shape):
    return generator.normal(size=shape)


def test_matrices_are_exact():
    """In rational numbers, 36 products of transforms are the nine sums, for every pair of an input and a weight."""
    p, q = Fraction(transforms.P), Fraction(transforms.Q)
    points = [Fraction(0), p, -p, q, -q]
    g = [[x**i / np.prod([x - y for y in points if y != x]) for i in range(3)] for x in points] + [[0, 0, 1]]
    np.testing.assert_allclose(transforms.G, np.array(g, float), rtol=1e-15)
    a, b = (np.vectorize(Fraction)(matrix) for matrix in (transforms.A, transforms.B))
    for i in range(6):
        for t in range(3):
            products = b[:, i] * np.array(g)[:, t]
            assert list(a.T @ products) == [int(i == o + t) for o in range(4)]


def magnitudes(x, w, padding):
    """The algorithm with all terms made positive: (images, out, height, width)."""
    a, b, g = (np.abs(matrix) for matrix in (transforms.A, transforms.B, transforms.G))
    images, x = len(x), naive.pad(np.abs(x), padding)
    high, wide = (n - 2 for n in x.shape[2:])
    x = np.pad(x, [(0, 0), (0, 0), (0, -high % 4), (0, -wide % 4)])
    weights, y = (
        np.einsum("ij,ocjk,lk->ocil", g, np.abs(w), g),
        np.zeros((images, len(w), *(n - 2 for n in x.shape[2:]))),
    )
    for top in range(0, high, 4):
        for left in range(0, wide, 4):
            tile = np.einsum("ij,ncjk,lk->ncil", b, x[:, :, top : top + 6, left : left + 6], b)
            sums = np.einsum("ncil,ocil->noil", tile, weights)
            y[:, :, top : top + 4, left : left + 4] = np.einsum("ij,noil,lk->nojk", a, sums, a)
    return y[:, :, :high, :wide]


def tolerance(x, w, padding, dtype):
    """The largest error that rounding can cause.

    A term passes at most 8 roundings in the transform of the input (4 along each axis), 10 in that of the weights,
    whose constants are rounded too, one in each addition over the channels, and 10 in the transform of the products
    and the epilogue: the error is at most (channels + 28) * u of the sum of the terms' magnitudes, u = eps / 2 (Higham
    2002, section 3.1). The oracle's own error in float64 is allowed for likewise.
    """
    count, u = x.shape[1] + 28, np.finfo(dtype).eps / 2
    oracle = 10 * x.shape[1] * np.finfo(np.float64).eps * (dtype == np.float64)
    return (count * u / (1 - count * u) + oracle) * magnitudes(x, w, padding) + np.finfo(dtype).tiny


def back(w, padding):
    """Weights and padding of the data gradient as a convolution."""
    return w[:, :, ::-1, ::-1].swapaxes(0, 1), [(2 - before, 2 - after) for before, after in padding]


class Drawn:
    """A case with normal data in its buffers."""

    def __init__(self, case, dtype=np.float32):
        self.bound, self.dtype = Bound(case, dtype), dtype
        self.generator = np.random.default_rng(len(case.id))
        x, parameters, dy = self.bound.random(self.generator, normals)
        self.x, self.dy, self.w = (a.astype(dtype).astype(float) for a in (x, dy, parameters["weight"]))
        self.bias = parameters.get("bias", np.zeros(len(self.w))).astype(dtype).astype(float)
        self.bound.set(self.x, parameters)
        to_buffer(self.bound.dy, self.bound.output, self.dy)
        self.convolution = self.bound.layer._convolution(self.bound.shape)
        self.padding = [(axis.before, axis.out + 2 - axis.before - axis.size) for axis in self.convolution.axes[1:]]

    def beside(self, shape):
        """A buffer of another border, and what it holds."""
        buffer = new_buffer(self.bound.arena, self.bound.case.images, shape, ((0, 0), (1, 0), (2, 1)))
        values = normals(self.generator, (self.bound.case.images, shape.channels, *shape.axes)).astype(self.dtype)
        to_buffer(buffer, shape, values)
        return buffer, values.astype(float)

    def forward(self, op, other=None, prepared=None):
        bound, bias = self.bound, self.bias.astype(self.dtype)
        weight = bound.values["weight"]
        steps = self.convolution.plan_forward(bound.y, bound.x, weight, bias, op, other, bound.arena, prepared)
        bound.arena.poison()
        for prepare in prepared or ():
            Program([prepare])()
            bound.arena.poison()
        Program(steps)()
        assert bound.is_clean()
        return from_buffer(bound.y, bound.output)

    def backward(self, op, before, gate):
        bound = self.bound
        arguments = bound.dx, bound.dy, bound.values["weight"], bound.arena
        steps = self.convolution.plan_data_gradient(*arguments, op, gate)
        to_buffer(bound.dx, bound.shape, before)
        bound.arena.poison()
        Program(steps)()
        assert bound.is_clean()
        return from_buffer(bound.dx, bound.shape)


def assert_within(found, wanted, most):
    excess = np.abs(found - wanted) / most
    assert excess.max() <= 1, f"{excess.max()} of what rounding explains"  # a NaN fails too


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
class TestOracle:
    def test_forward(self, case, dtype):
        drawn = Drawn(case, dtype)
        y = naive.convolution(drawn.x, drawn.w, drawn.bias, (1, 1), drawn.padding, (1, 1))
        other, added = drawn.beside(drawn.bound.output)
        most = tolerance(drawn.x, drawn.w, drawn.padding, dtype) + 4 * np.finfo(dtype).eps * (
            np.abs(y) + np.abs(added) + 3
        )
        plain = y - drawn.bias.reshape(-1, 1, 1)
        for op, wanted in (
            (STORE, plain),
            (BIAS, y),
            (BIAS_RELU, np.maximum(y, 0)),
            (ADD, y + added),
            (ADD_RELU, np.maximum(y + added, 0)),
        ):
            assert_within(drawn.forward(op, other), wanted, most)
        assert_within(drawn.forward(BIAS, prepared=[]), y, most)

    def test_data_gradient(self, case, dtype):
        drawn = Drawn(case, dtype)
        dx, _, _ = naive.convolution_gradients(drawn.dy, drawn.x, drawn.w, (1, 1), drawn.padding, (1, 1))
        gate, kept = drawn.beside(drawn.bound.shape)
        before = normals(drawn.generator, dx.shape).astype(dtype).astype(float)
        w, padding = back(drawn.w, drawn.padding)
        dy, cut = drawn.dy, [(max(0, -b), max(0, -a)) for b, a in padding]
        dy = dy[:, :, cut[0][0] : dy.shape[2] - cut[0][1], cut[1][0] : dy.shape[3] - cut[1][1]]
        most = tolerance(dy, w, [(max(0, b), max(0, a)) for b, a in padding], dtype)
        most = most + 4 * np.finfo(dtype).eps * (np.abs(dx) + np.abs(before))
        for op, wanted in (
            (STORE, dx),
            (ACCUMULATE, before + dx),
            (GATE, np.where(kept > 0, dx, 0)),
            (ACCUMULATE_GATE, np.where(kept > 0, before + dx, 0)),
        ):
            assert_within(drawn.backward(op, before, gate), wanted, most)


@pytest.mark.parametrize("channels", [64, 256])
def test_error_of_normal_data(channels):
    """What comes out in practice is far below the bound: less than 1e-5 of the largest output."""
    drawn = Drawn(conv(channels, (8, 8), 64, images=1, padding="same", **OPTIONS))
    y = naive.convolution(drawn.x, drawn.w, drawn.bias, (1, 1), drawn.padding, (1, 1))
    assert np.abs(drawn.forward(BIAS) - y).max() < 1e-5 * np.abs(y).max()


@pytest.mark.parametrize("case", [CASES[2], CASES[5], CASES[9]], ids=["blocks", "planes", "strips"])
def test_bits_do_not_depend_on_threads(case):
    drawn, results = Drawn(case), []
    other, before = drawn.beside(drawn.bound.output)[0], np.zeros(drawn.x.shape)
    for count in (1, 3, 4):
        set_threads(count)
        forward = drawn.forward(ADD_RELU, other), drawn.forward(ADD_RELU, other, prepared=[])
        results.append((*forward, drawn.backward(STORE, before, None)))
    for found in results[1:]:
        for ours, first in zip(found, results[0], strict=True):
            np.testing.assert_array_equal(ours, first)


def test_pixels_outside_the_image_are_not_read():
    drawn = Drawn(CASES[3])
    wanted = drawn.forward(BIAS)
    inside = drawn.bound.x.interior.copy()
    drawn.bound.x.array.fill(np.nan)
    drawn.bound.x.interior[...] = inside
    bias = drawn.bias.astype(np.float32)
    arguments = drawn.bound.y, drawn.bound.x, drawn.bound.values["weight"], bias, BIAS
    Program(drawn.convolution.plan_forward(*arguments, arena=drawn.bound.arena))()
    np.testing.assert_array_equal(from_buffer(drawn.bound.y, drawn.bound.output), wanted)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (conv(4, (8, 8), 4, 5, **OPTIONS), "kernels of 3x3 in two dimensions"),
        (conv(4, (8,), 4, 3, **OPTIONS), "kernels of 3x3 in two dimensions"),
        (conv(4, (8, 8, 8), 4, 3, **OPTIONS), "kernels of 3x3 in two dimensions"),
        (conv(4, (8, 8), 4, 3, stride=2, **OPTIONS), "a stride and a dilation of 1"),
        (conv(4, (8, 8), 4, 3, dilation=[1, 2], **OPTIONS), "a stride and a dilation of 1"),
        (conv(4, (8, 8), 4, 3, groups=2, **OPTIONS), "one group"),
    ],
    ids=lambda value: value.id if hasattr(value, "id") else "",
)
def test_what_cannot_be_done_is_refused(case, reason):
    with pytest.raises(ValueError, match=f"cannot be winograd: it is for {reason}"):
        case.layer.output_shape(case.shape)


@pytest.mark.parametrize(
    ("size", "channels", "images", "inference", "training"),
    [
        (56, 64, 8, True, True),
        (14, 256, 1, True, True),
        (7, 256, 1, False, False),
        (7, 512, 16, True, True),
        (5, 64, 64, False, False),
        (56, 8, 8, False, False),
    ],
)
def test_auto_takes_what_was_measured_to_be_faster(size, channels, images, inference, training):
    axis = Axis(size, size, 3, 1, 1, 1)
    shape = (Axis(1, 1, 1, 1, 1, 0), axis, axis), channels, channels, 1, images
    assert (winograd.wins(*shape, training=False), winograd.wins(*shape, training=True)) == (inference, training)


def test_inference_transforms_weights_after_each_change():
    outputs = []
    for algorithm in ("winograd", "direct"):
        layers = f"conv: {{filters: 9, padding: same, algorithm: {algorithm}}}|batch_norm|relu|flatten|dense: 4"
        network = Network(specification(3, [6, 6], layers), np.float64, seed=0)
        plan = filled(network.plan(2, training=False))
        for _ in range(2):
            plan.infer()
            plan.infer()
            outputs.append(plan.output.copy())
            network.parameters.values *= 1.5
            network.parameters.changed()
    np.testing.assert_allclose(outputs[:2], outputs[2:], rtol=1e-11, atol=1e-11)
    assert np.abs(outputs[1] - outputs[0]).max() > 0.1
