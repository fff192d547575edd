"""Programs: every kind of argument arrives, steps run in order, tasks are done once on any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import config

from cnncli.kernels import set_threads
from cnncli.kernels.program import Program, kernel


@kernel
def scale(first, last, y, x, factor, shift, negative, offsets):
    for n in range(first, last):
        for i in range(y.shape[1]):
            value = x[n, i] * factor + shift + offsets[1]
            y[n, i] = -value if negative else value


@kernel
def add_one(first, last, y):
    for n in range(first, last):
        for i in range(y.shape[1]):
            y[n, i] += 1


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_arguments_and_order(dtype, parallel):
    work = 10**9 if parallel else 1
    x = np.arange(35, dtype=dtype).reshape(7, 5)
    y, z = np.zeros_like(x), np.zeros((7, 2), dtype)
    steps = [
        scale.step(7, y, x, 3, 0.5 if x.dtype.kind == "f" else 1, False, (7, 100), multiply_adds=work),
        scale.step(6, y, y, 2, np.float32(1), np.True_, (0, 0), multiply_adds=work),
        add_one.step(7, z, multiply_adds=work),
        add_one.step(7, y, multiply_adds=work),
    ]
    wanted = x * 3 + 100 + (0.5 if x.dtype.kind == "f" else 1)
    wanted[:6] = -(wanted[:6] * 2 + 1)
    for threads in (1, 3):
        set_threads(threads)
        y[:], z[:] = 0, 0
        Program(steps)()
        np.testing.assert_array_equal(y, wanted + 1)
        np.testing.assert_array_equal(z, 1)


def test_nothing_to_do():
    Program([])()
    y = np.zeros((0, 3))
    Program([add_one.step(0, y)])()


def test_only_contiguous_arrays():
    with pytest.raises(ValueError, match="contiguous"):
        add_one.step(4, np.zeros((4, 4))[:, ::2])


AGAIN = """
import numpy as np
from test_kernels_program import add_one, scale
from cnncli.kernels.program import Program
y = np.zeros((2, 3))
Program([add_one.step(2, y), scale.step(2, y, y, 1, 2.0, False, (0, 0))])()
assert (y == 3).all()
"""


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
def test_the_cache_tells_kernels_apart(tmp_path):
    """The second process loads what the first compiled."""
    environment = os.environ | {"CNNCLI_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    found = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", AGAIN], env=environment, check=True)
        found.append({path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")})
    assert len(found[0]) == 3
    assert found[0] == found[1]
