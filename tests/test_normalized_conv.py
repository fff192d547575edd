"""A convolution over normalised windows: what it does not see, what it finds, what it is to the neocognitron."""

import numpy as np
import pytest
from bound import Bound
from cases import Case

from cnncli.layers.initializers import initializer

GENERATOR = np.random.default_rng


def outputs(x, weight, bias=None, **options):
    """What the layer makes of x (images, channels, height, width), in float64."""
    case = Case("normalized_conv", x.shape[1], x.shape[2:], {"filters": len(weight), **options}, len(x))
    bound = Bound(case, np.float64)
    bound.set(x, {"weight": weight, "bias": np.zeros(len(weight)) if bias is None else bias})
    return bound.forward()


@pytest.mark.parametrize(("center", "brightness"), [(True, 5.0), (False, 0.0)])
def test_brightness_and_contrast_change_nothing(center, brightness):
    x, weight = GENERATOR(0).normal(size=(2, 3, 6, 7)), GENERATOR(1).normal(size=(4, 3, 3, 3))
    plain = outputs(x, weight, center=center, eps=1e-12)
    np.testing.assert_allclose(outputs(3 * x + brightness, weight, center=center, eps=1e-12), plain, rtol=1e-6)


def test_one_colour_is_like_nothing():
    bias = np.array([1.0, -2.0])
    y = outputs(np.full((1, 2, 4, 4), 7.0), GENERATOR(1).normal(size=(2, 2, 3, 3)), bias)
    np.testing.assert_allclose(y, np.broadcast_to(bias[:, None, None], y.shape), atol=1e-9)


def test_it_finds_a_template():
    """Of a normalised template over the number of its elements the output is the correlation: 1 where it lies."""
    x = GENERATOR(2).normal(size=(1, 1, 9, 8))
    template = x[0, 0, 4:7, 2:5]
    weight = ((template - template.mean()) / template.std() / template.size)[None, None]
    y = outputs(x * 0.1 + 40, weight, eps=1e-12)[0, 0]
    for i, j in np.ndindex(y.shape):
        wanted = np.corrcoef(template.ravel(), x[0, 0, i : i + 3, j : j + 3].ravel())[0, 1]
        assert abs(y[i, j] - wanted) < 1e-6
    assert np.unravel_index(y.argmax(), y.shape) == (4, 2)
    assert abs(y[4, 2] - 1) < 1e-6


def test_filters_of_s_cells_give_resemblance_above_the_threshold():
    """(cosine - threshold) / (1 - threshold) or 0, whatever the strength of the input (Fukushima 2003)."""
    x = abs(GENERATOR(3).normal(size=(1, 2, 5, 5)))
    windows = np.array([x[0, :, i : i + 3, j : j + 3].ravel() for i in range(3) for j in range(3)])
    learned = initializer({"winner_take_all": {"threshold": 0.6, "learning_threshold": 0.99}})
    weights, biases = learned.learn(windows[[4, 7]], 2, GENERATOR(0))
    for strength in (1, 20):
        options = {"center": False, "eps": 1e-12}
        y = np.maximum(outputs(strength * x, weights.reshape(2, 2, 3, 3), biases, **options), 0).reshape(2, 9)
        for cell, seen in enumerate((4, 7)):
            lengths = np.linalg.norm(windows[seen]) * np.linalg.norm(windows, axis=1)
            wanted = np.maximum((windows @ windows[seen] / lengths - 0.6) / 0.4, 0)
            np.testing.assert_allclose(y[cell], wanted, atol=1e-6)
            assert abs(y[cell, seen] - 1) < 1e-6


def test_a_large_brightness_takes_no_digits():
    x, weight = GENERATOR(4).normal(size=(1, 2, 6, 6)), GENERATOR(5).normal(size=(3, 2, 3, 3))
    bright = (x + 1000).astype(np.float32)
    case = Case("normalized_conv", 2, (6, 6), {"filters": 3}, 1)
    bound = Bound(case, np.float32)
    bound.set(bright, {"weight": weight, "bias": np.zeros(3)})
    wanted = outputs(bright.astype(float), weight)
    assert abs(bound.forward() - wanted).max() < 0.01  # of float32's sums of 1000s: 18 * 1000 * 6e-8 and more
