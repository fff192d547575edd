"""Weights in strips, their blocks of columns, and how they are turned, against plain arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.kernels import geometry, strips, turn
from cnncli.kernels.program import Program
from cnncli.kernels.tile import SINGLE, WIDE, lanes

outputs = st.integers(1, 100)


@given(st.integers(1, 3), st.integers(1, 9), outputs)
def test_packing_is_undone(groups, rows, channels):
    matrices = np.arange(groups * rows * channels).reshape(groups, rows, channels)
    flat = strips.pack(matrices)
    np.testing.assert_array_equal(np.sort(flat), np.arange(flat.size))
    np.testing.assert_array_equal(strips.unpack(flat, groups, channels), matrices)


@given(st.integers(1, 3), st.integers(1, 9), outputs, st.sampled_from([4, 8]))
def test_columns_find_every_weight(groups, rows, channels, itemsize):
    matrices = np.arange(groups * rows * channels).reshape(groups, rows, channels)
    flat, vector, covered = strips.pack(matrices), lanes(SINGLE, itemsize), []
    for first, kind, tail, x_offset, w_offset, w_step, width in strips.columns(
        channels, groups, 1000, rows, itemsize
    ).tolist():
        count, (group, c) = tail + (vector if kind == WIDE else 0), divmod(first, channels)
        assert 1 <= tail <= lanes(kind, itemsize)
        assert x_offset == 1000 * group
        assert w_step == strips.widths(channels)[width]
        offsets = w_offset + strips.by_width(np.arange(rows), channels)[width]
        read = flat[offsets[:, None] + np.arange(count)]
        np.testing.assert_array_equal(read, matrices[group, :, c : c + count])
        covered += range(first, first + count)
    assert covered == list(range(groups * channels))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1, 5, 3), (2, 2, 3, 33, 17), (1, 3, 2, 16, 64), (1, 1, 1, 70, 100)])
def test_turned_weights_exchange_channels_and_reverse_the_kernel(shape, dtype):
    groups, taps, kernel, rows, channels = shape
    w = np.arange(np.prod(shape)).astype(dtype).reshape(groups, taps, kernel, rows, channels)
    flat = strips.pack(w.reshape(groups, -1, channels))
    turned = np.full_like(flat, np.nan)
    Program([turn.plan(turned, flat, shape)])()
    wanted = w[:, :, ::-1].transpose(0, 1, 2, 4, 3).reshape(groups, -1, rows)
    np.testing.assert_array_equal(strips.unpack(turned, groups, rows), wanted)


@given(st.integers(1, 100), st.integers(1, 5000))
def test_joined_images_divide_the_batch(images, pixels):
    join = geometry.joined(images, pixels)
    assert images % join == 0
    assert join == 1 or join * pixels <= geometry.JOINED_PIXELS


sizes = st.integers(1, 10**9)


@given(sizes, sizes, st.integers(1, 500), st.integers(1, 200), st.integers(1, 500))
def test_order_leaves_no_part_empty(x_bytes, w_bytes, images, n_strips, blocks):
    parts, _ = geometry.order(x_bytes, w_bytes, images, n_strips, blocks)
    per_part = -(-blocks // parts)
    assert (parts - 1) * per_part < blocks <= parts * per_part


@given(sizes, sizes, st.integers(1, 5000), st.integers(1, 300), st.integers(1, 5000))
def test_gradient_cuts_are_within_what_there_is(data, weights, rows, inner, blocks):
    chunks, groups, spans = geometry.gradient_cuts(data, weights, rows, inner, blocks)
    assert 1 <= chunks <= rows
    assert 1 <= groups <= blocks
    assert spans >= 1
    assert chunks * groups <= geometry.TASKS
