"""Ctrl-C and its like at any moment: while the command loads, twice inside a kernel, while processes start."""

import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
from numba import config

from cnncli.cli import signals
from cnncli.kernels import ahead

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals")

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def python(program, *arguments, **options):
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, **options)


def begin(program):
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


# Ctrl-C at the moment at which the command line imports its first package
EARLY = """
import os, signal, sys

class Finder:
    def find_spec(name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
sys.argv = ["cnncli", "models"]
"""


@pytest.mark.parametrize(
    "start",
    ["import runpy; runpy.run_module('cnncli', run_name='__main__')", "from {0} import {1}; {1}()"],
    ids=["module", "command"],
)
def test_while_the_command_loads(start):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    ended = python(EARLY + start.format(*project["project"]["scripts"]["cnncli"].split(":")))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "error: interrupted\n")


# A kernel that takes minutes, with signals that ask to stop
ENDLESS = """
import numpy as np
from cnncli.cli.signals import Stop
from cnncli.kernels.program import Program, kernel

@kernel
def endless(first, last, counts):
    while counts[0] >= 0:
        counts[0] = (counts[0] + 1) & 1023

program = Program([endless.step(1, np.zeros(4, np.int64))])
with Stop() as stop:
    stop()
    Program([])()  # compiled, or loaded
    print(flush=True)
    program()
"""


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_second_ends_a_kernel_that_lasts(tmp_path, name):
    (tmp_path / "endless.py").write_text(ENDLESS)
    with begin(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import endless") as process:
        process.stdout.readline()
        time.sleep(0.2)
        number = getattr(signal, name)
        process.send_signal(number)
        process.send_signal(number)  # at once, as `timeout` does: they count as one
        time.sleep(0.1)
        assert process.poll() is None
        for _ in range(100):
            time.sleep(signals.APART)
            process.send_signal(number)
            if process.poll() is not None:
                break
        process.kill()
    assert process.returncode == 128 + number


def test_the_first_asks_and_nothing_is_left_behind():
    before = taken()
    for _ in range(3):
        with signals.Stop() as stop:
            assert not stop()
            signal.raise_signal(signal.SIGTERM)
            assert stop()
            assert stop.exit_code == 143
            assert threading.active_count() == before[1] + 1
    assert taken() == before


def taken():
    """Descriptors, threads, what signals do."""
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return descriptors, threading.active_count(), wakeup, [signal.getsignal(number) for number in signals.SIGNALS]


def test_until_the_loop_asks_the_first_interrupts_and_others_do_not():
    with signals.Stop():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def test_while_a_process_starts_it_is_not_lost(monkeypatch):
    def start(process):
        signal.raise_signal(signal.SIGINT)
        deaf.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))

    deaf = []
    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", start)
    with pytest.raises(KeyboardInterrupt):
        ahead._start()
    assert deaf == [True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


DEAF = """
from pathlib import Path
from cnncli.kernels import ahead

if __name__ == "__main__":
    pipe, worker = ahead._start()
    status = Path(f"/proc/{worker.pid}/status").read_text()
    print(int(status.split("SigBlk:")[1].split()[0], 16))
    pipe.send(None)
    worker.join()
    print(worker.exitcode)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_compiles_is_deaf_to_it():
    """The first one: with it, multiprocessing starts another, and changes which signals wait."""
    ended = python(DEAF)
    assert ended.stderr == ""
    blocked, code = map(int, ended.stdout.split())
    assert blocked & 1 << signal.SIGINT - 1
    assert code == 0
