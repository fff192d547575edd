"""exp and its kin in float32 against NumPy's in float64: how many units in the last place they are off, at most."""

import numpy as np
import pytest

from cnncli.kernels import functions
from cnncli.kernels.program import Program, kernel

NAMES = ["exp", "expm1", "tanh", "log1p", "log"]
# where its results are neither 0, nor infinite, nor without all their bits
RANGES = {"exp": (-87, 88.7), "expm1": (-87, 80), "tanh": (-10, 10), "log1p": (0, 1), "log": (1e-6, 1000)}


@kernel
def apply(first, last, y, x, which):
    for n in range(first, last):
        to, of = y[n], x[n]
        for i in range(of.shape[0]):
            if which == 0:
                to[i] = functions.exp(of[i])
            elif which == 1:
                to[i] = functions.expm1(of[i])
            elif which == 2:
                to[i] = functions.tanh(of[i])
            elif which == 3:
                to[i] = functions.log1p(of[i])
            else:
                to[i] = functions.log(of[i])


def values(name, x):
    y = np.empty_like(x)
    Program([apply.step(1, y[None], x[None], NAMES.index(name))])()
    return y


@pytest.mark.parametrize("name", NAMES)
class TestFunctions:
    def test_are_within_three_units(self, name):
        generator, (low, high) = np.random.default_rng(0), RANGES[name]
        near = 10 ** generator.uniform(-12, 0, 30000) * (generator.choice([-1, 1], 30000) if low < 0 else 1)
        x = np.concatenate([np.linspace(low, high, 200001), near]).astype(np.float32)
        wanted = getattr(np, name)(x.astype(np.float64))
        assert np.all(abs(values(name, x) - wanted) <= 3 * np.spacing(abs(wanted).astype(np.float32)))

    def test_in_float64_are_the_c_librarys(self, name):
        x = np.linspace(*RANGES[name], 1001)
        np.testing.assert_allclose(values(name, x), getattr(np, name)(x), rtol=1e-15)

    def test_let_a_nan_through(self, name):
        x = np.array([np.nan, name == "log"], np.float32)
        np.testing.assert_array_equal(values(name, x), [np.nan, name == "exp"])


def test_at_the_ends():
    infinite = np.array([-np.inf, -3e38, -200, 200, 3e38, np.inf], np.float32)
    np.testing.assert_array_equal(values("exp", infinite), [0, 0, 0, np.inf, np.inf, np.inf])
    np.testing.assert_array_equal(values("tanh", infinite), [-1, -1, -1, 1, 1, 1])
    np.testing.assert_array_equal(values("expm1", infinite[:3]), [-1, -1, -1])
    assert values("exp", np.array([-100], np.float32))[0] == pytest.approx(3.7e-44, rel=0.1)  # not flushed to 0
    wide = np.logspace(-37, 38, 76).astype(np.float32)
    np.testing.assert_allclose(values("log", wide), np.log(wide.astype(np.float64)), rtol=2e-7)
    assert np.signbit(values("tanh", np.array([-0.0], np.float32)))[0]
