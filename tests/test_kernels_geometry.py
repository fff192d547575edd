"""The tables that the kernels walk, against brute force over windows, and the checks that keep addresses inside."""

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from bound import Bound
from cases import Case
from hypothesis import assume, given
from hypothesis import strategies as st

from cnncli.kernels import geometry
from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.kernels.convolution import BIAS, GATE, Convolution
from cnncli.kernels.geometry import Axis
from cnncli.kernels.tile import MOST_ROWS, NARROW, ROWS, RUN_ROWS, SINGLE, STRIDED, TABLE, VARIANTS, WIDE, lanes

KINDS = (NARROW, SINGLE, WIDE)


@st.composite
def axes(draw):
    size, kernel, stride, dilation = (draw(st.integers(1, most)) for most in (9, 5, 4, 3))
    before, after = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    room = size + before + after - (kernel - 1) * dilation - 1
    assume(room >= 0)
    return Axis(size, room // stride + 1, kernel, stride, dilation, before)


def windows(axis):
    """All (output, tap, input) of the axis, from the definition of a window."""
    everything = (
        (o, k, o * axis.stride - axis.before + k * axis.dilation) for o in range(axis.out) for k in range(axis.kernel)
    )
    return {(o, k, i) for o, k, i in everything if 0 <= i < axis.size}


def visits(groups):
    """(place, tap, source) of every read that the groups ask for, each as often as it is asked for."""
    return Counter(
        (place, tap, start + offset)
        for group in groups
        for place, start in zip(group.places.tolist(), group.starts.tolist(), strict=True)
        for tap, offset in zip(group.taps.tolist(), group.offsets.tolist(), strict=True)
    )


@given(axes())
def test_forward_groups_visit_each_window_element_once(axis):
    groups = geometry.forward_groups(axis)
    assert visits(groups) == Counter(windows(axis))
    assert sorted(np.concatenate([group.places for group in groups])) == list(range(axis.out))


@given(axes())
def test_backward_groups_visit_each_window_element_once(axis):
    groups = geometry.backward_groups(axis)
    assert visits(groups) == Counter((i, k, o) for o, k, i in windows(axis))
    assert sorted(np.concatenate([group.places for group in groups])) == list(range(axis.size))


def cost(blocks, vectors):
    return sum(max(rows * vectors, 8) + geometry.BLOCK_COST for rows in blocks)


@given(st.integers(1, 400), st.sampled_from(KINDS))
def test_split_is_made_of_tiles(count, kind):
    most, vectors = MOST_ROWS[kind], 2 if kind == WIDE else 1
    found = geometry.split(count, most, vectors)
    assert sum(found) == count
    assert set(found) <= {rows for rows in ROWS if rows <= most}
    for single in {rows for rows in ROWS if rows <= most and count % rows == 0}:
        assert cost(found, vectors) <= cost([single] * (count // single), vectors)


@given(st.integers(1, 30), st.integers(1, 4))
def test_split_of_few_rows_costs_least(count, most):
    best = {0: 0}
    for n in range(1, count + 1):
        best[n] = min(best[n - rows] + cost([rows], 1) for rows in ROWS if rows <= min(n, most))
    if count <= 2 * most:
        assert cost(geometry.split(count, most, 1), 1) == best[count]


@given(st.integers(1, 100), st.integers(1, 4), st.sampled_from([4, 8]), st.sampled_from([SINGLE, WIDE]))
def test_columns_cover_each_channel_once(channels, groups, itemsize, widest):
    vector, covered = lanes(SINGLE, itemsize), []
    for first, kind, tail, x_offset, w_offset in geometry.columns(
        channels, groups, 1000, 10**6, itemsize, widest
    ).tolist():
        group = first // channels
        assert (x_offset, w_offset) == (1000 * group, 10**6 * group + first % channels)
        assert 1 <= tail <= lanes(kind, itemsize)
        assert kind != WIDE or widest == WIDE
        covered += range(first, first + tail + (vector if kind == WIDE else 0))
    assert covered == list(range(channels * groups))


offsets_of_rows = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=60), min_size=1, max_size=4)


@given(offsets_of_rows, st.integers(1, 70), st.integers(0, 9), st.booleans())
def test_blocks_cover_each_row_once(offsets, channels, run, of_window):
    if run:  # pixels of an image row, or elements of a window: sums of steps, or runs of consecutive ones
        offsets = [np.concatenate([100 * i + np.arange(run) for i, _ in enumerate(phase)]) for phase in offsets]
    counts = [len(of_phase) for of_phase in offsets]
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    phases = [(start, count, 100 + i, i) for i, (start, count) in enumerate(zip(starts, counts, strict=True))]
    rows, columns = np.concatenate(offsets)[None], geometry.columns(channels, 1, 0, 0, 4)
    kinds, covered = set(columns[:, 1].tolist()), []
    for first, count, tap, taps, mode in geometry.blocks(phases, rows, columns, of_window).tolist():
        assert phases[tap - 100][3] == taps
        assert starts[taps] <= first
        assert first + count <= starts[taps] + counts[taps]
        lie = np.diff(rows[0, first : first + count])
        if mode == STRIDED:
            assert not of_window
            assert len(set(lie.tolist())) <= 1
        elif mode != TABLE:
            assert of_window
            assert ((lie == 1) | (np.arange(1, count) % mode == 0)).all()
        for kind in kinds:  # every column of the block has such a tile
            mode_of = TABLE if kind != NARROW and mode == STRIDED else mode
            assert (kind, mode_of, count) in VARIANTS
        covered += range(first, first + count)
    assert covered == list(range(sum(counts)))


@pytest.mark.skipif(not RUN_ROWS, reason="too few vector registers for runs")
def test_windows_of_one_channel_are_runs():
    """The weight gradient of a first layer depends on it for its speed."""
    columns = geometry.columns(6, 1, 0, 0, 4)
    for run, expected in ((3, [9]), (5, [25]), (7, [28, 21])):
        rows = (40 * np.arange(run)[:, None] + np.arange(run)).reshape(1, -1)
        found = geometry.blocks([(0, run * run, 0, 1)], rows, columns, of_window=True)
        assert found[:, 1].tolist() == expected
        assert set(found[:, 4].tolist()) == {run}


def test_rows_at_equal_distances_are_strided():
    """Narrow tiles depend on it for their speed: pixels of an image row are."""
    rows = (40 * np.arange(4)[:, None] + 3 * np.arange(12)).reshape(1, -1)
    blocks = geometry.blocks([(0, 48, 0, 1)], rows, geometry.columns(5, 1, 0, 0, 4))
    assert blocks[:, 4].all()
    assert not geometry.blocks([(0, 48, 0, 1)], rows, geometry.columns(64, 1, 0, 0, 4))[:, 4].any()


@given(st.integers(1, 100), st.integers(1, 300))
def test_parts_hold_all_blocks_and_none_is_empty(tasks, blocks):
    parts = geometry.parts(tasks, blocks)
    per_part = -(-blocks // parts)
    assert (parts - 1) * per_part < blocks <= parts * per_part
    assert parts * tasks >= min(geometry.TASKS, blocks * tasks) / 2


def test_check_bounds():
    geometry.check_bounds("x", 10, np.array([0, 4]), np.array([2, 5]))
    geometry.check_bounds("x", 10, np.array([9]), np.zeros(0, int))
    with pytest.raises(IndexError, match=r"x: offsets 2\.\.10 leave an array of 10 elements"):
        geometry.check_bounds("x", 10, np.array([0, 5]), np.array([2, 5]))
    with pytest.raises(IndexError):
        geometry.check_bounds("x", 10, np.array([0, 4]), -1)


@pytest.mark.parametrize("short", ["y", "bias", "gate", "dw", "w"])
def test_arrays_that_are_too_short_are_seen(short):
    """Each by less than one vector: where the tile would write, or read, beside them."""
    arena, convolution = Arena(np.float32), Convolution((ONE, ONE, Axis(8, 8, 1, 1, 1, 0)), 2, 32)
    shape = SimpleNamespace(size=(1, 1, 8), channels=2)
    x, y = new_buffer(arena, 1, shape, convolution.border), np.zeros((1, 8 * 32), np.float32)
    arrays = {
        "y": y,
        "gate": y,
        "w": np.zeros(64, np.float32),
        "dw": np.zeros(64, np.float32),
        "bias": np.zeros(32, np.float32),
    }
    arrays[short] = arrays[short][..., :-1]
    wide = Buffer(arrays["y"], (1, 1, 8), 32, convolution.gradient_border)
    turned = Convolution((ONE, ONE, Axis(8, 8, 1, 1, 1, 0)), 32, 2)
    right, gate = Buffer(y, (1, 1, 8), 32, x.border), Buffer(arrays["gate"], (1, 1, 8), 32, x.border)
    plans = {
        "y": lambda: convolution.plan_forward(wide, x, arrays["w"], arrays["bias"], BIAS),
        "dw": lambda: convolution.plan_weight_gradient(arrays["dw"], x, wide, arena),
        "gate": lambda: turned.plan_data_gradient(right, x, np.zeros(64, np.float32), arena, GATE, gate),
    }
    with pytest.raises(IndexError, match=f"^{short}: offsets"):
        plans.get(short, plans["y"])()


ONE = Axis(1, 1, 1, 1, 1, 0)
CONV = Case("conv", 3, (6, 6), {"filters": 5, "kernel": 3, "stride": 2})


def moved(rows=(0, 0, 0), taps=(0, 0)):
    """`geometry.tables` with some of its tables so many elements further."""
    right = geometry.tables

    def wrong(*arguments):
        tables = right(*arguments)
        tables.rows[: len(rows)] += np.array(rows)[: len(tables.rows), None]
        tables.taps[:] += np.array(taps)[:, None]
        return tables

    return wrong


@pytest.mark.parametrize("distance", [1000, -1000])
@pytest.mark.parametrize(
    ("what", "table"),
    [("x", "rows0"), ("y", "rows1"), ("gate", "rows2"), ("x", "taps0"), ("w", "taps1")],
)
def test_wrong_tables_are_refused(monkeypatch, what, table, distance):
    kind, place = table[:4], int(table[4])
    change = [0] * (3 if kind == "rows" else 2)
    change[place] = distance
    Bound(CONV, np.float32)
    monkeypatch.setattr(geometry, "tables", moved(**{kind: change}))
    with pytest.raises(IndexError, match=f"^{what}: "):
        Bound(CONV, np.float32)


@pytest.mark.parametrize("name", ["x", "dy"])
def test_a_weight_gradient_outside_its_arrays_is_refused(name):
    bound = Bound(CONV, np.float32)
    arrays = {"x": bound.x, "dy": bound.dy}
    arrays[name] = replace(arrays[name], array=np.zeros((2, 10), np.float32))
    with pytest.raises(IndexError, match=f"^{name}: "):
        bound.layer._convolution(bound.shape).plan_weight_gradient(
            bound.gradients["weight"], **arrays, arena=bound.arena
        )


@given(st.lists(st.integers(1, 4), min_size=3, max_size=3), st.integers(1, 5))
def test_a_layout_places_every_pixel_by_itself(size, channels):
    layout = geometry.packed(tuple(size), channels)
    grid = np.meshgrid(*map(np.arange, size), indexing="ij")
    assert sorted(layout.place(*grid).ravel()) == list(range(0, math.prod(size) * channels, channels))
    assert layout.elements == math.prod(size) * channels
