"""The cache of compiled kernels where it cannot be written or read: kernels are compiled, and the reason is known."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba import cfunc, config, types
from numba.core import caching

from cnncli import kernels
from cnncli.errors import CnncliError
from cnncli.kernels import ahead, cache

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, in which numba now keeps what it compiles."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_problem", None)
    return tmp_path / "cache"


def loaded() -> bool:
    """Whether a function was loaded and not compiled."""

    def function(x):
        return x + 1

    made = cfunc(types.intp(types.intp), cache=True)(function)
    assert made.ctypes(2) == 3
    return made.cache_hits == 1


def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # names no file, as where a write fails


def test_what_is_kept_is_loaded(folder):
    assert [loaded(), loaded()] == [False, True]
    assert kernels.cache_problem(test=True) is None


def test_a_full_disk(folder, monkeypatch):
    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", fail)
    assert [loaded(), loaded()] == [False, False]
    assert kernels.cache_problem() == f"{folder}: No space left on device"


def test_a_cache_that_cannot_be_written_is_read(folder, monkeypatch):
    loaded()
    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", fail)
    assert loaded()
    assert kernels.cache_problem() is None


def test_a_folder_that_cannot_be_made(folder):
    beside = Path(__file__).parent / "__pycache__"
    before = set(beside.glob("*.nbi"))
    folder.write_text("a file")
    assert [loaded(), loaded()] == [False, False]
    assert kernels.cache_problem().startswith(f"{folder}: ")
    assert set(beside.glob("*.nbi")) == before
    with pytest.raises(CnncliError, match=f"kernels cannot be kept: {folder}: "):
        ahead.compile_calls([])


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: bytes(50)])
def test_a_file_that_a_crash_cut_short_is_replaced(folder, kind, change):
    loaded()
    (path,) = folder.rglob(f"*.{kind}")
    path.write_bytes(change(path.read_bytes()))
    assert [loaded(), loaded()] == [False, True]
    assert kernels.cache_problem() is None


# Under a limit of the size of files, where writes fail as on a full disk: processes compile, then this one does
LIMITED = """
import resource
import numpy as np
from cnncli import kernels
from cnncli.errors import CnncliError
from cnncli.kernels import ahead, native
from cnncli.kernels.program import Program
from test_kernels_ahead import steps

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    made, total, wanted = steps()
    with native.listing() as calls:
        Program(made)
    ahead.LEAST = 1
    try:
        ahead.compile_calls(calls)
    except CnncliError as error:
        print(error)
    Program(made)()
    np.testing.assert_array_equal(total, wanted)
    print(kernels.cache_problem())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits")
def test_processes_that_cannot_keep_what_they_compile(tmp_path):
    own = {"CNNCLI_CACHE": str(tmp_path), "NUMBA_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=100, env=os.environ | own
    )
    assert ended.stderr == ""
    problem = f"{tmp_path / kernels.CACHE.name}: File too large"
    assert ended.stdout.splitlines() == [f"compiled kernels cannot be kept: {problem}", problem]
    assert not list(tmp_path.rglob("*.tmp*"))
