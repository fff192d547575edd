"""Batches: gathered, moved, mirrored and normalised against a naive version, and the order of an epoch."""

from collections import Counter
from types import SimpleNamespace

import naive
import numpy as np
import pytest

from cnncli import spec
from cnncli.datasets.base import Split
from cnncli.datasets.batches import Feeder, Normalization, epoch_key, epoch_order
from cnncli.kernels.buffer import Arena, new_buffer
from cnncli.layers import Shape

NONE = Normalization(1.0, np.zeros(1), np.ones(1))
SIZES = [(1, 28, 28, 1), (1, 5, 7, 3), (1, 1, 9, 2), (3, 4, 5, 2)]


def images_of(size, dtype, count=40):
    generator = np.random.default_rng(3)
    if dtype == np.uint8:
        return generator.integers(0, 256, (count, *size), np.uint8)
    return generator.normal(2, 3, (count, *size)).astype(np.float32)


def split_of(size, dtype, count=40):
    return Split(images_of(size, dtype, count), np.arange(count) % 7)


def new_plan(size, images, dtype=np.float32):
    """What a feeder needs of a plan, its input with a border of unequal sides."""
    shape = Shape(size[:3], size[3], 3)
    x = new_buffer(Arena(dtype), images, shape, ((1, 0), (0, 2), (2, 1)))
    return SimpleNamespace(
        x=x, x_rows=x.row_starts, labels=np.zeros(images, np.int64), samples=np.zeros(images, np.int64)
    )


def fed(split, normalization, samples, augment=(), key=0, dtype=np.float32):
    """The plan's input after `samples` were fed to it, float64; the border must be untouched."""
    plan = new_plan(split.images.shape[1:], len(samples), dtype)
    Feeder(split, normalization, dtype, augment).fill(plan, samples, key)
    np.testing.assert_array_equal(plan.labels, split.labels[samples])
    np.testing.assert_array_equal(plan.samples, samples)
    inside = plan.x.interior.astype(np.float64)
    plan.x.interior[...] = 0
    assert not plan.x.array.any()
    return inside


@pytest.mark.parametrize("kind", ["mean_std", "none"])
@pytest.mark.parametrize("source", [np.uint8, np.float32])
@pytest.mark.parametrize("size", SIZES)
def test_gathers_and_normalizes(size, source, kind):
    split = split_of(size, source)
    normalization = Normalization.of(split, kind)
    unit = 255 if source == np.uint8 else 1
    scaled = split.images / unit
    whole = (0, 1, 2, 3)
    mean, deviation = (scaled.mean(whole), scaled.std(whole)) if kind == "mean_std" else (0, 1)
    samples = np.array([7, 0, 7, 39])
    wanted = (scaled[samples] - mean) / deviation
    np.testing.assert_allclose(fed(split, normalization, samples), wanted, rtol=1e-6, atol=2e-6)
    if source == np.uint8:
        np.testing.assert_allclose(fed(split, normalization, samples, dtype=np.float64), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("source", [np.uint8, np.float32])
def test_normalized_images_have_mean_0_and_deviation_1(source):
    split = split_of((1, 6, 5, 3), source)
    everything = fed(split, Normalization.of(split, "mean_std"), np.arange(40))
    np.testing.assert_allclose(everything.mean((0, 1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(everything.std((0, 1, 2, 3)), 1, atol=1e-6)


def test_units_are_those_of_the_field():
    """Strokes as dark and as many as in MNIST's training split have its well-known 0.1307 and 0.3081."""
    images = np.zeros((2, 1, 1, 10000, 1), np.uint8)
    images[:, :, :, :1529] = 218
    normalization = Normalization.of(Split(images, np.zeros(2, np.int64)), "mean_std")
    assert normalization.unit == 255
    np.testing.assert_allclose(normalization.mean, [0.1307], atol=1e-4)
    np.testing.assert_allclose(normalization.deviation, [0.3081], atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("numbers", [1, 150, 2**23])
def test_moments_do_not_depend_on_the_parts(monkeypatch, dtype, numbers):
    monkeypatch.setattr("cnncli.datasets.batches.PART_NUMBERS", numbers)
    images = images_of((2, 5, 4, 3), dtype)
    unit = 255 if dtype == np.uint8 else 1
    found = Normalization.of(Split(images, np.zeros(40, np.int64)), "mean_std")
    np.testing.assert_allclose(found.mean, images.mean((0, 1, 2, 3), np.float64) / unit, rtol=1e-12)
    np.testing.assert_allclose(found.deviation, images.std((0, 1, 2, 3), np.float64) / unit, rtol=1e-12)


def test_a_channel_that_never_changes_keeps_its_scale():
    images = images_of((1, 4, 4, 2), np.uint8)
    images[..., 1] = 51
    normalization = Normalization.of(Split(images, np.zeros(40, np.int64)), "mean_std")
    assert normalization.deviation[1] == 1
    everything = fed(Split(images, np.zeros(40, np.int64)), normalization, np.arange(40))
    np.testing.assert_allclose(everything[..., 1], 0, atol=1e-6)


def moves_of(shift, size, flip):
    """All (down, right, mirrored) that an augmentation may choose."""
    down = range(-shift, shift + 1) if size[1] > 1 else [0]
    mirrors = [False, True] if flip else [False]
    return [(d, r, m) for d in down for r in range(-shift, shift + 1) for m in mirrors]


AUGMENTATIONS = [(1, False), (2, True), (0, True), (9, True)]


@pytest.mark.parametrize(("shift", "flip"), AUGMENTATIONS)
@pytest.mark.parametrize("size", [(1, 5, 4, 2), (1, 1, 6, 1), (2, 3, 4, 1)])
def test_augmented_images_are_moved_and_mirrored_ones(size, shift, flip):
    """Each image is what exactly the naive version makes of one legal move."""
    split = Split(images_of(size, np.float32), np.zeros(40, np.int64))
    normalization = Normalization(1.0, np.full(size[3], 0.25), np.full(size[3], 2.0))
    augment = ([spec.Shift(pixels=shift)] if shift else []) + ([spec.Flip()] if flip else [])
    samples = np.arange(40)
    augmented = fed(split, normalization, samples, augment, key=5)
    legal, chosen = moves_of(shift, size, flip), []
    made = [naive.gather(split.images, samples, 0.5, -0.125, [move] * 40) for move in legal]
    for n, image in enumerate(augmented):
        fits = [move for move, images in zip(legal, made, strict=True) if np.allclose(images[n], image, atol=1e-5)]
        assert fits
        chosen += fits if len(fits) == 1 else []
    if shift < 3:  # a longer one leaves an empty image, which many moves explain
        assert len(chosen) == 40
        assert {right for _, right, _ in chosen} == set(range(-shift, shift + 1))
        assert {mirrored for _, _, mirrored in chosen} == ({False, True} if flip else {False})


@pytest.mark.parametrize("ignore", [None, 3])
@pytest.mark.parametrize(("shift", "flip"), [(0, False), *AUGMENTATIONS])
@pytest.mark.parametrize("size", [(1, 5, 4, 1), (1, 1, 6, 1), (2, 3, 4, 1)])
def test_labels_of_pixels_go_with_their_pixels(size, shift, flip, ignore):
    """An image that shows its own labels: what is not -1 is what the pixel shows, what came in shows nothing."""
    masks = images_of(size, np.uint8)[..., 0] % 7
    masks.reshape(-1)[::5] = 255
    images = masks[..., None].astype(np.float32) + 1
    augment = ([spec.Shift(pixels=shift)] if shift else []) + ([spec.Flip()] if flip else [])
    plan, samples = new_plan(size, 40), np.random.default_rng(0).permutation(40)
    plan.labels = np.full(masks.size, 99, np.int64)
    Feeder(Split(images, masks), NONE, np.float32, augment, ignore).fill(plan, samples, 5)
    shown = plan.x.interior.reshape(-1) - 1
    wanted = np.where((shown == -1) | (shown == 255) | (shown == ignore), -1, shown)
    np.testing.assert_array_equal(plan.labels, wanted)
    assert len(np.unique(plan.labels)) == (7 if ignore else 8)


def chosen_moves(count, key):
    """The moves (down, right, mirrored) of `count` images of one bright pixel, by where it goes."""
    images = np.zeros((count, 1, 15, 15, 1), np.uint8)
    images[:, 0, 7, 5] = 255
    split = Split(images, np.zeros(count, np.int64))
    normalization = Normalization.of(split, "none")
    augmented = fed(split, normalization, np.arange(count), [spec.Shift(pixels=1), spec.Flip()], key)
    places = np.argwhere(augmented[:, 0, :, :, 0] > 0.5)
    assert len(places) == count
    return [(h - 7, (14 - w if w > 7 else w) - 5, bool(w > 7)) for _, h, w in places.tolist()]


def test_all_moves_are_equally_likely():
    count = 3600
    found = Counter(chosen_moves(count, key=11))
    assert len(found) == 18
    assert all(abs(times - count / 18) < 5 * np.sqrt(count / 18) for times in found.values())


def test_moves_depend_on_key_and_sample_alone():
    split = split_of((1, 6, 6, 1), np.float32)
    augment, samples = [spec.Shift(pixels=2), spec.Flip()], np.array([3, 17, 30, 4])
    once = fed(split, NONE, samples, augment, key=1)
    np.testing.assert_array_equal(fed(split, NONE, samples[::-1], augment, key=1), once[::-1])
    np.testing.assert_array_equal(fed(split, NONE, samples[:1], augment, key=1), once[:1])
    assert chosen_moves(100, 1) != chosen_moves(100, 2)


class TestOrder:
    @pytest.mark.parametrize("count", [1, 2, 1000])
    def test_is_a_permutation(self, count):
        assert sorted(epoch_order(count, 3, 5)) == list(range(count))

    def test_differs_by_epoch_and_seed_alone(self):
        first = epoch_order(100, 0, 0)
        np.testing.assert_array_equal(epoch_order(100, 0, 0), first)
        orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(3) for epoch in range(3)}
        assert len(orders) == 9

    def test_keys_differ_and_repeat(self):
        keys = {epoch_key(seed, epoch) for seed in range(10) for epoch in range(10)}
        assert len(keys) == 100
        assert all(0 <= key < 2**64 for key in keys)
        assert epoch_key(4, 2) == epoch_key(4, 2)
