"""Panels of the weight gradient: what they are cut into, who gets them, and that they change no bit."""

import numpy as np
import pytest
from bound import Bound
from cases import CASES, conv
from hypothesis import given
from hypothesis import strategies as st
from numba import config, njit

from cnncli.kernels import geometry, panels
from cnncli.kernels.program import Program
from cnncli.kernels.tile import LONG_RUNS, MOST_ROWS, PANEL, WIDE


@njit
def compiled(like, to, to_step, of, of_step, rows, columns):
    panels.copy_rows(like, to, to_step, of, of_step, rows, columns)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 8, 14, 16, 17])
def test_the_compiled_copy_is_its_definition(columns, dtype):
    of, found = np.arange(300).astype(dtype), []
    for function in (compiled, panels.copy_rows):
        to = np.full(400, -1, dtype)
        function(to, to.ctypes.data, 40, of.ctypes.data + 5 * of.itemsize, 23, 7, columns)
        found.append(to)
        copied = to[:280].reshape(7, 40)[:, :columns]
        np.testing.assert_array_equal(copied, 5 + 23 * np.arange(7)[:, None] + np.arange(columns))
    np.testing.assert_array_equal(*found)


@given(st.lists(st.lists(st.integers(14, 200), min_size=1, max_size=4), min_size=1, max_size=3), st.booleans())
def test_blocks_cover_each_row_once_and_are_runs(lengths, contiguous):
    offsets = [np.concatenate([1000 * i + np.arange(n) for i, n in enumerate(of_phase)]) for of_phase in lengths]
    starts = np.cumsum([0, *(len(of_phase) for of_phase in offsets)]).tolist()
    phases = [
        (start, len(of_phase), 2 * i, 2) for i, (start, of_phase) in enumerate(zip(starts, offsets, strict=False))
    ]
    rows, covered = np.concatenate(offsets)[None], []
    taps = np.arange(2 * len(phases)) * (10 if contiguous else 11) * np.ones((2, 1), int)
    for first, count, tap, n_taps, mode, joined in panels.blocks(phases, rows, taps, 10).tolist():
        start, many, _, _ = phases[tap // 2]
        assert start <= first
        assert first + count <= start + many
        assert (np.diff(rows[0, first : first + count]) == 1).all()
        assert (mode == PANEL) == (count == MOST_ROWS[WIDE])
        assert (n_taps, joined) == (2, contiguous)
        covered += range(first, first + count)
    assert covered == list(range(starts[-1]))


def test_short_runs_are_not_packed():
    rows = (40 * np.arange(9)[:, None] + np.arange(min(LONG_RUNS.values()) - 1)).reshape(1, -1)
    assert panels.blocks([(0, rows.size, 0, 1)], rows, np.zeros((2, 1), int), 10) is None


def test_few_pixels_and_few_strips_are_not_worth_it():
    assert panels.worth(64, 1000)
    assert not panels.worth(64, 16)
    assert not panels.worth(48, 1000)


LARGE = [case for case in CASES if case.kind == "conv" and case.options["filters"] >= 64 and max(case.axes) >= 7]
LARGE.append(conv(16, (30, 31), 70, 3, images=3))
SMALL = conv(48, (3, 3), 64, 2)


@pytest.mark.skipif(config.DISABLE_JIT, reason="NumPy's products have bits of their own")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", [*LARGE, SMALL], ids=lambda case: case.id)
def test_the_bits_are_those_of_the_sums_in_place(case, dtype, monkeypatch):
    monkeypatch.setattr(geometry, "gradient_cuts", lambda *_: (2, 3, 2))
    found = []
    for packs in (True, False):
        if not packs:
            monkeypatch.setattr(panels, "worth", lambda *_: False)
        bound = Bound(case, dtype)
        layer = bound.layer.model_copy(update={"algorithm": "direct"})
        plan = layer._convolution(bound.shape).plan_weight_gradient
        steps = plan(bound.gradients["weight"], bound.x, bound.dy, bound.arena)
        assert (steps[0].kernel is panels.weight_gradient) == (packs and case in LARGE)
        generator = np.random.default_rng(1)
        for buffer in (bound.x, bound.dy):
            buffer.interior[...] = generator.standard_normal(buffer.interior.shape)
        bound.arena.poison()
        Program(steps)()
        found.append(bound.gradients["weight"].copy())
        assert bound.is_clean()
    np.testing.assert_array_equal(*found)
