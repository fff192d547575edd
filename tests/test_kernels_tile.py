"""The compiled tile against its definition in NumPy, which is the same function called outside compiled code."""

import numpy as np
import pytest
from numba import njit

from cnncli.kernels.tile import (
    ACCUMULATE,
    ACCUMULATE_GATE,
    ADD,
    ADD_RELU,
    APART,
    BIAS,
    BIAS_RELU,
    GATE,
    NARROW,
    PANEL,
    SINGLE,
    STORE,
    STRIDED,
    VARIANTS,
    WIDE,
    lanes,
    tile,
    variant,
)

SENTINEL = 77.0
OPS = [STORE, ACCUMULATE, BIAS, BIAS_RELU, GATE, ADD, ADD_RELU, ACCUMULATE_GATE]


@njit
def compiled(like, which, a, b, count, y, epilogue):
    tile(like, which, a, b, count, y, epilogue)


class Problem:
    """Random operands, addresses and sizes of one call. NaN lies behind every array: it may be read, not used."""

    def __init__(self, generator, dtype, kind, mode, rows, tail, op, outer, inner):
        vector = lanes(kind, np.dtype(dtype).itemsize)
        self.which, self.columns = variant(kind, mode, rows), (vector if kind == WIDE else 0) + tail
        self.tail, self.op, self.outer, self.inner = tail, op, outer, inner
        self.a_step, self.b_step = int(generator.integers(1, 4)), self.columns + int(generator.integers(0, 4))
        self.a_rows = self._rows(generator, rows, mode)
        self.a_outer, self.b_outer = generator.integers(0, 30, outer), generator.integers(0, 30, outer)
        # results lie in any order, with gaps; only those that are added may overlap
        distance = int(generator.integers(1, self.columns + 4)) if op == ACCUMULATE else self.columns + 3
        self.y_rows = generator.permutation(rows) * distance + 2
        self.gate_rows = generator.integers(0, 50, rows)
        a_size = int(self.a_rows.max() + self.a_outer.max(initial=0) + inner * self.a_step)
        b_size = int(self.b_outer.max(initial=0) + inner * self.b_step)
        self.a, self.b = self._integers(generator, dtype, a_size), self._integers(generator, dtype, b_size)
        self.bias, self.gate = self._integers(generator, dtype, self.columns), self._integers(generator, dtype, 150)
        self.y = np.full(rows * (self.columns + 3) + 2, SENTINEL, dtype)

    @staticmethod
    def _rows(generator, rows, mode):
        if mode == STRIDED:
            return 3 + np.arange(rows) * int(generator.integers(1, 9))
        run = rows if mode == PANEL else max(1, mode)  # TABLE: runs of one
        return np.repeat(generator.integers(0, 60, rows // run), run) + np.arange(rows) % run

    @staticmethod
    def _integers(generator, dtype, size):
        whole = np.full(size + 32, np.nan, dtype)
        whole[:size] = generator.integers(-3, 4, size)
        return whole

    def run(self, function):
        """y after the call, all of it."""
        y, table = self.y.copy(), [np.ascontiguousarray(t, np.int64) for t in self._tables()]
        a_rows, a_outer, b_outer, y_rows, gate_rows = (t.ctypes.data for t in table)
        function(
            y,
            self.which,
            (self.a.ctypes.data, a_rows, a_outer, self.a_step),
            (self.b.ctypes.data, b_outer, self.b_step),
            (self.outer, self.inner),
            (y.ctypes.data, y_rows, self.tail),
            (self.bias.ctypes.data, self.gate.ctypes.data, gate_rows, self.op),
        )
        return y

    def _tables(self):
        return self.a_rows, self.a_outer, self.b_outer, self.y_rows, self.gate_rows

    def expected(self):
        """The sums from their definition, element by element."""
        y = self.y.copy()
        for row, place in enumerate(self.y_rows):
            for c in range(self.columns):
                total = 0.0
                for a_start, b_start in zip(self.a_outer, self.b_outer, strict=True):
                    for k in range(self.inner):
                        here = self.a[self.a_rows[row] + a_start + k * self.a_step]
                        total += here * self.b[b_start + k * self.b_step + c]
                gate, bias, before = self.gate[self.gate_rows[row] + c], self.bias[c], y[place + c]
                results = {
                    STORE: total,
                    ACCUMULATE: before + total,
                    BIAS: total + bias,
                    BIAS_RELU: max(total + bias, 0),
                    GATE: total if gate > 0 else 0,
                    ADD: total + bias + gate,
                    ADD_RELU: max(total + bias + gate, 0),
                    ACCUMULATE_GATE: before + total if gate > 0 else 0,
                }
                y[place + c] = results[self.op]
        return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [NARROW, SINGLE, WIDE])
def test_every_variant_is_its_definition(kind, dtype):
    generator = np.random.default_rng(kind)
    for of, mode, rows in VARIANTS:
        if of != kind or mode == APART:
            continue
        for op in OPS:
            for tail in range(1, lanes(kind, np.dtype(dtype).itemsize) + 1):
                outer, inner = (int(n) for n in generator.integers(1, 4, 2))
                problem = Problem(generator, dtype, kind, mode, rows, tail, op, outer, inner)
                np.testing.assert_array_equal(problem.run(compiled), problem.run(tile))


@pytest.mark.parametrize("function", [compiled, tile])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_turns_apart_are_products_of_their_own(function, dtype):
    generator, inner, zero = np.random.default_rng(0), 3, np.zeros(1, np.int64)
    for kind, rows in ((kind, rows) for kind, mode, rows in VARIANTS if mode == APART):
        vector = lanes(kind, np.dtype(dtype).itemsize)
        for tail in (1, vector - 1, vector):
            columns = (vector if kind == WIDE else 0) + tail
            a, b = generator.integers(-3, 4, (4, rows, inner)), generator.integers(-3, 4, (4, inner, columns))
            behind = np.full(32, np.nan)  # may be read, not used
            of_a, of_b = (np.concatenate([values.ravel(), behind]).astype(dtype) for values in (a, b))
            y = np.full((4, rows, columns + 1), SENTINEL, dtype)
            a_rows, y_rows = np.arange(rows) * inner, np.arange(rows) * (columns + 1)
            function(
                y,
                variant(kind, APART, rows),
                (of_a.ctypes.data, a_rows.ctypes.data, zero.ctypes.data, 1),
                (of_b.ctypes.data, zero.ctypes.data, columns),
                (len(y), inner),
                (y.ctypes.data, y_rows.ctypes.data, tail),
                (rows * inner, inner * columns, rows * (columns + 1), STORE),
            )
            np.testing.assert_array_equal(y[..., :columns], a @ b)
            assert (y[..., columns] == SENTINEL).all()


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("kind", [NARROW, SINGLE, WIDE])
def test_the_definition_is_the_sum(kind, op):
    generator = np.random.default_rng(op)
    for rows in (1, 3):
        problem = Problem(generator, np.float64, kind, False, rows, 3 if kind != NARROW else 1, op, 2, 3)
        np.testing.assert_array_equal(problem.run(tile), problem.expected())


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("function", [compiled, tile])
def test_without_a_tap_the_sums_are_0(function, op):
    problem = Problem(np.random.default_rng(3), np.float32, SINGLE, False, 4, 2, op, 0, 3)
    y = problem.run(function)
    np.testing.assert_array_equal(y, problem.expected())
    if op in (STORE, GATE):
        assert set(y) == {0, SENTINEL}


@pytest.mark.parametrize("kind", [NARROW, SINGLE, WIDE])
def test_even_rows_serve_every_kind(kind):
    problem = Problem(np.random.default_rng(5), np.float32, kind, True, 5, 2, BIAS, 2, 3)
    np.testing.assert_array_equal(problem.run(compiled), problem.expected())


def of_ones(op, rows):
    """Sums of two products of ones, behind an open gate and with a bias of 0."""
    problem = Problem(np.random.default_rng(6), np.float32, SINGLE, False, rows, 4, op, 1, 2)
    problem.a_rows, problem.a_outer, problem.b_outer = 10 * np.arange(rows), np.zeros(1), np.zeros(1)
    problem.a, problem.b, problem.bias = np.ones(100, np.float32), np.ones(100, np.float32), np.zeros(100, np.float32)
    problem.gate, problem.y_rows = np.ones(200, np.float32), 7 * np.arange(rows) + 1
    return problem


@pytest.mark.parametrize("function", [compiled, tile])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_through(bad, op, function):
    problem = of_ones(op, rows=3)
    problem.a[10] = bad
    with np.errstate(invalid="ignore"):  # BLAS pads with 0, and 0 * inf is NaN
        y = problem.run(function)
    wanted = 0.0 if op in (BIAS_RELU, ADD_RELU) and bad == -np.inf else bad
    np.testing.assert_array_equal(y[problem.y_rows[1] :][:4], np.full(4, wanted, np.float32))
    for row in (0, 2):
        sums = {ACCUMULATE: SENTINEL + 2, ACCUMULATE_GATE: SENTINEL + 2, ADD: 3, ADD_RELU: 3}.get(op, 2)
        np.testing.assert_array_equal(y[problem.y_rows[row] :][:4], sums)


@pytest.mark.parametrize("function", [compiled, tile])
def test_a_gate_that_is_not_positive_is_shut(function):
    problem = of_ones(GATE, rows=1)
    problem.gate_rows[0] = 0
    problem.gate[:4] = [1e-30, 0.0, -0.0, np.nan]
    np.testing.assert_array_equal(problem.run(function)[problem.y_rows[0] :][:4], [2, 0, 0, 0])
