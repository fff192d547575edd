"""Winograd's weight gradient: its results within the bound that its roundings allow, and its choice."""

import naive
import numpy as np
import pytest
from cases import conv
from test_kernels_winograd import CASES as OTHERS
from test_kernels_winograd import OPTIONS, Drawn, assert_within, every_case

from cnncli.kernels import set_threads, transforms, winograd_gradient
from cnncli.kernels.geometry import Axis
from cnncli.kernels.program import Program

LONG = [  # a last block of inputs and of outputs that is smaller; chunks, the last one short
    conv(70, (9, 9), 100, padding="same", **OPTIONS),
    conv(17, (25, 30), 6, images=2, padding="same", **OPTIONS),
]
CASES = [*OTHERS, *LONG]


def magnitudes(x, dy, padding):
    """The algorithm with all terms made positive: (out, in, 3, 3)."""
    a, b, g = (np.abs(matrix) for matrix in (transforms.A, transforms.B, transforms.G))
    (high, wide), sums = dy.shape[2:], 0
    x, dy = (
        np.pad(array, [(0, 0), (0, 0), (0, -high % 4), (0, -wide % 4)])
        for array in (naive.pad(np.abs(x), padding), np.abs(dy))
    )
    for top in range(0, high, 4):
        for left in range(0, wide, 4):
            tile = np.einsum("ij,ncjk,lk->ncil", b, x[:, :, top : top + 6, left : left + 6], b)
            gradient = np.einsum("ij,nojk,lk->noil", a, dy[:, :, top : top + 4, left : left + 4], a)
            sums = sums + np.einsum("ncil,noil->ocil", tile, gradient)
    return np.einsum("ij,ocil,lk->ocjk", g, sums, g)


def tolerance(x, dy, padding, dtype):
    """The largest error that rounding can cause, as in `test_kernels_winograd`.

    A term passes at most 8 roundings in the transform of the input, 4 in that of the gradient, 10 in that of the sums,
    whose constants are rounded too, and one in each addition over the tiles: in its span, of spans, of chunks, which
    are at most two more than there are tiles.
    """
    tiles = len(dy) * np.prod([-(-n // 4) for n in dy.shape[2:]])
    count, u = tiles + 24, np.finfo(dtype).eps / 2
    oracle = 10 * dy[:, 0].size * np.finfo(np.float64).eps * (dtype == np.float64)
    return (count * u / (1 - count * u) + oracle) * magnitudes(x, dy, padding) + np.finfo(dtype).tiny


def weight_gradient(drawn):
    bound = drawn.bound
    gradient, weight = bound.gradients["weight"], bound.parameters["weight"]
    steps = drawn.convolution.plan_weight_gradient(gradient, bound.x, bound.dy, bound.arena)
    gradient.fill(np.nan)
    bound.arena.poison()
    Program(steps)()
    assert bound.arena.intact()
    return weight.to_file(gradient.reshape(weight.shape))


def assert_right(drawn):
    _, dw, _ = naive.convolution_gradients(drawn.dy, drawn.x, drawn.w, (1, 1), drawn.padding, (1, 1))
    assert_within(weight_gradient(drawn), dw, tolerance(drawn.x, drawn.dy, drawn.padding, drawn.dtype))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_oracle(case, dtype):
    assert_right(Drawn(case, dtype))


@every_case
def test_oracle_in_many_spans_and_chunks(case, monkeypatch):
    monkeypatch.setattr(winograd_gradient, "SPAN_ELEMENTS", 128)  # a tile of 64 and 64 channels, four of 16 and 16
    monkeypatch.setattr(winograd_gradient, "CHUNK", 3)
    assert_right(Drawn(case))


def test_error_of_normal_data():
    """What comes out in practice is far below the bound: less than 1e-5 of the largest element."""
    drawn = Drawn(conv(64, (16, 16), 64, images=8, padding="same", **OPTIONS))
    _, dw, _ = naive.convolution_gradients(drawn.dy, drawn.x, drawn.w, (1, 1), drawn.padding, (1, 1))
    assert np.abs(weight_gradient(drawn) - dw).max() < 1e-5 * np.abs(dw).max()


@pytest.mark.parametrize("case", [*LONG, conv(8, (60, 60), 8, padding="same", **OPTIONS)], ids=lambda case: case.id)
def test_bits_do_not_depend_on_threads(case):
    drawn, results = Drawn(case), []
    for count in (1, 3, 4):
        set_threads(count)
        results.append(weight_gradient(drawn))
    for found in results[1:]:
        np.testing.assert_array_equal(found, results[0])


def test_pixels_outside_the_image_are_not_read():
    drawn = Drawn(OTHERS[3])
    wanted = weight_gradient(drawn)
    for buffer in (drawn.bound.x, drawn.bound.dy):
        inside = buffer.interior.copy()
        buffer.array.fill(np.nan)
        buffer.interior[...] = inside
    np.testing.assert_array_equal(weight_gradient(drawn), wanted)


@pytest.mark.parametrize(
    ("size", "channels", "images", "wanted"),
    [
        (56, 64, 8, True),
        (7, 512, 8, True),
        (32, 16, 64, True),
        (7, 512, 2, False),
        (5, 64, 64, False),
        (32, 8, 64, False),
    ],
)
def test_auto_takes_what_was_measured_to_be_faster(size, channels, images, wanted):
    axis = Axis(size, size, 3, 1, 1, 1)
    assert winograd_gradient.wins((Axis(1, 1, 1, 1, 1, 0), axis, axis), channels, channels, 1, images) == wanted
