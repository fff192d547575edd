"""What the tests of commands share: a command run in this process, as `python -m cnncli` would run it."""

from dataclasses import dataclass

import pytest
from small import SMALL

from cnncli.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote on stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys, monkeypatch):
    """A function that runs a command and returns an Ended."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):  # they make rich take any output for a terminal
        monkeypatch.delenv(name, raising=False)

    def call(*arguments) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(caught.value.code or 0, out, err)

    return call


@pytest.fixture
def mistake(run):
    """A function that runs a command, which must fail with one line on stderr alone, and returns (code, line)."""

    def call(*arguments) -> tuple[int, str]:
        ended = run(*arguments)
        assert ended.out == ""
        assert ended.err.startswith("error: ")
        assert ended.err.count("\n") == 1
        return ended.code, ended.err.strip()

    return call


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder to work in, with a small model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path
