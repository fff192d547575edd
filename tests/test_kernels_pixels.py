"""Convolution over pixels, plain and pooled, and its weight gradient from winners, against their definitions."""

import itertools

import naive
import numpy as np
import pytest
from bound import GuardedArena, from_buffer, is_zero_outside, to_buffer

from cnncli.kernels import pixel_convolution, pixels, set_threads
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.convolution import Convolution
from cnncli.kernels.program import Program
from cnncli.layers import LAYERS
from cnncli.layers.base import Shape, window_axes

# channels, size, kernel, padding, stride along the height; widths around one, two and three vectors
CASES = [
    (6, (28, 28), 5, "same", 1, 3),
    (1, (4, 33), 3, "same", 1, 2),
    (2, (5, 20), [2, 3], "valid", 1, 2),
    (3, (7, 37), 3, [[2, 0], [0, 1]], 1, 1),
    (4, (6, 70), [1, 5], "full", 1, 2),
    (5, (9, 29), [4, 1], "valid", 1, 2),
    (7, (11, 26), 7, "same", 2, 2),
    (8, (8, 24), 5, "valid", 1, 5),
    (8, (6, 48), 1, "valid", 3, 40),
]


class Bound:
    """Buffers with borders of their own for one case, with small integers in them."""

    def __init__(self, case, dtype, pooled, seed=0):
        self.channels, size, kernel, padding, stride, self.images = case
        shape, generator = Shape((1, *size), 1, 2), np.random.default_rng(seed)
        self.axes = window_axes(shape, kernel, [stride, 1], 1, padding)
        self.convolution = Convolution(self.axes, 1, self.channels)
        out = tuple(axis.out for axis in self.axes)
        self.out = Shape((1, out[1] // 2, out[2] // 2) if pooled else out, self.channels, 2)
        self.arena = GuardedArena(dtype)
        self.x = new_buffer(self.arena, self.images, shape, self.convolution.around)
        self.y, self.dy = (new_buffer(self.arena, self.images, self.out, ((0, 0), (1, seed), (2, 1))) for _ in range(2))
        self.arg = self.arena.take((self.images, self.out.elements), np.int32)
        taps = tuple(axis.kernel for axis in self.axes[1:])
        self.w, self.b = self.arena.take((np.prod(taps) * self.channels,)), self.arena.take((self.channels,))
        self.w[:], self.b[:] = generator.integers(-2, 3, self.w.shape), generator.integers(-3, 4, self.channels)
        to_buffer(self.x, shape, generator.integers(-2, 3, (self.images, 1, *size)))
        self.values = from_buffer(self.x, shape).astype(np.float64)
        self.file_w = self.w.astype(np.float64).reshape(*taps, 1, self.channels).transpose(3, 2, 0, 1)
        self.geometry = [axis.stride for axis in self.axes[1:]], self._padding(), [1, 1]

    def _padding(self):
        return [(a.before, max(0, (a.out - 1) * a.stride + a.kernel - a.size - a.before)) for a in self.axes[1:]]

    def expected(self):
        return naive.convolution(self.values, self.file_w, self.b.astype(np.float64), *self.geometry)

    def is_clean(self):
        return self.arena.intact() and all(is_zero_outside(buffer) for buffer in (self.x, self.y, self.dy))

    def pool(self, relu, arg=True):
        plan = pixel_convolution.plan_pooled
        run(plan(self.convolution, self.y, self.arg if arg else None, self.x, self.w, self.b, relu))
        return from_buffer(self.y, self.out)


def run(steps):
    Program(steps)()


both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_case = pytest.mark.parametrize("case", CASES, ids=str)


@both_types
@each_case
@pytest.mark.parametrize("relu", [False, True])
def test_convolution(case, dtype, relu):
    bound, expected = Bound(case, dtype, pooled=False), None
    assert pixel_convolution.suits(bound.convolution)
    run(pixel_convolution.plan_forward(bound.convolution, bound.y, bound.x, bound.w, bound.b, relu))
    expected = bound.expected()
    np.testing.assert_array_equal(from_buffer(bound.y, bound.out), np.maximum(expected, 0) if relu else expected)
    assert bound.is_clean()


def test_other_numbers_of_axes():
    """A row, and a volume with strides."""
    for size, kernel, stride in (((1, 1, 40), (1, 1, 5), (1, 1)), ((5, 6, 35), (2, 3, 3), (2, 1))):
        layer = LAYERS["conv"](filters=3, kernel=list(kernel), stride=[*stride, 1])
        shape, arena, generator = Shape(size, 1, 3), GuardedArena(np.float32), np.random.default_rng(3)
        out, axes = layer.output_shape(shape), window_axes(shape, list(kernel), [*stride, 1], 1, "valid")
        x, y = (new_buffer(arena, 2, of, ((0, 0),) * 3) for of in (shape, out))
        x.interior[...] = generator.integers(-2, 3, x.interior.shape)
        w, b = generator.integers(-2, 3, (*kernel, 1, 3)).astype(np.float32), np.zeros(3, np.float32)
        run(pixel_convolution.plan_forward(Convolution(axes, 1, 3), y, x, w, b, False))
        file_w = w.transpose(4, 3, 0, 1, 2)
        expected = naive.convolution(from_buffer(x, shape), file_w, None, [*stride, 1], [(0, 0)] * 3, [1] * 3)
        np.testing.assert_array_equal(from_buffer(y, out), expected)
        assert arena.intact()


@both_types
@each_case
@pytest.mark.parametrize("relu", [False, True])
def test_pooled(case, dtype, relu):
    """Small integers are often equal: the first tap of a window counts, of what was before relu."""
    bound = Bound(case, dtype, pooled=True)
    expected, chosen = naive.max_pool(bound.expected(), [2, 2], [2, 2], [(0, 0)] * 2, [1, 1])
    expected = np.maximum(expected, 0) if relu else expected
    np.testing.assert_array_equal(bound.pool(relu), expected)
    for n, c, h, w in itertools.product(*map(range, expected.shape)):
        place = (h * bound.out.size[2] + w) * bound.channels + c
        assert bound.arg[n, place] == (chosen[n, c, h, w][2] - 2 * h) * 2 + chosen[n, c, h, w][3] - 2 * w
    bound.y.interior[...] = np.nan
    np.testing.assert_array_equal(bound.pool(relu, arg=False), expected)
    assert bound.is_clean()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("pixel", [(0, 0), (1, 1), (2, 3), (3, 2)])
def test_a_nan_is_the_maximum(pixel, relu):
    """In a kernel of one tap each pixel is one of the map."""
    bound = Bound((3, (4, 20), 1, "valid", 1, 1), np.float32, pooled=True)
    bound.w[:], bound.x.interior[0, 0, *pixel] = 1, np.nan
    bound.x.interior[0, 0, pixel[0] ^ 1, pixel[1]] = np.inf
    y = bound.pool(relu)
    assert np.isnan(y[0, :, pixel[0] // 2, pixel[1] // 2]).all()
    assert np.isfinite(y).sum() == y.size - 3
    place = (pixel[0] // 2 * 10 + pixel[1] // 2) * 3
    assert (bound.arg[0, place : place + 3] == pixel[0] % 2 * 2 + pixel[1] % 2).all()


@both_types
@each_case
@pytest.mark.parametrize("gated", [False, True])
def test_weight_gradient(case, dtype, gated):
    bound, generator = Bound(case, dtype, pooled=True, seed=1), np.random.default_rng(7)
    pooled, chosen = naive.max_pool(full := bound.expected(), [2, 2], [2, 2], [(0, 0)] * 2, [1, 1])
    bound.pool(relu=True)
    dy = generator.integers(-2, 3, pooled.shape).astype(np.float64)
    to_buffer(bound.dy, bound.out, dy)
    of_map = naive.max_pool_gradient(np.where(pooled > 0, dy, 0) if gated else dy, full, chosen)
    _, dw, db = naive.convolution_gradients(of_map, bound.values, bound.file_w, *bound.geometry)
    got_w, got_b = np.full_like(bound.w, np.nan), np.full_like(bound.b, np.nan)
    plan, gate = pixel_convolution.plan_pooled_weight_gradient, bound.y if gated else None
    steps = plan(bound.convolution, got_w, got_b, bound.x, bound.dy, bound.arg, gate, bound.arena)
    for _ in range(2):
        run(steps)
        np.testing.assert_array_equal(got_w.reshape(-1, bound.channels), dw.reshape(bound.channels, -1).T)
        np.testing.assert_array_equal(got_b, db)
    assert bound.is_clean()


def test_bits_do_not_depend_on_threads():
    found = []
    for threads in (1, 2, 3, 4):
        set_threads(threads)
        bound, generator = Bound((6, (12, 28), 5, "same", 1, 37), np.float32, pooled=True), np.random.default_rng(9)
        bound.x.interior[...], bound.w[:] = generator.normal(size=bound.x.interior.shape), 0.1
        bound.dy.interior[...] = generator.normal(size=bound.dy.interior.shape)
        dw, db = np.empty_like(bound.w), np.empty_like(bound.b)
        y = bound.pool(relu=True)
        plan = pixel_convolution.plan_pooled_weight_gradient
        run(plan(bound.convolution, dw, db, bound.x, bound.dy, bound.arg, bound.y, bound.arena))
        found.append((y.tobytes(), dw.tobytes(), db.tobytes()))
    assert len(set(found)) == 1


def test_tables_are_checked():
    bound = Bound(CASES[0], np.float32, pooled=True)
    bare = new_buffer(bound.arena, bound.images, Shape((1, 28, 28), 1, 2), ((0, 0),) * 3)
    small = new_buffer(bound.arena, bound.images, Shape((1, 7, 14), 6, 2), ((0, 0),) * 3)
    for y, x, w, b in (
        (bound.y, bare, bound.w, bound.b),
        (small, bound.x, bound.w, bound.b),
        (bound.y, bound.x, bound.w[:-1], bound.b),
        (bound.y, bound.x, bound.w, bound.b[:-1]),
    ):
        with pytest.raises(IndexError, match="leave an array"):
            pixel_convolution.plan_pooled(bound.convolution, y, bound.arg, x, w, b, True)


def test_what_it_does_not_suit():
    def convolution(filters, size, channels=1, **options):
        shape = Shape((1, *size), channels, 2)
        return LAYERS["conv"](filters=filters, **options)._convolution(shape)

    lanes = pixels.lanes(4)
    assert pixel_convolution.suits(convolution(6, (9, lanes + 1), kernel=5, padding="same"))
    for unfit in (
        convolution(16, (9, lanes + 1), padding="same"),
        convolution(6, (9, lanes), padding="same"),
        convolution(6, (9, 99), stride=[1, 2]),
        convolution(6, (9, 99), channels=3),
    ):
        assert not pixel_convolution.suits(unfit)
