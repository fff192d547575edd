"""Every layer against its definition, bit for bit where integers allow it, and its bits for any number of threads."""

import hashlib
from functools import cache

import naive
import numpy as np
import pytest
from bound import Bound
from cases import CASES, DEFINITIONS, Case, is_exact

from cnncli.kernels import most_threads, set_threads
from cnncli.layers import LAYERS

EXACT_BELOW = 2**24  # integers that float32 holds: any order of adding up to here gives the same


def without_a_case(kinds, cases, definitions):
    """Those of `kinds` that the generic tests would not see."""
    covered = {case.kind for case in cases} & set(definitions)
    return sorted(set(kinds) - covered)


def test_every_layer_has_a_case():
    assert without_a_case(LAYERS, CASES, DEFINITIONS) == []


def test_the_guard_finds_a_layer_without_a_case():
    without_conv = [case for case in CASES if case.kind != "conv"]
    assert without_a_case([*LAYERS, "novel"], CASES, DEFINITIONS) == ["novel"]
    assert without_a_case(LAYERS, without_conv, DEFINITIONS) == ["conv"]
    assert without_a_case(LAYERS, CASES, {}) == sorted(LAYERS)


def test_cases_are_unlike():
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names)


def integers(generator, shape):
    return generator.integers(-3, 4, shape).astype(float)


def normals(generator, shape):
    return generator.normal(size=shape)


def kept_by_dropout(case):
    """1 where the case's dropout lets an element through."""
    bound = Bound(case, np.float32)
    bound.set(np.ones((case.images, case.channels, *case.axes)), {})
    return (bound.forward() != 0).astype(float)


@cache
def expectation(case_id):
    """(x, parameters, dy, y, dx, gradients) of a case in float64, from small integers."""
    case = BY_ID[case_id]
    bound = Bound(case, np.float64)
    x, parameters, dy = bound.random(np.random.default_rng(len(case_id)), integers)
    defined = {**parameters, "kept": kept_by_dropout(case)} if case.kind == "dropout" else parameters
    y, backward = DEFINITIONS[case.kind](case, x, defined)
    assert largest_sum(case, x, defined, dy) < EXACT_BELOW
    return x, parameters, dy, y, *backward(dy)


def largest_sum(case, x, parameters, dy):
    """A bound of every partial sum on the way: the definition with nothing negative in it."""
    y, backward = DEFINITIONS[case.kind](case, abs(x), {name: abs(value) for name, value in parameters.items()})
    dx, gradients = backward(abs(dy))
    return max(np.max(a, initial=0) for a in (y, dx, *gradients.values()))


BY_ID = {case.id: case for case in CASES}


def assert_equal(actual, wanted, exact):
    assert actual.shape == wanted.shape
    if exact:
        np.testing.assert_array_equal(actual, wanted)
    else:  # a handful of roundings of numbers up to the largest: exp, erf, 1 / count, and what cancels after them
        atol = 16 * np.finfo(actual.dtype).eps * max(1, abs(wanted).max())
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=atol)


def check(case, dtype, wider=0, relu=False, gated=False):
    x, parameters, dy, y, dx, gradients = expectation(case.id)
    bound, exact = Bound(case, dtype, wider, relu, gated), is_exact(case)
    bound.set(x, parameters)
    for _ in range(2):  # the second time from what the first left in the buffers
        assert_equal(bound.forward(), np.maximum(y, 0) if relu else y, exact)
        actual_dx, actual_gradients = bound.backward(dy)
        assert_equal(actual_dx, np.where(x > 0, dx, 0) if gated else dx, exact)
        assert actual_gradients.keys() == parameters.keys()
        for name, gradient in actual_gradients.items():
            assert_equal(gradient, gradients[name], exact)
        if bound.view:
            break
    assert bound.is_clean()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
class TestOracle:
    def test_float32(self, case):
        check(case, np.float32)

    def test_float64_in_wider_borders(self, case):
        check(case, np.float64, wider=1 + len(case.id))


FUSING = [case for case in CASES if LAYERS[case.kind].fuse_relu]
GATING = [case for case in CASES if LAYERS[case.kind].gate]


@pytest.mark.parametrize("case", FUSING, ids=lambda case: case.id)
def test_fused_relu(case):
    check(case, np.float32, wider=2 + len(case.id), relu=True)


@pytest.mark.parametrize("case", GATING, ids=lambda case: case.id)
def test_gated_gradient(case):
    check(case, np.float32, wider=3 + len(case.id), gated=True)


def digest(arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bits_do_not_depend_on_threads(case):
    bound = Bound(case, np.float32)
    x, parameters, dy = bound.random(np.random.default_rng(0), normals)
    assert most_threads() >= 4
    found = set()
    for count in (1, 2, 3, 4):
        set_threads(count)
        bound.set(x, parameters)
        y = bound.forward()
        dx, gradients = bound.backward(dy)
        found.add(digest([y, dx, *gradients.values()]))
    assert len(found) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "elu", "gelu", "sigmoid", "tanh"])
def test_activations_of_extreme_numbers(kind, dtype):
    numbers = [
        0.0,
        -0.0,
        1e-30,
        -1e-30,
        1e-3,
        -1e-3,
        20.0,
        -20.0,
        1e4,
        -1e4,
        3e38,
        -3e38,
        np.inf,
        np.nan,
        100.0,
        -100.0,
    ]
    x = np.array(numbers, dtype)
    case = Case(kind, 16, (), {}, 1)
    bound = Bound(case, dtype)
    bound.set(x[None], {})
    y, dx = bound.forward()[0], bound.backward(np.ones((1, 16)))[0][0]
    assert np.isnan(y[13])
    ordinary = np.flatnonzero(np.isfinite(x) & (abs(x) < 1e30))
    define, derive = (
        lambda v, f=f: f(float(v), 0.01 if kind == "leaky_relu" else 1.0) for f in naive.ACTIVATIONS[kind]
    )
    np.testing.assert_allclose(y[ordinary], [define(v) for v in x[ordinary]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx[ordinary], [derive(v) for v in x[ordinary]], rtol=1e-5, atol=1e-6)
    bounded = kind in ("sigmoid", "tanh")
    assert y[10] == (1 if bounded else x[10])
    assert y[12] == (1 if bounded else np.inf)
