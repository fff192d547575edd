"""The compiled loops: arrays in, arrays out. No layer, file or option is known here.

Numba's disk cache does not see a change in another file, so the cache folder is named by a hash of every file in this
package and of the versions that compile it, before the first kernel is declared. That also serves a read-only install.
"""

import hashlib
import os
from pathlib import Path

# How long a waiting thread of libgomp spins before it sleeps. With its default of 300,000 turns a LeNet step took 248
# ms in place of 1.3 while another program used one of two cores; with 5,000 it took 1.3 either way, with none 1.9.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import llvmlite.binding
import numba
import numpy as np
from numba.core import event

from cnncli.kernels import cache
from cnncli.kernels.vectors import HOST


def _digest() -> str:
    # the host too: the tables that Python makes follow it, the processor's name does not tell it
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__} {HOST}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_home() -> Path:
    """The folder of all kernel caches: $CNNCLI_CACHE, else cnncli/kernels in $XDG_CACHE_HOME or ~/.cache.

    Where the user has no home, as in a container, a folder that cannot be made: then the kernels are not kept.
    """
    if chosen := os.environ.get("CNNCLI_CACHE"):
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if caches == "~/.cache":
        return Path(os.devnull, "set-CNNCLI_CACHE")
    return Path(caches, "cnncli", "kernels")


CACHE = cache_home() / _digest()
cache.install(CACHE)
cache_problem = cache.problem
_compilations = event.TimingListener()
event.register("numba:compile", _compilations)
numba.config.THREADING_LAYER_PRIORITY = [
    "omp",
    "tbb",
    "workqueue",
]  # a region: 1.5 us with omp, over 100 with workqueue


def threads() -> int:
    """How many threads the kernels use."""
    return numba.get_num_threads()


def set_threads(count: int) -> None:
    """Use `count` threads, at most `most_threads()`. The results do not depend on it."""
    numba.set_num_threads(count)


def most_threads() -> int:
    """The most threads that this process may use: the cores, or $NUMBA_NUM_THREADS."""
    return numba.config.NUMBA_NUM_THREADS


def compile_seconds() -> float:
    """How long this process has compiled kernels, or loaded them from the cache."""
    return _compilations.duration if _compilations.done else 0.0


def threading_layers() -> list[str]:
    """The threading layers that Numba tries, in order: which of them it takes shows when the first kernel runs."""
    chosen = numba.config.THREADING_LAYER
    return list(numba.config.THREADING_LAYER_PRIORITY) if chosen in ("default", "safe", "threadsafe") else [chosen]


def cached() -> bool:
    """Whether the cache holds any kernel: without one, the first step compiles them."""
    return any(CACHE.glob("*/*.nbi"))


def processor() -> str:
    """What the kernels are compiled for. They choose their loops by it, so that the last bits of a result follow it."""
    name = numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    return f"{name}, {8 * HOST.bytes} bits" + (", fma" if HOST.fma else "")


def versions() -> dict[str, str]:
    """The versions of what compiles the kernels."""
    return {"numba": numba.__version__, "llvmlite": llvmlite.__version__, "numpy": np.__version__}
