"""Commands whose kernels cannot be kept."""

import pytest
from numba import config
from small import SMALL

from cnncli import kernels
from cnncli.training.loop import Run

PROBLEM = "/full: No space left on device"


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setattr(kernels, "cache_problem", lambda test=False: PROBLEM)


def test_train_tells_once_and_goes_on(run, tmp_path, full):
    (tmp_path / "small.yaml").write_text(SMALL)
    train = "train", "--model", tmp_path / "small.yaml", "-t", 1
    ended = run(*train, "--out", tmp_path / "run")
    assert ended.code == 0
    assert ended.err.count(f"kernels are compiled anew in each run: {PROBLEM}\n") == 1
    assert run(*train, "--out", tmp_path / "other", "-q").err == ""


def test_train_tells_what_shows_while_it_runs(run, tmp_path, monkeypatch):
    found, step = [], Run._step

    def stepped(*arguments):
        found.append(PROBLEM)
        return step(*arguments)

    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(kernels, "cache_problem", lambda test=False: found and PROBLEM)
    monkeypatch.setattr(Run, "_step", stepped)
    ended = run("train", "--model", tmp_path / "small.yaml", "-t", 1, "--out", tmp_path / "run")
    assert ended.err.count(PROBLEM) == 1


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
def test_warm_fails(run, full):
    ended = run("cache", "warm")
    assert ended.code == 1
    assert ended.err.splitlines()[1:] == [f"error: compiled kernels cannot be kept: {PROBLEM}"]
