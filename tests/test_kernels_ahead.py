"""Compiling ahead: every call is made once, by as many processes as there are cores, and what fails is told."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from numba import config

from cnncli import kernels
from cnncli.errors import CnncliError
from cnncli.kernels import ahead, conv, native

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")

# In a process of its own, with an empty cache: compiles by processes, then runs what they compiled.
SHARED = """
import json
import numpy as np
from cnncli import kernels
from cnncli.kernels import ahead, native
from cnncli.kernels.program import Program
from test_kernels_ahead import steps

if __name__ == "__main__":
    made, total, wanted = steps()
    with native.listing() as calls:
        Program([*made, *made])()
    told = []
    ahead.LEAST = 1
    ahead.compile_calls(calls, lambda done, of: told.append((done, of)))
    found = {path.name for path in kernels.CACHE.rglob("*.nbc")}
    Program(made)()
    loaded = {path.name for path in kernels.CACHE.rglob("*.nbc")}
    np.testing.assert_array_equal(total, wanted)
    print(json.dumps({"told": told, "compiled": len(found), "more": sorted(loaded - found)}))
"""


def steps():
    """Steps of three kernels that sum the rows of an array, the array of sums, and what it should hold."""
    rows = np.arange(24, dtype=np.float32).reshape(8, 3)
    partial, first, total = np.zeros((2, 3), np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    made = [
        conv.add_rows.step(2, partial, rows),
        conv.fold_rows.step(1, first, partial),
        conv.add_chunks.step(1, total, partial, 3),
    ]
    return made, total, rows.sum(0)


def environment(folder, threads: str = "2") -> dict:
    path = os.pathsep.join(sys.path)
    return os.environ | {"CNNCLI_CACHE": str(folder), "NUMBA_NUM_THREADS": threads, "PYTHONPATH": path}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_what_was_compiled_ahead_is_loaded(tmp_path, threads):
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARED],
        capture_output=True,
        text=True,
        timeout=100,
        env=environment(tmp_path / "cache", threads),
    )
    assert ended.stderr == ""
    found = json.loads(ended.stdout)
    assert found["told"] == [[done, 3] for done in range(4)]
    assert found["compiled"] == 4  # with what runs programs
    assert found["more"] == []


def test_listing_compiles_nothing(monkeypatch):
    monkeypatch.setattr(native, "_listed", None)
    with native.listing() as calls:
        assert conv.add_rows.address("float64:3 float64:3") == 0
        assert native.address_of(test_listing_compiles_nothing, 1) == 0
    assert [arguments for _, arguments in calls] == [
        (conv.add_rows, "float64:3 float64:3"),
        (test_listing_compiles_nothing, 1),
    ]


def test_what_a_process_cannot_compile_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr(ahead, "LEAST", 1)
    monkeypatch.setattr(kernels, "most_threads", lambda: 2)
    with native.listing() as calls:
        conv.add_rows.address("float32:2 float32")
        conv.fold_rows.address("float32:1 float32:2")
    with pytest.raises(CnncliError, match=r"cnncli.kernels.conv:add_rows float32:2 float32: TypingError") as caught:
        ahead.compile_calls(calls)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_interrupted_it_leaves_no_process(tmp_path):
    command = [sys.executable, "-m", "cnncli", "cache", "warm"]
    cold = environment(tmp_path / "cache")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=cold, start_new_session=True) as process:
        assert process.stderr.readline() == "compiling the kernels...\n"
        while len(list(tmp_path.rglob("*.nbi"))) < 3:  # more than this process compiles itself: the others are at work
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr.read().strip() == "error: interrupted"
        assert process.wait(timeout=20) == 130
    with suppress(ProcessLookupError):
        for _ in range(100):  # what multiprocessing itself started ends a moment later
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        pytest.fail("a process is left")
