"""What this machine can do, measured: multiply-adds a second in registers, bytes a second from and to memory."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnncli import kernels
from cnncli.kernels import machine

CPUS = Path("/sys/devices/system/cpu/cpu0/cache")
LEAST_BYTES = 192 << 20
REPEATS = 25
TURNS = 500_000  # of the loop of multiply-adds


def processor() -> str:
    """The processor's name: Linux alone does not tell it to `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def last_cache_bytes() -> int:
    """The size of the largest cache, as Linux tells it; 0 where nobody does."""
    sizes = [path.read_text().strip() for path in CPUS.glob("index*/size")]
    return max((int(size[:-1]) << {"K": 10, "M": 20}[size[-1]] for size in sizes if size[-1] in "KM"), default=0)


def measure() -> dict:
    """Peak and bandwidth for the threads that are set."""
    return {
        "processor": processor(),
        "threads": kernels.threads(),
        "vector_bits": 8 * kernels.HOST.bytes,
        "peak_gflops": peak_gflops(),
        **bandwidth(),
    }


def peak_gflops() -> float:
    """GFLOP/s of fused multiply-adds in registers on all threads, the best of several runs."""
    call, operations = multiply_adds()
    return operations / _best(call) / 1e9


def multiply_adds() -> tuple[Callable[[], None], int]:
    """A call of fused multiply-adds in registers on all threads, which takes some milliseconds, and its operations."""
    sums = np.zeros((kernels.threads(), machine.ACCUMULATORS * machine.LANES), np.float32)
    return lambda: machine.multiply_adds(sums, TURNS, 0.5, 1.0), TURNS * len(sums) * machine.FLOPS_PER_TURN


def bandwidth() -> dict:
    """GB/s of a = b + s * c, on arrays that together are half as large again as the last cache; the best of several.

    12 bytes an element are counted, as STREAM does: two read, one written. That the processor also reads what is
    written, before, is not: where it does, the memory moved a third more.
    """
    total = max(LEAST_BYTES, 3 * last_cache_bytes() // 2)
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        total = min(total, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    parts = kernels.threads()
    a, b, c = (np.zeros((parts, total // (12 * parts)), np.float32) for _ in range(3))
    for to, first, second in ((a, b, c), (b, c, a), (c, a, b)):  # written by the threads that will read it
        machine.triad(to, first, second, 2.0)
    counted = 12 * a.size
    return {"bandwidth_gbs": counted / _best(lambda: machine.triad(a, b, c, 2.0)) / 1e9, "bandwidth_bytes": counted}


def _best(call) -> float:
    """The seconds of the fastest of several calls: a peak is what is possible."""
    found = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)
