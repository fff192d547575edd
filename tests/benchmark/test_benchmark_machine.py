"""The loops that measure the machine compute what they say, so nothing of them is left out; no time is looked at."""

import numpy as np
import pytest

from cnncli.benchmark import machine as measuring
from cnncli.kernels import machine


@pytest.mark.parametrize("turns", [1, 7])
def test_multiply_adds_are_done(turns):
    sums = np.zeros((3, machine.ACCUMULATORS * machine.LANES), np.float32)
    machine.multiply_adds(sums, turns, 0.5, 1.0)
    values = np.arange(machine.ACCUMULATORS, dtype=np.float32)
    for _ in range(turns):
        values = values * np.float32(0.5) + np.float32(1)
    np.testing.assert_array_equal(sums, np.tile(np.repeat(values, machine.LANES), (3, 1)))
    assert 2 * sums[0].size == machine.FLOPS_PER_TURN


def test_triad():
    a, b, c = (np.full((2, 37), value, np.float32) for value in (0, 1, 3))
    machine.triad(a, b, c, 2.0)
    assert (a == 7).all()


def test_last_cache(tmp_path, monkeypatch):
    for number, size in enumerate(("48K", "2048K", "16M", "unknown")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(f"{size}\n")
    monkeypatch.setattr(measuring, "CPUS", tmp_path)
    assert measuring.last_cache_bytes() == 16 << 20
    monkeypatch.setattr(measuring, "CPUS", tmp_path / "none")
    assert measuring.last_cache_bytes() == 0


def test_measured_limits(monkeypatch):
    monkeypatch.setattr(measuring, "LEAST_BYTES", 1 << 20)
    monkeypatch.setattr(measuring, "last_cache_bytes", lambda: 0)
    found = measuring.measure()
    assert found["peak_gflops"] > 0
    assert found["bandwidth_gbs"] > 0
    assert (1 << 20) - 12 * found["threads"] < found["bandwidth_bytes"] <= 1 << 20
    assert found["vector_bits"] in (128, 256, 512)
