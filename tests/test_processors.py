"""The same tests in a process of its own: with kernels as plain Python, and for a processor with half the registers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import test_kernels_winograd as winograd
from cases import CASES
from llvmlite import binding as llvm

ROOT = Path(__file__).parents[1]

BASE = {"64bit", "cmov", "cx16", "cx8", "fxsr", "mmx", "popcnt", "sahf"}
SSE = {"sse", "sse2", "sse3", "sse4.1", "sse4.2", "ssse3"}
X86_64_V3 = BASE | SSE | {"avx", "avx2", "bmi", "bmi2", "crc32", "f16c", "fma", "lzcnt", "movbe", "xsave"}


def run_tests(names, **environment):
    """Run tests by their names within `tests`; all of them must pass."""
    names = [f"{ROOT / 'tests'}/{name}" for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *names]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def oracle_of(kind, count, test="TestOracle::test_float32", most=20_000):
    """The names of `count` cases of a kind, those of little work, spread over the table."""
    few = [case for case in CASES if case.kind == kind and case.layer.multiply_adds(case.shape) * case.images < most]
    return [f"test_layers.py::{test}[{case.id}]" for case in few[:: max(1, len(few) // count)][:count]]


def winograd_of(count):
    """The names of the tests of the first `count` cases of Winograd's algorithm."""
    tests = [f"test_{what}[{dtype}-{{}}]" for what in ("forward", "data_gradient") for dtype in ("float32", "float64")]
    gradient = [f"test_kernels_winograd_gradient.py::test_oracle[{dtype}-{{}}]" for dtype in ("float32", "float64")]
    names = [*(f"test_kernels_winograd.py::TestOracle::{test}" for test in tests), *gradient]
    return [name.format(case.id) for case in winograd.CASES[:count] for name in names]


def test_kernels_are_right_as_plain_python():
    """Without the compiler, the way to debug a kernel: the tile is then its definition."""
    names = [
        *oracle_of("conv", 12),
        *oracle_of("conv", 3, "test_fused_relu"),
        *oracle_of("conv", 3, "test_gated_gradient"),
        *oracle_of("depthwise_conv", 8),
    ]
    for kind in (
        "dense",
        "max_pool",
        "avg_pool",
        "global_avg_pool",
        "flatten",
        "relu",
        "gelu",
        "elu",
        "leaky_relu",
        "sigmoid",
        "tanh",
        "relu6",
        "softplus",
        "swish",
        "scaled_tanh",
        "softmax",
        "log_softmax",
        "prelu",
        "global_max_pool",
        "channel_max_pool",
        "upsample",
        "pad",
        "crop",
        "group_norm",
        "lrn",
        "rbf",
    ):
        names += oracle_of(kind, 2)
    names += [*oracle_of("max_pool", 2, "test_gated_gradient"), "test_kernels.py::TestRanks"]
    names += winograd_of(5)
    names += [f"test_kernels.py::test_max_pool_{what}" for what in ("of_several_nans", "of_what_is_lowest")]
    names += ["test_kernels_pixels.py", "test_kernels_program.py", "test_kernels_functions.py"]
    run_tests(names, NUMBA_DISABLE_JIT="1")


def v3_features():
    """The features of the x86-64-v3 level by name, all others of this processor off; None if it has fewer."""
    host = dict(llvm.get_host_cpu_features())
    if not all(host.get(name) for name in X86_64_V3):
        return None
    return ",".join(("+" if name in X86_64_V3 else "-") + name for name in host)


def test_convolutions_are_exact_with_sixteen_registers(tmp_path):
    """AVX2 has half of AVX-512's registers, of half the width: other tiles, other blocks."""
    if (features := v3_features()) is None:
        pytest.skip("needs a processor of the x86-64-v3 level")
    names = [*oracle_of("conv", 30, most=10**6), *oracle_of("conv", 8, "test_fused_relu", most=10**6)]
    names += [*oracle_of("dense", 4), *oracle_of("max_pool", 6), *oracle_of("depthwise_conv", 20, most=10**6)]
    names.append("test_kernels_pixels.py")
    names += winograd_of(len(winograd.CASES))
    environment = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": features, "CNNCLI_CACHE": str(tmp_path)}
    host = "from cnncli.kernels.vectors import HOST; print(HOST.bytes, HOST.registers, HOST.fma)"
    told = subprocess.run(
        [sys.executable, "-c", host], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert told.stdout == "32 16 True\n", told.stderr
    run_tests(names, **environment)
