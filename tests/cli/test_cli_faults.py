"""train on a machine that fails, is too small or is shut down; with data, models and checkpoints that were changed."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small import SMALL

from cnncli.training import checkpoint, runs

MODEL = SMALL.replace("  - max_pool: 2\n", "").replace("batch_size: 50", "batch_size: 20")
BEGUN = []  # the processes of a test
LONG = ["train", "--model", "small.yaml", "--epochs", "100000", "--out", "run", "-t", "1"]


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """A folder to work in, with a small model and a data set."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(MODEL)
    write_data()
    yield tmp_path
    for process in BEGUN:  # also where a test ended early
        process.kill()
        process.wait()
    BEGUN.clear()


def write_data(seed=0, name="mine.npz"):
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 256, (60, 8, 8), np.uint8), np.arange(60) % 10
    np.savez(name, x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])


def begin(*arguments, before="", **options):
    """A command in a process of its own; `before` is Python that runs first."""
    program = f"{before}\nimport sys; from cnncli.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    BEGUN.append(subprocess.Popen(command, text=True, **pipes | options))
    return BEGUN[-1]


def wait_for(process, path):
    while not Path(path).exists() and process.poll() is None:
        time.sleep(0.005)


def three_steps(run, *options):
    """A run of three steps, half an epoch, with a checkpoint behind each."""
    process = ["train", "--model", "small.yaml", "--dataset", "mine.npz", "--out", "run", "--save-every", "1", *options]
    run(*process, "--set", "train.max_steps=3", "-q")
    return json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_lets_the_step_end_and_saves(run, name):
    number = getattr(signal, name)
    process = begin(*LONG)
    wait_for(process, "run/metrics.jsonl")
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert out == ""
    pattern = r"error: stopped after step (\d+) of 7300000: go on with cnncli train --resume run"
    step = int(re.fullmatch(pattern, err.splitlines()[-1])[1])
    assert checkpoint.read(Path("run") / runs.LAST).progress.step == step >= 73
    assert not list(Path("run").glob(".*.tmp"))


STUCK = """
import time
from cnncli.training.loop import Run
step = Run._step
def stuck(run, *arguments):
    if run.progress.step == 1:
        print(flush=True)
        time.sleep(99)
    return step(run, *arguments)
Run._step = stuck
"""


def test_a_second_signal_ends_a_step_that_lasts():
    process = begin(*LONG, before=STUCK)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    time.sleep(1)  # what comes sooner counts as one
    assert process.poll() is None  # the first waits for the step's end
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert checkpoint.read(Path("run") / runs.LAST).progress.step == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_before_the_first_step_leaves_nothing(files, name):
    number, before = getattr(signal, name), sorted(files.iterdir())
    stuck = "import time; from cnncli import datasets; datasets.load = lambda *_: print(flush=True) or time.sleep(99)"
    process = begin(*LONG, before=stuck)
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == "error: interrupted\n"
    assert sorted(files.iterdir()) == before


def test_what_nohup_ignores_stays_ignored():
    process = begin(*LONG, before="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    wait_for(process, "run/metrics.jsonl")
    process.send_signal(signal.SIGHUP)
    lines = len(Path("run/metrics.jsonl").read_text().splitlines())
    while len(Path("run/metrics.jsonl").read_text().splitlines()) < lines + 3:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_two_runs_in_one_folder(mistake):
    process = begin(*LONG)
    wait_for(process, "run/last.safetensors")
    line = f"error: run: process {process.pid} is training in it: wait for it, or stop it first"
    assert mistake("train", "--resume", "run") == (1, line)
    assert mistake(*LONG)[1].startswith("error: run: is not empty")
    process.kill()
    process.communicate()
    Path("run/model.yaml").write_text(MODEL)  # gone on with, it would run for a while
    assert "model.yaml" in mistake("train", "--resume", "run")[1]


def test_what_was_changed_is_named_and_refused(run, mistake):
    three_steps(run)
    before = Path("run/last.safetensors").read_bytes()
    write_data(seed=1)
    line = (
        "error: mine: the training samples and the test samples are not those that the run began with: start a new run"
    )
    assert mistake("train", "--resume", "run") == (3, line)
    write_data()
    model = Path("run/model.yaml")
    text = model.read_text()
    model.write_text(text.replace("filters: 4", "filters: 5"))
    number = text[: text.index("filters: 4")].count("\n") + 1
    code, line = mistake("train", "--resume", "run")
    assert code == 4
    assert line.startswith(f"error: run/model.yaml:{number}: differs from the model that the run began with: undo that")
    model.unlink()
    assert run("train", "--resume", "run", "-q").code == 0
    assert Path("run/last.safetensors").read_bytes() == before


def test_other_versions_are_named_and_refused_unless_asked_for(run, mistake, monkeypatch):
    three_steps(run)
    before = Path("run/last.safetensors").read_bytes()
    from cnncli import kernels

    monkeypatch.setattr(kernels, "versions", lambda: {"numba": "9.9", "llvmlite": "9", "numpy": "9"})
    monkeypatch.setattr(kernels, "processor", lambda: "z80")
    code, line = mistake("train", "--resume", "run")
    assert code == 4
    assert line.startswith("error: run: numba was 0.")
    assert ", now 9.9; " in line
    assert "now z80: the last bits may differ from those of an uninterrupted run; --other-versions goes on" in line
    assert Path("run/last.safetensors").read_bytes() == before
    assert run("train", "--resume", "run", "--other-versions").code == 0


def test_what_a_checkpoint_says_of_versions_is_cut():
    from cnncli.errors import CheckpointError
    from cnncli.training import session

    with pytest.raises(CheckpointError) as caught:
        session._check_versions(Path("run"), {"numba": "9" * 10**6})
    assert f"numba was {'9' * 60}, now 0." in str(caught.value)


def test_data_that_were_moved(run, mistake):
    three_steps(run)
    Path("elsewhere").mkdir()
    Path("mine.npz").rename("elsewhere/mine.npz")
    code, line = mistake("train", "--resume", "run")
    assert code == 3
    assert "mine.npz: no data set or path of that name" in line
    assert run("train", "--resume", "run", "--dataset", "elsewhere/mine.npz").code == 0
    write_data(seed=1)
    assert mistake("train", "--resume", "run", "--dataset", "mine.npz")[0] == 3
    assert mistake("train", "--resume", "run", "--dataset", "~nobody-of-this-name/mine.npz")[0] == 3


@pytest.mark.parametrize("options", [["--seed", "0"], ["--epochs", "0"], ["--no-shuffle"], ["--set", "train.seed=1"]])
def test_a_resumed_run_goes_on_as_it_began(run, mistake, options):
    three_steps(run)
    expected = f"error: --resume goes on as the run began: {options[0]} cannot change it (see: cnncli train --help)"
    assert mistake("train", "--resume", "run", *options) == (2, expected)


def test_what_is_no_run(run, mistake):
    three_steps(run)
    wanted = "error: run/last.safetensors: is a file: give --resume the run's folder, run"
    assert mistake("train", "--resume", "run/last.safetensors") == (4, wanted)
    Path("empty").mkdir()
    wanted = "error: empty: holds no last.safetensors to resume from: start a run with --model"
    assert mistake("train", "--resume", "empty") == (4, wanted)


def test_a_training_goes_on_when_its_reader_has_left():
    process = begin(*LONG)
    wait_for(process, "run/metrics.jsonl")
    process.stderr.close()
    lines = len(Path("run/metrics.jsonl").read_text().splitlines())
    while len(Path("run/metrics.jsonl").read_text().splitlines()) < lines + 3:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert checkpoint.read(Path("run") / runs.LAST).progress.step > 73 * (lines + 2)
    process.stdout.close()


def test_messages_that_cannot_be_written(files):
    with open("/dev/full", "w") as full:
        process = begin(*LONG, "--epochs", "1", stderr=full)
        process.communicate(timeout=60)
        assert process.returncode == 0
        process = begin("train", "--resume", "missing", stderr=full)
        process.communicate(timeout=60)
        assert process.returncode == 4


def test_threads_stay_those_that_the_run_began_with(run):
    three_steps(run, "--threads", "1")
    ended = run("train", "--resume", "run", "-v")
    assert ended.code == 0
    assert "measured" not in ended.err
    assert checkpoint.read(Path("run") / runs.LAST).progress.given.threads == 1


def test_a_damaged_checkpoint_is_one_line_or_the_one_before(run, mistake):
    three_steps(run)
    last = Path("run/last.safetensors")
    damaged = bytearray(last.read_bytes())
    damaged[-5] ^= 4
    last.write_bytes(damaged)
    line = "error: run/last.safetensors: damaged: its bytes are not those that were written"
    for command in (["train", "--resume", "run"], ["eval", "run/last.safetensors"]):
        assert mistake(*command) == (4, line)

    for path in Path("run").iterdir():
        path.unlink()
    expected = three_steps(run, "--set", "train.keep=3")
    assert sorted(path.name for path in Path("run").glob("step-*")) == ["step-1.safetensors", "step-2.safetensors"]
    wanted = last.read_bytes()
    last.write_bytes(damaged)
    Path("run/step-2.safetensors").write_bytes(b"")
    ended = run("train", "--resume", "run")
    assert ended.code == 0
    assert "warning: run/last.safetensors: damaged" in ended.err
    assert "; going on from run/step-1.safetensors" in ended.err
    kept = runs.resumable(Path("run"))
    assert [path.name for path in kept] == ["last.safetensors", "step-2.safetensors", "step-1.safetensors"]
    assert [checkpoint.read(path).progress.step for path in kept] == [3, 2, 1]
    assert Path("run/last.safetensors.unreadable").read_bytes() == damaged
    tensors = [checkpoint.unpack(data) for data in (wanted, last.read_bytes())]
    assert {k: t.tobytes() for k, t in tensors[0].items()} == {k: t.tobytes() for k, t in tensors[1].items()}
    found = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])
    assert {k: v for k, v in found.items() if "second" not in k} == {
        k: v for k, v in expected.items() if "second" not in k
    }


def test_a_last_checkpoint_that_is_not_there(run):
    three_steps(run, "--set", "train.keep=2")
    last = Path("run/last.safetensors")
    wanted = last.read_bytes()
    last.unlink()
    ended = run("train", "--resume", "run")
    assert ended.code == 0
    assert "warning: run/last.safetensors: is not there; going on from run/step-2.safetensors" in ended.err
    assert checkpoint.unpack(last.read_bytes()).keys() == checkpoint.unpack(wanted).keys()
    assert checkpoint.read(last).progress.step == 3


def test_a_home_in_the_folder_of_data(run, monkeypatch, files):
    monkeypatch.setenv("HOME", str(files))
    assert run("train", "--model", "small.yaml", "--data-dir", "~/data", "--epochs", "0", "--out", "run").code == 0
    assert checkpoint.read(Path("run/last.safetensors")).progress.given.data_dir == str(files / "data")


HUGE = MODEL.replace("dense: 10", "dense: 65536").replace("size: [8, 8]", "size: [65536, 65536]")
WIDE = MODEL.replace("dense: 10", "dense: 60000\n  - relu\n  - dense: 10")  # 250 MB, four times its weights


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        # 4 x 65536^3 weights, their gradients and two slots of 4 bytes: 2^54
        (HUGE, [], r"training needs 16 PiB of memory, .* are available: layer 3_dense takes most"),
        (MODEL, ["--max-memory", "1MB"], r"training needs .* KiB of memory, 0 B are left of --max-mem"),
        (WIDE, ["--max-memory", "300MB"],
         r"training needs .* MiB of memory, .* are left of --max-memory: layer 3_dense takes"),
        (MODEL, ["--max-memory", "much"], "Invalid value for '--max-memory': 'much' is no size: write 512MB, 2GB"),
    ],
)  # fmt: skip
def test_what_cannot_fit_into_memory(mistake, files, text, options, expected):
    Path("large.yaml").write_text(text)
    code, line = mistake("train", "--model", "large.yaml", *options)
    assert code == 2
    assert re.match(f"error: {expected}", line)
    assert not (files / "runs").exists()


def test_enough_memory(run):
    assert run("train", "--model", "small.yaml", "--max-memory", "64GB", "--epochs", 0).code == 0


LIMIT = """
import resource
from cnncli.training import memory, session
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 200_000_000, resource.RLIM_INFINITY))
"""


@pytest.mark.parametrize(
    ("more", "code", "expected"),
    [
        ("", 2, r"training needs .* are available: layer 3_dense takes most"),
        ("memory.available = lambda: 1e18", 1, "out of memory: try a smaller --batch-size"),
    ],
    ids=["estimated", "allocated"],
)
def test_a_limit_of_the_address_space_is_one_line(files, more, code, expected):
    Path("large.yaml").write_text(WIDE)
    process = begin("train", "--model", "large.yaml", "-t", "1", before=LIMIT + more)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert re.fullmatch(f"error: {expected}.*\n", err)
    assert not (files / "runs").exists()
