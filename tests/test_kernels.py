"""Losses, ranks, optimisers and random words against their definitions, and numbers at the edge of what floats hold."""

import math

import naive
import numpy as np
import pytest
from bound import Bound
from cases import Case

from cnncli.kernels import elementwise, optimizers
from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.kernels.program import Program
from cnncli.layers import Shape
from cnncli.layers.losses import ERRORS, LOSSES, bind_input, bind_labels, bind_ranks, probabilities

DTYPES = [np.float32, np.float64]
NAIVE_LOSSES = {name: getattr(naive, name) for name in LOSSES}
FLAT = ((0, 0), (0, 0), (0, 0))


def loss_of(name, output, labels, smoothing=0.0):
    """(losses, doutput) of our kernel for a label a sample."""
    labels, losses, doutput = np.array(labels, np.int64), np.full(len(output), np.nan), np.full_like(output, np.nan)
    total, into = np.full(1, float(len(output))), Buffer(doutput, (1, 1, 1), output.shape[1], FLAT)
    Program(bind_labels(name, losses, into, output, labels, total, smoothing))()
    return losses, doutput


class TestLosses:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
    @pytest.mark.parametrize("name", LOSSES)
    def test_is_its_definition(self, name, smoothing, dtype):
        generator = np.random.default_rng(1)
        for images, classes in ((1, 1), (1, 10), (33, 3), (5, 100)):
            output = generator.normal(0, 3, (images, classes)).astype(dtype)
            labels = generator.integers(0, classes, images)
            losses, doutput = loss_of(name, output, labels, smoothing)
            wanted, gradient = NAIVE_LOSSES[name](output, labels, smoothing)
            tolerance = 16 * np.finfo(dtype).eps
            np.testing.assert_allclose(losses, wanted, rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(doutput, gradient / images, rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_huge_logits(self, dtype):
        logits = np.array([[-1e4, 1e4, 0], [-1e4, 1e4, 0], [-1e4] * 3, [1e4] * 3, [1e30, 0, -1e30]], dtype)
        losses, dlogits = loss_of("softmax_cross_entropy", logits, [1, 0, 2, 2, 0])
        np.testing.assert_allclose(losses, [0, 2e4, np.log(3), np.log(3), 0], rtol=1e-7)
        wanted = np.array([[0, 0, 0], [-1, 1, 0], [1 / 3, 1 / 3, -2 / 3], [1 / 3, 1 / 3, -2 / 3], [0, 0, 0]])
        np.testing.assert_allclose(dlogits, wanted / 5, rtol=1e-6)

    def test_huge_logits_with_smoothing(self):
        logits = np.array([[1e4, -1e4]], np.float32)
        losses, dlogits = loss_of("softmax_cross_entropy", logits, [0], 0.1)
        np.testing.assert_allclose(losses, [0.05 * 2e4], rtol=1e-12)
        np.testing.assert_allclose(dlogits, [[0.05, -0.05]], rtol=1e-6)

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("name", LOSSES)
    def test_a_nan_is_seen(self, name, place):
        output = np.zeros((3, 3), np.float32)
        output[1, place] = np.nan
        for label in range(3):
            losses, doutput = loss_of(name, output, [0, label, 2])
            assert np.isnan(losses[1])
            assert np.isnan(doutput[1, place])
            assert np.isfinite(losses[[0, 2]]).all()
            assert np.isfinite(doutput[[0, 2]]).all()

    def test_gradient_rows_sum_to_zero(self):
        generator = np.random.default_rng(2)
        output = generator.normal(0, 5, (20, 7))
        _, dlogits = loss_of("softmax_cross_entropy", output, generator.integers(0, 7, 20), 0.2)
        np.testing.assert_allclose(dlogits.sum(1), 0, atol=1e-15)


class TestPixelLosses:
    """A label for each pixel; the gradient's buffer has a border, which stays untouched."""

    SIZE, CLASSES, IMAGES = (2, 3, 4), 5, 3

    def bound(self, dtype):
        generator, pixels = np.random.default_rng(4), math.prod(self.SIZE)
        output = generator.normal(0, 3, (self.IMAGES, pixels * self.CLASSES)).astype(dtype)
        labels = generator.integers(-1, self.CLASSES, self.IMAGES * pixels)
        doutput = new_buffer(Arena(dtype), self.IMAGES, Shape(self.SIZE, self.CLASSES, 3), ((1, 0), (0, 2), (2, 1)))
        return output, labels, doutput

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 1.0, 3.0]])
    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    @pytest.mark.parametrize("name", LOSSES)
    def test_are_the_definition(self, name, smoothing, weights, dtype):
        if weights and name in ERRORS:
            weights = None
        output, labels, doutput = self.bound(dtype)
        losses, total = np.full(labels.size, np.nan), np.zeros(1)
        Program(bind_labels(name, losses, doutput, output, labels, total, smoothing, weights))()
        rows, counted = output.reshape(-1, self.CLASSES), labels >= 0
        more = {} if weights is None else {"weights": np.array(weights)}
        wanted, gradient = NAIVE_LOSSES[name](rows[counted], labels[counted], smoothing, **more)
        whole = np.array(weights or [1.0] * self.CLASSES)[labels[counted]].sum()
        assert total[0] == whole
        tolerance = 16 * np.finfo(dtype).eps
        np.testing.assert_allclose(losses[counted], wanted, rtol=tolerance, atol=tolerance)
        found = doutput.interior.reshape(-1, self.CLASSES)
        np.testing.assert_allclose(found[counted], gradient / whole, rtol=tolerance, atol=tolerance)
        assert not losses[~counted].any()
        assert not found[~counted].any()
        doutput.interior[...] = 0
        assert not doutput.array.any()

    def test_nothing_is_labelled(self):
        output, labels, doutput = self.bound(np.float32)
        for name in LOSSES:
            losses, total = np.full(labels.size, np.nan), np.full(1, np.nan)
            Program(bind_labels(name, losses, doutput, output, np.full_like(labels, -1), total))()
            assert total[0] == 0
            assert not losses.any()
            assert not doutput.array.any()

    def test_ranks(self):
        output, labels, _ = self.bound(np.float32)
        ranks = np.full(labels.size, 99)
        Program([bind_ranks(ranks, output, labels)])()
        rows, counted = output.reshape(-1, self.CLASSES), labels >= 0
        own = np.take_along_axis(rows, np.maximum(labels, 0)[:, None], 1)
        np.testing.assert_array_equal(ranks, np.where(counted, (rows > own).sum(1), -1))


class TestInputLosses:
    """The output against the input; both, and the gradient, may have borders of their own or be flat."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("size", "channels", "flat"), [((2, 3, 4), 3, False), ((1, 4, 5), 1, True)])
    @pytest.mark.parametrize("name", ERRORS)
    def test_are_the_definition(self, name, size, channels, flat, dtype):
        generator, images, elements = np.random.default_rng(5), 3, math.prod(size) * channels
        shape, arena = Shape(size, channels, 3), Arena(dtype)
        x = new_buffer(arena, images, shape, ((0, 1), (1, 0), (1, 2)))
        x.interior[...] = generator.random(x.interior.shape)
        output = generator.normal(0, 2, (images, elements)).astype(dtype)
        end, border = (Shape((1, 1, 1), elements, 0), FLAT) if flat else (shape, ((1, 0), (0, 2), (2, 1)))
        doutput, losses = new_buffer(arena, images, end, border), np.full(images, np.nan)
        Program(bind_input(name, losses, doutput, output, x))()
        target = x.interior.reshape(images, -1).astype(np.float64)
        difference = output.astype(np.float64) - target
        squared = difference**2, 2 * difference
        errors, slopes = squared if name == "mean_squared_error" else naive.binary_errors(output, target)
        tolerance = 16 * np.finfo(dtype).eps
        np.testing.assert_allclose(losses, errors.mean(1), rtol=tolerance)
        found = doutput.interior.reshape(images, -1)
        np.testing.assert_allclose(found, slopes / elements / images, rtol=tolerance, atol=tolerance)
        doutput.interior[...] = 0
        assert not doutput.array.any()

    def test_huge_logits(self):
        output = np.array([[1e4, -1e4, 1e4, -1e4]], np.float32)
        x = new_buffer(Arena(np.float32), 1, Shape((1, 1, 4), 1, 1), FLAT)
        x.interior[0, 0, 0, :, 0] = [1, 0, 0, 1]
        losses, doutput = np.zeros(1), new_buffer(Arena(np.float32), 1, Shape((1, 1, 4), 1, 1), FLAT)
        Program(bind_input("binary_cross_entropy", losses, doutput, output, x))()
        np.testing.assert_allclose(losses, [5000])
        np.testing.assert_array_equal(doutput.array * 4, [[0, 0, 1, -1]])


class TestProbabilities:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_softmax(self, dtype):
        logits = np.random.default_rng(3).normal(0, 4, (9, 6)).astype(dtype)
        logits[0], logits[1], logits[2] = 1e4, -1e4, [-1e4, 1e4, 0, 0, 1e4, 0]
        believed = probabilities("softmax_cross_entropy", logits)
        np.testing.assert_allclose(believed.sum(1), 1, rtol=8 * np.finfo(dtype).eps)
        np.testing.assert_allclose(believed[3:], np.exp(naive.log_softmax(logits))[3:], rtol=1e-5)
        np.testing.assert_allclose(believed[:3], [[1 / 6] * 6, [1 / 6] * 6, [0, 0.5, 0, 0, 0.5, 0]], rtol=1e-6)

    def test_a_nan_is_seen(self):
        logits = np.zeros((2, 3), np.float32)
        logits[0, 1] = np.nan
        believed = probabilities("softmax_cross_entropy", logits)
        assert np.isnan(believed[0]).all()
        assert np.isfinite(believed[1]).all()

    def test_sigmoid(self):
        logits = np.array([[0, 2, -3, 1e4, -1e4]], np.float64)
        believed = probabilities("binary_cross_entropy", logits)
        np.testing.assert_allclose(believed, [[0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3)), 1, 0]], rtol=1e-15)

    def test_of_squared_errors_are_the_output(self):
        output = np.ones((2, 3), np.float32)
        assert probabilities("mean_squared_error", output) is output


def ranks_of(output, labels):
    output, labels = np.array(output, np.float32), np.array(labels, np.int64)
    ranks = np.full(len(output), -1)
    Program([bind_ranks(ranks, output, labels)])()
    return ranks.tolist()


class TestRanks:
    def test_ties_go_to_the_lower_class(self):
        assert ranks_of([[1, 2, 2, 0]] * 4, range(4)) == [2, 0, 1, 3]
        assert ranks_of([[5, 5, 5]] * 3, range(3)) == [0, 1, 2]
        assert ranks_of([[-np.inf, -np.inf, np.inf]] * 3, range(3)) == [1, 2, 0]

    def test_a_nan_is_never_a_hit_and_above_all(self):
        assert ranks_of([[np.nan, 1, 0]] * 3, range(3)) == [3, 1, 2]
        assert ranks_of([[np.nan, np.nan]] * 2, range(2)) == [2, 2]

    def test_first_is_where_argmax_is(self):
        generator = np.random.default_rng(4)
        output, labels = generator.integers(0, 4, (200, 6)), generator.integers(0, 6, 200)
        ranks = np.array(ranks_of(output, labels))
        np.testing.assert_array_equal(ranks == 0, output.argmax(1) == labels)
        order = np.argsort(-output, 1, kind="stable")
        np.testing.assert_array_equal(ranks, (order == labels[:, None]).argmax(1))


SIZE = 2 * optimizers.SLICE + 100
DECAY = 0.05
DECAYED = [0, 16, optimizers.SLICE, optimizers.SLICE + 48, SIZE]


def run(rule, w, g, slots, rates, *options):
    """One update by one of the rules; returns for each task whether it found its gradients finite."""
    tasks = optimizers.tasks(w.size)
    finite = np.ones(tasks, w.dtype)
    Program([rule.step(tasks, w, g, *slots, finite, np.array(rates), *options)])()
    return finite == 0


def check_optimizer(step, define, dtype, decayed):
    """5 steps of random gradients: `step(w, g, slots, number)` against `define(w, gradients, decay)`."""
    generator = np.random.default_rng(5)
    w, gradients = generator.normal(size=SIZE).astype(dtype), generator.normal(size=(5, SIZE)).astype(dtype)
    start, slots = w.astype(np.float64), np.zeros((2, SIZE), dtype)
    with_decay, without = (define(start, gradients.astype(np.float64), decay) for decay in (DECAY, 0.0))
    wanted = np.where(np.arange(SIZE) < decayed, with_decay, without)
    for number, g in enumerate(gradients, 1):
        step(w, g, slots, number)
    tolerance = 64 * np.finfo(dtype).eps  # 5 steps of a handful of roundings
    np.testing.assert_allclose(w, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decayed", DECAYED)
class TestOptimizers:
    @pytest.mark.parametrize("decoupled", [False, True])
    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
    def test_sgd(self, dtype, decayed, momentum, nesterov, decoupled):
        def step(w, g, slots, number):
            run(optimizers.sgd, w, g, slots[:1], [0.1], momentum, nesterov, DECAY, decoupled, decayed)

        def define(w, gradients, decay):
            return naive.sgd(w, gradients, 0.1, momentum, nesterov, decay, decoupled)

        check_optimizer(step, define, dtype, decayed)

    @pytest.mark.parametrize("decoupled", [False, True])
    def test_adam(self, dtype, decayed, decoupled):
        def step(w, g, slots, number):
            rates = [0.01, *optimizers.corrections((0.8, 0.95), number)]
            run(optimizers.adam, w, g, slots, rates, 0.8, 0.95, 1e-3, DECAY, decoupled, decayed)

        def define(w, gradients, decay):
            return naive.adam(w, gradients, 0.01, (0.8, 0.95), 1e-3, decay, decoupled)

        check_optimizer(step, define, dtype, decayed)

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_rmsprop(self, dtype, decayed, momentum):
        def step(w, g, slots, number):
            run(optimizers.rmsprop, w, g, slots, [0.01], 0.9, momentum, 1e-3, DECAY, decayed)

        def define(w, gradients, decay):
            return naive.rmsprop(w, gradients, 0.01, 0.9, momentum, 1e-3, decay)

        check_optimizer(step, define, dtype, decayed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", ["sgd", "adam", "rmsprop"])
def test_optimizers_find_what_is_not_finite_in_every_place(rule, value, dtype):
    options = {
        "sgd": (1, [0.1], 0.9, False, DECAY, False, SIZE),
        "adam": (2, [0.1, 1, 1], 0.9, 0.999, 1e-8, DECAY, False, SIZE),
        "rmsprop": (2, [0.1], 0.9, 0.0, 1e-8, DECAY, SIZE),
    }
    slots, rates, *rest = options[rule]
    large = np.finfo(dtype).max
    for place in (*range(0, SIZE, 97), *range(optimizers.SLICE - 40, optimizers.SLICE + 40), SIZE - 1):
        g = np.full(SIZE, -large / SIZE, dtype)
        g[place] = value
        found = run(getattr(optimizers, rule), np.zeros(SIZE, dtype), g, np.zeros((slots, SIZE), dtype), rates, *rest)
        assert found.tolist() == [task != place // optimizers.SLICE for task in range(3)]


def test_random_words_are_splitmix64():
    """The first numbers of the generator from seed 1234567, as its authors' program and others print them."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    with np.errstate(over="ignore"):
        mix = getattr(elementwise.mix, "py_func", elementwise.mix)  # with NUMBA_DISABLE_JIT=1 it is the function itself
        mixed = [int(mix(np.uint64(1234567), np.uint64(i))) for i in range(1, 6)]
    assert mixed == known


def mask(samples, key=1, channels=8, axes=(6, 6), rate=0.3, **options):
    """(images, ...) where the dropout lets elements through."""
    bound = Bound(Case("dropout", channels, axes, {"rate": rate, **options}, len(samples)), np.float32)
    bound.samples[:], bound.key[0] = samples, key
    bound.set(np.ones((len(samples), channels, *axes)), {})
    kept = bound.forward() != 0
    np.testing.assert_array_equal(bound.backward(np.ones(kept.shape))[0] != 0, kept)
    return kept


class TestDropoutMask:
    @pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
    def test_drops_so_many(self, rate):
        kept = mask(np.arange(200), rate=rate)
        deviation = np.sqrt(rate * (1 - rate) / kept.size)
        assert abs(kept.mean() - (1 - rate)) < 4 * deviation
        of_element = np.sqrt(rate * (1 - rate) / 200)
        assert np.all(abs(kept.mean(0) - (1 - rate)) < 5 * of_element)  # at each place too

    def test_depends_on_the_sample_and_not_on_its_place(self):
        samples = np.array([4, 9, 2, 123456])
        kept = mask(samples)
        np.testing.assert_array_equal(mask(samples[::-1]), kept[::-1])
        np.testing.assert_array_equal(mask(samples[1:2]), kept[1:2])
        assert len({image.tobytes() for image in kept}) == len(samples)

    def test_depends_on_the_key(self):
        agreement = (mask([7] * 1, key=1, axes=(20, 20)) == mask([7], key=2, axes=(20, 20))).mean()
        assert abs(agreement - (0.7**2 + 0.3**2)) < 0.05


class TestSpatialDropoutMask:
    def test_drops_whole_channels_and_so_many(self):
        kept = mask(np.arange(400), channels=20, axes=(2, 3), spatial=True)
        of_channel = kept[:, :, :1, :1]
        np.testing.assert_array_equal(kept, np.broadcast_to(of_channel, kept.shape))
        assert abs(of_channel.mean() - 0.7) < 4 * np.sqrt(0.3 * 0.7 / of_channel.size)
        assert np.all(abs(of_channel.mean(0) - 0.7) < 5 * np.sqrt(0.3 * 0.7 / 400))

    def test_depends_on_the_sample_and_the_key(self):
        samples = np.array([4, 9, 2, 123456])
        kept = mask(samples, channels=40, spatial=True)
        np.testing.assert_array_equal(mask(samples[::-1], channels=40, spatial=True), kept[::-1])
        assert len({image.tobytes() for image in kept}) == len(samples)
        assert (mask(samples, key=2, channels=40, spatial=True) != kept).any()


@pytest.mark.parametrize("place", [0, 4, 8])
def test_max_pool_lets_a_nan_through(place):
    bound = Bound(Case("max_pool", 3, (3, 3), {"size": 3}, 1), np.float32)
    x = np.arange(27.0).reshape(1, 3, 3, 3)
    x[0, 1].flat[place] = np.nan
    x[0, 1].flat[(place + 1) % 9] = np.inf
    bound.set(x, {})
    y = bound.forward().ravel()
    assert np.isnan(y[1])
    np.testing.assert_array_equal(y[[0, 2]], [8, 26])
    dx, _ = bound.backward(np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1))
    assert np.flatnonzero(dx).tolist() == [8, 9 + place, 26]


def test_max_pool_of_several_nans():
    """The last of them is the maximum, as in PyTorch."""
    bound = Bound(Case("max_pool", 1, (6,), {"size": 6}, 1), np.float32)
    bound.set(np.array([[[np.inf, np.nan, 3, np.nan, np.inf, 9]]]), {})
    assert np.isnan(bound.forward()).all()
    assert np.flatnonzero(bound.backward(np.ones((1, 1, 1)))[0]).tolist() == [3]


def test_max_pool_of_what_is_lowest():
    bound = Bound(Case("max_pool", 1, (4,), {"size": 2, "padding": 1, "stride": 2}, 1), np.float32)
    bound.set(np.array([[[-np.inf, -3e38, -5.0, -5.0]]]), {})
    np.testing.assert_array_equal(bound.forward().ravel(), np.float32([-np.inf, -5, -5]))


@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_fused_relu_lets_a_nan_through(kind):
    options = {"filters": 20, "kernel": 1} if kind == "conv" else {"units": 20}
    bound = Bound(Case(kind, 2, (1, 2) if kind == "conv" else (), options, 2), np.float32, relu=True)
    x, parameters, _ = bound.random(np.random.default_rng(0), lambda generator, shape: np.ones(shape))
    x[1] = np.nan
    bound.set(x, parameters)
    y = bound.forward()
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[0], 3)
