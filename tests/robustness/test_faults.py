"""Short versions of this folder's scripts, which try every call, every loss of power and 200 kills."""

import subprocess
import sys
from pathlib import Path

import failing_calls
import kill
import power_loss
import pytest
import small_runs

from cnncli.cli import main

EVERY = 13  # of the calls


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return failing_calls.prepare(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("way", ["start", "resume"])
@pytest.mark.parametrize("code", failing_calls.ERRORS)
def test_failing_calls(tmp_path, capsys, prepared, way, code):
    model, half, wanted = prepared
    number, tried = 1 + failing_calls.ERRORS.index(code), 0
    while True:
        folder = tmp_path / str(number)
        arguments = failing_calls.arguments_for(way, folder, model, half)
        with failing_calls.failing(number, code) as failure, pytest.raises(SystemExit) as ended:
            main(arguments)
        err = capsys.readouterr().err
        if failure.name is None:
            break
        problem = failing_calls.problem_of(ended.value.code or 0, err, failure, folder, model, wanted)
        assert problem is None, f"call {number}, {failure.name} {failure.path}"
        number, tried = number + EVERY, tried + 1
    assert tried >= 5


def test_losses_of_power(tmp_path):
    model = small_runs.write_model(tmp_path)
    small_runs.train(tmp_path / "whole", model)
    calls, found = power_loss.losses(tmp_path / "recorded", model)
    assert calls > 100
    assert len(found) > 100
    for number, (saved, files) in enumerate(found):
        power_loss.replay(tmp_path / "lost", saved, files)
        if number % 30 == 0:
            small_runs.train(tmp_path / "lost", model)
            assert small_runs.finished(tmp_path / "lost") == small_runs.finished(tmp_path / "whole")
            assert small_runs.leftovers(tmp_path / "lost") == []


def test_kills():
    """In a process that never runs a kernel, because it forks."""
    command = [sys.executable, Path(kill.__file__), "--kills", "3", "--inside", "1", "--epochs", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    assert "no unreadable checkpoint" in ended.stdout
