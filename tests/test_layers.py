"""Every layer against its definition, bit for bit where integers allow it, and its bits for any number of threads."""

import hashlib
from functools import cache

import naive
import networks
import numpy as np
import pytest
from bound import Bound
from cases import CASES, DEFINITIONS, Case, is_exact
from rounding import handful, tolerances

from cnncli.kernels import most_threads, set_threads
from cnncli.layers import LAYERS

GRAPHS = ["branches", "merge", "recurrent", "repeat", "residual", "unpool"]
EXACT_BELOW = 2**24  # integers that float32 holds: any order of adding up to here gives the same


def without_a_case(kinds, cases, definitions, names):
    """Those of `kinds` that the generic tests would not see: a layer that reads several is a matter of networks."""
    covered = {case.kind for case in cases} & set(definitions)
    read = {kind for kind in GRAPHS if any(f"{kind}: " in networks.NETWORKS[name][2] for name in names)}
    return sorted(set(kinds) - covered - read)


def test_every_layer_has_a_case():
    assert without_a_case(LAYERS, CASES, DEFINITIONS, networks.NETWORKS) == []


def test_the_guard_finds_a_layer_without_a_case():
    names, without_conv = networks.NETWORKS, [case for case in CASES if case.kind != "conv"]
    assert without_a_case([*LAYERS, "novel"], CASES, DEFINITIONS, names) == ["novel"]
    assert without_a_case(LAYERS, without_conv, DEFINITIONS, names) == ["conv"]
    assert without_a_case(LAYERS, CASES, {}, names) == sorted(set(LAYERS) - set(GRAPHS))
    assert without_a_case(LAYERS, CASES, DEFINITIONS, ["lenet"]) == GRAPHS


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


def assert_equal(actual, wanted, exact, tolerance=None):
    assert actual.shape == wanted.shape
    if exact:
        np.testing.assert_array_equal(actual, wanted)
    else:
        assert np.all(abs(actual - wanted) <= (handful(wanted, actual.dtype) if tolerance is None else tolerance))


def check(case, dtype, wider=0, **asked):
    """`asked`: what the layer is to do besides, by the names of its binding."""
    x, parameters, dy, y, dx, gradients = expectation(case.id)
    bound, exact = Bound(case, dtype, wider, **asked), is_exact(case)
    off = tolerances(case, x, parameters, dy, dtype)
    generator = np.random.default_rng(wider)
    other, before = (
        integers(generator, a.shape) if asked.get(what) else None for what, a in (("added", y), ("adds", x))
    )
    y = y if other is None else y + other
    y = np.maximum(y, 0) if asked.get("relu") else y
    dx = dx if before is None else dx + before
    dx = np.where(x > 0, dx, 0) if asked.get("gated") else dx
    bound.set(x, parameters)
    for _ in range(2):  # the second time from what the first left in the buffers
        assert_equal(bound.forward(other), y, exact, off.get("y"))
        actual_dx, actual_gradients = bound.backward(dy, before)
        assert_equal(actual_dx, dx, exact, off.get("x"))
        assert actual_gradients.keys() == bound.learned.keys()
        for name, gradient in actual_gradients.items():
            assert_equal(gradient, gradients[name], exact, off.get(name))
        if bound.view:
            break
    assert bound.is_clean()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
class TestOracle:
    def test_float32(self, case):
        check(case, np.float32)

    def test_float64_in_wider_borders(self, case):
        check(case, np.float64, wider=1 + len(case.id))


def able(*what):
    """The cases whose layer can do all of that."""
    return [case for case in CASES if all(getattr(LAYERS[case.kind], flag) for flag in what)]


@pytest.mark.parametrize("case", able("fuse_relu"), ids=lambda case: case.id)
def test_fused_relu(case):
    check(case, np.float32, wider=2 + len(case.id), relu=True)


@pytest.mark.parametrize("case", able("gate"), ids=lambda case: case.id)
def test_gated_gradient(case):
    check(case, np.float32, wider=3 + len(case.id), gated=True)


@pytest.mark.parametrize("case", able("fuse_add"), ids=lambda case: case.id)
def test_fused_addition(case):
    check(case, np.float32, wider=4 + len(case.id), added=True)


@pytest.mark.parametrize("case", able("fuse_add", "fuse_relu"), ids=lambda case: case.id)
def test_fused_addition_with_relu(case):
    check(case, np.float32, wider=5 + len(case.id), added=True, relu=True)


@pytest.mark.parametrize("case", able("accumulate"), ids=lambda case: case.id)
def test_gradient_added_to_anothers(case):
    check(case, np.float32, wider=6 + len(case.id), adds=True)


@pytest.mark.parametrize("case", able("accumulate", "gate"), ids=lambda case: case.id)
def test_gated_gradient_added_to_anothers(case):
    check(case, np.float32, wider=7 + len(case.id), adds=True, gated=True)


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
@pytest.mark.parametrize("kind", naive.ACTIVATIONS)
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
    most = {"sigmoid": 1, "tanh": 1, "relu6": 6, "scaled_tanh": dtype(1.7159)}
    assert y[10] == most.get(kind, x[10])
    assert y[12] == most.get(kind, np.inf)
