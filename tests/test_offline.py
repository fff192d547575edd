"""No command but `download` uses the network: none of them, nor a process that it starts, tries to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cnncli.cli import COMMANDS

OFFLINE = Path(__file__).with_name("offline")
NET = """
name: net
input: {channels: 1, size: [8, 8]}
layers: [flatten, dense: 10]
train: {epochs: 1, batch_size: 64, optimizer: {sgd: {lr: 0.05}}}
"""
CALLS = {
    "train": ["train", "--model", "net.yaml", "--out", "run", "--threads", "1"],
    "train --resume": ["train", "--resume", "run"],
    "eval": ["eval", "run"],
    "predict": ["predict", "--run", "run", "digit.png"],
    "benchmark": ["benchmark", "--model", "net.yaml", "--rounds", "1", "--threads", "1"],
    "summary": ["summary", "--model", "net.yaml"],
    "check": ["check", "net.yaml", "lenet"],
    "gradcheck": ["gradcheck", "--model", "net.yaml"],
    "models": ["models"],
    "datasets": ["datasets"],
    "datasets digits": ["datasets", "digits"],
    "cache": ["cache", "info"],
    "info": ["info"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offline")
    (folder / "net.yaml").write_text(NET)
    Image.new("L", (8, 8)).save(folder / "digit.png")
    return folder


def attempts(folder, arguments: list[str], code: int = 0) -> tuple[list[str], str]:
    """What a command, which must end with that code, tried on the network; and what it wrote on stderr."""
    note = folder / "attempts"
    note.write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"PYTHONPATH": str(OFFLINE), "OFFLINE": str(note), "CNNCLI_DATA": str(folder / "data")}
    command = [sys.executable, "-m", "cnncli", *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == code, ended.stderr
    return note.read_text().splitlines(), ended.stderr


@pytest.fixture(scope="module")
def trained(folder):
    """The folder with a run in it, and what training it tried on the network."""
    return folder, attempts(folder, CALLS["train"])[0]


def test_training(trained):
    assert trained[1] == []


@pytest.mark.parametrize("call", [call for call in CALLS if call != "train"])
def test_command(trained, call):
    assert attempts(trained[0], CALLS[call])[0] == []


def test_every_command_is_here():
    assert {arguments[0] for arguments in CALLS.values()} | {"download"} == set(COMMANDS)


def test_a_data_set_that_is_not_there_is_not_fetched(folder):
    tried, said = attempts(folder, ["train", "--model", "lenet", "--dataset", "mnist"], code=3)
    assert tried == []
    assert "run `cnncli download mnist`" in said


def test_download_is_what_does(folder):
    """Else the tests above would see nothing at all."""
    tried, said = attempts(folder, ["download", "mnist", "--mirror", "http://127.0.0.1:9/"], code=3)
    assert any("getaddrinfo ['127.0.0.1', '9'" in attempt for attempt in tried)
    assert said.startswith("error: mnist: no mirror gave ")
    assert said.count("\n") == 1
