"""Variables of the environment that cannot be used, and users without a home: one line that names what to set."""

import os
import subprocess
import sys

import pytest

from cnncli.datasets import data_home
from cnncli.errors import DataError

HOMELESS = """
import pwd
def unknown(*_):
    raise KeyError("uid not found")
pwd.getpwuid = unknown
import sys
from cnncli.cli import main
main(sys.argv[1:])
"""


def process(program: list[str], arguments, **variables):
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    kept = {name: value for name, value in kept.items() if not name.startswith("CNNCLI_")}
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, env=kept | variables, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NUMBA_NUM_THREADS", "0", "a number of threads, 1 to 1024"),
        ("NUMBA_NUM_THREADS", "-3", "a number of threads, 1 to 1024"),
        ("NUMBA_NUM_THREADS", "abc", "a number of threads, 1 to 1024"),
        ("NUMBA_NUM_THREADS", "9" * 20, "a number of threads, 1 to 1024"),
        ("NUMBA_THREADING_LAYER", "foo", "one of default, safe, threadsafe, forksafe, tbb, omp, workqueue"),
        ("NUMBA_CPU_FEATURES", "avx2", "names that begin with + or -"),
    ],
)
def test_a_variable_that_numba_would_stumble_on(mistake, monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    line = f"error: the environment's {name}={value}: give it {expected}, or unset it"
    assert mistake("models", "lenet") == (2, line)


@pytest.mark.parametrize(("name", "value"), [("NUMBA_OPT", "99"), ("NUMBA_DEBUG", "on")])
def test_a_variable_that_numba_cannot_read(name, value):
    ended = process(["-m", "cnncli"], ["info"], HOME=os.environ.get("HOME", "/"), **{name: value})
    line = f"error: the environment's {name}={value}: give it a value that Numba knows, or unset it\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", line)


def test_a_threading_layer_that_is_not_installed(mistake, monkeypatch):
    from cnncli import kernels

    def refuse(_):
        raise ValueError("No threading layer could be loaded.\nHINT:\nIntel TBB is required, try:\n$ pip install tbb")

    monkeypatch.setenv("NUMBA_THREADING_LAYER", "tbb")
    monkeypatch.setattr(kernels, "set_threads", refuse)
    line = "error: the environment's NUMBA_THREADING_LAYER=tbb: give it a layer that is installed, or unset it"
    assert mistake("gradcheck", "--model", "lenet", "-t", "1") == (2, line)


def test_a_defect_is_not_taken_for_a_variable(monkeypatch):
    from cnncli import kernels
    from cnncli.cli import main

    def fail(_):
        raise ValueError("of something else")

    monkeypatch.setattr(kernels, "set_threads", fail)
    with pytest.raises(ValueError, match="of something else"):
        main(["gradcheck", "--model", "lenet", "-t", "1"])


def test_a_user_without_a_home():
    line = "no folder for data sets, because this user has no home: set CNNCLI_DATA or give --data-dir"
    ended = process(["-c", HOMELESS], ["info"])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith(f"data sets     {line}\n")
    ended = process(["-c", HOMELESS], ["download", "mnist"])
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", f"error: {line}\n")
    ended = process(["-c", HOMELESS], ["cache", "info"])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("folder   /dev/null/set-CNNCLI_CACHE/")
    assert "kernels  0, 0.0 MiB\n" in ended.stdout


@pytest.mark.parametrize("answer", ["~/.cache/cnncli", RuntimeError("could not determine the home directory")])
def test_however_pooch_says_that_there_is_no_home(monkeypatch, answer):
    def cache(_):
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.delenv("CNNCLI_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", cache)
    with pytest.raises(DataError, match="set CNNCLI_DATA or give --data-dir"):
        data_home()
