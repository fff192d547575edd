"""Layers that join several values, exactly: small integers, in wide borders, over gradients that hold something."""

import itertools

import naive
import numpy as np
import pytest
from bound import GuardedArena, from_buffer, is_zero_outside, to_buffer

from cnncli.kernels import set_threads
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.program import Program
from cnncli.layers import Shape
from cnncli.layers.base import Binding, Joined
from cnncli.layers.merge import Branches
from cnncli.layers.repeat import Feedback

IMAGES = 3
SIZES = [((1, 4, 5), 2), ((1, 1, 7), 1), ((2, 3, 2), 3), ((1, 1, 1), 0)]
CHANNELS = [(1, 1), (3, 16, 5), (17, 4, 8, 2), (64, 33)]


class Bound:
    """A layer bound to inputs of some channels, with or without gradients that are added to or cleared."""

    def __init__(self, layer, shapes, dtype, asked, adds, gated, relu=False):
        self.arena, generator = GuardedArena(dtype), np.random.default_rng(len(shapes))
        self.shapes, self.output = shapes, layer.output_shape(*shapes)

        def buffer(shape):
            border = generator.integers(0, 3, (3, 2)) if shape.rank else np.zeros((3, 2), int)
            return new_buffer(self.arena, IMAGES, shape, tuple((int(a), int(b)) for a, b in border))

        self.x, self.dx = ([buffer(shape) for shape in shapes] for _ in range(2))
        self.y, self.dy = buffer(self.output), buffer(self.output)
        joined = tuple(
            Joined(x, dx if ask else None, adds, gated) for x, dx, ask in zip(self.x, self.dx, asked, strict=True)
        )
        first = joined[0]
        forward, parts = layer.bind(
            Binding(
                shape=shapes[0], x=first.x, y=self.y, dx=first.dx, dy=self.dy, parameters={}, gradients={},
                arena=self.arena, samples=np.arange(IMAGES), key=np.zeros(1, np.uint64), joined=joined, relu=relu,
            )
        )  # fmt: skip
        self._forward, self._backward = Program(forward), Program([step for _, steps in parts for step in steps])

    def forward(self, xs):
        for buffer, shape, x in zip(self.x, self.shapes, xs, strict=True):
            to_buffer(buffer, shape, x)
        self.y.interior[...] = np.nan
        self.arena.poison()
        self._forward()
        return from_buffer(self.y, self.output)

    def backward(self, dy, before):
        to_buffer(self.dy, self.output, dy)
        for buffer, shape, dx in zip(self.dx, self.shapes, before, strict=True):
            to_buffer(buffer, shape, dx)
        self.arena.poison()
        self._backward()
        return [from_buffer(buffer, shape) for buffer, shape in zip(self.dx, self.shapes, strict=True)]

    def is_clean(self):
        return self.arena.intact() and all(map(is_zero_outside, (*self.x, *self.dx, self.y, self.dy)))


def branches(way, many):
    return Branches(paths=((),) * many, merge=way)


def integers(generator, shape):
    return generator.integers(-3, 4, (IMAGES, shape.channels, *shape.axes)).astype(float)


def given(shapes, output):
    """(inputs, gradient of the output, what the gradients of the inputs hold)."""
    generator = np.random.default_rng(7)
    return (
        [integers(generator, s) for s in shapes],
        integers(generator, output),
        [integers(generator, s) for s in shapes],
    )


def shapes_of(way, size, rank, channels):
    return [Shape(size, c if way == "concat" else channels[0], rank) for c in channels]


def check(layer, way, shapes, dtype, asked, adds, gated, relu=False):
    bound = Bound(layer, shapes, dtype, asked, adds, gated, relu)
    xs, dy, before = given(shapes, bound.output)
    y, backward = naive.joined(way, xs, bound.output.channels)
    wanted, _ = backward(dy)
    for _ in range(2):
        np.testing.assert_array_equal(bound.forward(xs), np.maximum(y, 0) if relu else y)
        found = bound.backward(dy, before)
        for x, dx, old, share, ask in zip(xs, found, before, wanted, asked, strict=True):
            total = (old if adds else 0) + share
            np.testing.assert_array_equal(dx, (np.where(x > 0, total, 0) if gated else total) if ask else old)
    assert bound.is_clean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("size", "rank"), SIZES)
@pytest.mark.parametrize("way", ["concat", "multiply", "max"])
def test_joined(way, size, rank, channels, dtype):
    for adds, gated in itertools.product((False, True), repeat=2):
        asked = [not gated or i % 2 == 1 for i in range(len(channels))]
        shapes = shapes_of(way, size, rank, channels)
        check(branches(way, len(channels)), way, shapes, dtype, asked, adds, gated)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("size", "rank"), SIZES)
def test_sums(size, rank, channels, relu):
    """Backward of a sum is a matter of the network."""
    shapes = shapes_of("add", size, rank, channels)
    bound = Bound(branches("add", len(channels)), shapes, np.float32, [False] * len(channels), False, False, relu)
    xs, *_ = given(shapes, bound.output)
    np.testing.assert_array_equal(bound.forward(xs), np.maximum(sum(xs), 0) if relu else sum(xs))
    assert bound.is_clean()


@pytest.mark.parametrize(("size", "rank"), SIZES)
@pytest.mark.parametrize("many", [1, 2])
def test_feedback(size, rank, many):
    """The first step has zeros where later ones have the last output."""
    shapes = [Shape(size, c, rank) for c in (3, 5)[:many]]
    check(Feedback(channels=5), "concat", shapes, np.float32, [True] * many, False, False)


@pytest.mark.parametrize("way", ["concat", "multiply", "max"])
def test_bits_do_not_depend_on_threads(way):
    shapes = shapes_of(way, (1, 40, 40), 2, (16, 32, 16))
    bound, found = Bound(branches(way, 3), shapes, np.float32, [True] * 3, True, False), set()
    generator = np.random.default_rng(1)
    xs, before = ([generator.normal(size=(IMAGES, s.channels, 40, 40)) for s in shapes] for _ in range(2))
    dy = generator.normal(size=(IMAGES, bound.output.channels, 40, 40))
    for count in (1, 2, 3, 4):
        set_threads(count)
        found.add(b"".join(a.tobytes() for a in (bound.forward(xs), *bound.backward(dy, before))))
    assert len(found) == 1


@pytest.mark.parametrize("way", ["multiply", "max"])
def test_not_a_number_is_seen(way):
    shapes = [Shape((1, 1, 1), 4, 0)] * 3
    bound = Bound(branches(way, 3), shapes, np.float32, [True] * 3, False, False)
    for i in range(3):
        xs = [np.ones((IMAGES, 4)) for _ in range(3)]
        xs[i][:] = np.nan
        assert np.isnan(bound.forward(xs)).all()
