"""Values put back to the places of a max pooling's maxima, and their gradient."""

import naive
import numpy as np
import pytest
from bound import GuardedArena, from_buffer, is_zero_outside, to_buffer
from cases import POOL, Case, window_options

from cnncli.kernels import set_threads
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.program import Program
from cnncli.layers import unpool

CASES = [Case("max_pool", c, axes, {"size": size, **options}, 3) for c, axes, size, options in POOL]


def run(case, dtype, pooled, x, dy, border=((0, 0), (0, 0), (0, 0))):
    """(y, dx)."""
    layer, shape, arena = case.layer, case.shape, GuardedArena(dtype)
    output = layer.output_shape(shape)
    assert unpool.output_shape(layer, shape, output) == shape
    large = [new_buffer(arena, case.images, shape, border) for _ in range(3)]
    small = [new_buffer(arena, case.images, output, border) for _ in range(2)]
    for buffer, of, values in ((large[0], shape, pooled), (small[0], output, x), (large[2], shape, dy)):
        to_buffer(buffer, of, values)
    of_x, of_dx = small
    forward, ((_, backward),) = unpool.plan(layer, shape, large[0], of_x, large[1], of_dx, large[2], arena)
    for buffer in (large[1], of_dx):
        buffer.interior[...] = np.nan
    Program(forward)()
    Program(backward)()
    assert arena.intact()
    assert all(is_zero_outside(buffer) for buffer in (*large, *small))
    return from_buffer(large[1], shape), from_buffer(of_dx, output)


def drawn(case, seed=0):
    """(pooled, x, dy) in small integers."""
    generator, shape = np.random.default_rng(seed), case.shape
    small = case.layer.output_shape(shape)
    sizes = [(case.images, of.channels, *of.axes) for of in (shape, small, shape)]
    return [generator.integers(-3, 4, size).astype(float) for size in sizes]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_is_its_definition(case, dtype):
    pooled, x, dy = drawn(case)
    size, stride, dilation, padding = window_options(case, "size")
    _, chosen = naive.max_pool(pooled, size, stride, padding, dilation)
    border = ((0, 0),) * (3 - len(case.axes)) + ((1, 2),) * len(case.axes)
    y, dx = run(case, dtype, pooled, x, dy, border)
    np.testing.assert_array_equal(y, naive.max_pool_gradient(x, pooled, chosen))
    np.testing.assert_array_equal(dx, np.array([dy[chosen[place]] for place in naive.places(x.shape)]).reshape(x.shape))


def test_bits_do_not_depend_on_threads():
    case = CASES[4]
    generator = np.random.default_rng(1)
    given, found = [generator.normal(size=values.shape) for values in drawn(case)], set()
    for count in (1, 2, 3, 4):
        set_threads(count)
        found.add(b"".join(values.tobytes() for values in run(case, np.float32, *given)))
    assert len(found) == 1


def test_inputs_of_another_shape():
    case = Case("max_pool", 3, (8, 8), {"size": 2})
    with pytest.raises(ValueError, match="its input is 3x8x8, what the pooling makes 3x4x4: they must be alike"):
        unpool.output_shape(case.layer, case.shape, case.shape)
