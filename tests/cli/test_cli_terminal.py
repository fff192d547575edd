"""Output on a terminal, which obeys what is printed, and with streams that are closed."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import SMALL

from cnncli.cli import main, options, progress

pty = pytest.importorskip("pty")  # not on Windows
OWNED = "r\x1b[31m\x1b]0;owned\x07X"  # red, and a title for the window
SHOWN = r"r\x1b[31m\x1b]0;owned\x07X"
SHORT = ["train", "--model", "small.yaml", "--set", "train.max_steps=1", "-t", "1"]


@pytest.fixture
def terminal(monkeypatch):
    """A function that calls another with stdout and stderr on a terminal, and returns what that was sent."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    def call(function, *arguments) -> str:
        screen, end = pty.openpty()
        sent = []

        def read():
            with contextlib.suppress(OSError):  # so it ends where the other side is closed
                while some := os.read(screen, 2**16):
                    sent.append(some)

        reader = threading.Thread(target=read)
        reader.start()
        with open(end, "w") as stream, monkeypatch.context() as patch, contextlib.suppress(SystemExit):
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            function(*arguments)
        reader.join()
        os.close(screen)
        return b"".join(sent).decode().replace("\r\n", "\n")

    return call


def assert_harmless(shown: str) -> None:
    assert SHOWN in shown
    assert not {"\x1b]", "\x1b[31m", "\x07"} & {shown[i : i + n] for i in range(len(shown)) for n in (1, 2, 5)}


def test_the_name_of_a_run_is_not_obeyed(run, terminal, files):
    assert run(*SHORT, "--out", OWNED).code == 0
    resumed = terminal(main, ["train", "--resume", OWNED])
    assert_harmless(resumed)
    assert f"into {SHOWN}\n" in resumed
    assert f"\n{SHOWN}: was complete" in resumed
    evaluated = terminal(main, ["eval", OWNED])
    assert_harmless(evaluated)
    assert evaluated.startswith(f"{SHOWN}/best.safetensors: accuracy ")
    Image.new("L", (8, 8)).save(f"{OWNED}.png")
    predicted = terminal(main, ["predict", "--run", OWNED, f"{OWNED}.png"])
    assert_harmless(predicted)
    assert predicted.startswith(f"{SHOWN}.png: ")


def test_other_names_are_not_obeyed(run, terminal, files):
    Path(f"{OWNED}.yaml").write_text(SMALL)
    assert_harmless(terminal(main, ["check", f"{OWNED}.yaml", f"{OWNED}.yml"]))
    assert_harmless(terminal(main, ["download", "mnist", "--data-dir", OWNED, "--mirror", OWNED]))
    assert_harmless(terminal(progress.Progress(False, False).warned, f"{OWNED}: damaged"))
    for name in (":bomb:", "[red]"):
        (files / OWNED / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8)).save(files / OWNED / name / f"{number}.png")
    shown = terminal(main, ["datasets", OWNED])
    assert_harmless(shown)
    assert [line.split()[0] for line in shown.splitlines()[-2:]] == [":bomb:", "[red]"]


def test_a_folder_named_after_a_data_set_has_a_plain_name(run, files):
    x, y = np.zeros((40, 8, 8), np.uint8), np.arange(40) % 10
    name = os.fsdecode(b"d\xff\n\x1b[31m.npz")
    np.savez(name, x_train=x, y_train=y, x_test=x, y_test=y)
    ended = run(*SHORT, "--dataset", name, "--set", "train.batch_size=20")
    assert ended.out.startswith("runs/small-d-31m-1: ")
    assert [path.name for path in Path("runs").iterdir()] == ["small-d-31m-1"]


def test_a_cell_of_a_table_stays_in_its_line(terminal, capsys):
    rows = [["a\nb\x1b[2J", 1], [["two", "lines"], 20]]
    lines = ["name         count", r"a\nb\x1b[2J      1", "two             20", "lines"]
    assert [
        line.rstrip() for line in terminal(options.print_table, ["name", "count"], rows, (1,)).splitlines()
    ] == lines
    options.print_table(["name", "count"], rows, (1,))
    assert capsys.readouterr().out.splitlines() == lines


def test_a_long_table_is_aligned_without_rich(terminal, monkeypatch):
    monkeypatch.setattr("rich.table.Table.add_row", lambda *_: pytest.fail("took 11 s for 65,528 rows"))
    rows = [[f"class {number}", number] for number in range(options.LONG + 1)]
    shown = terminal(options.print_table, ["class", "count"], rows, (1,)).splitlines()
    assert shown[0] == "class      count"
    assert shown[-1] == "class 200    200"
    assert len(shown) == len(rows) + 1


def closed(streams: str, *arguments):
    """A command that a shell begins without some of its streams, as by `2>&-`."""
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("streams", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_training_with_closed_streams(files, streams):
    ended = closed(streams, "-m", "cnncli", *SHORT, "--out", "run")
    assert ended.returncode == 0
    assert ("run: test accuracy" in ended.stdout) == (streams == "2>&-")
    assert ("epoch 1/2" in ended.stderr) == (streams == ">&-")
    assert "Traceback" not in ended.stderr
    assert Path("run/last.safetensors").exists()


@pytest.mark.parametrize("arguments", [["download", "digits"], ["cache", "info"], ["datasets", "digits"], ["nonsense"]])
def test_commands_with_a_closed_stderr(arguments):
    ended = closed("2>&-", "-m", "cnncli", *arguments)
    assert (ended.returncode, ended.stdout == "") == ((2, True) if arguments == ["nonsense"] else (0, False))


AT_EXIT = """
import atexit, os
atexit.register(lambda: os.write(1, b"nowhere" if os.path.samestat(os.fstat(2), os.stat(os.devnull)) else b"a file"))
from cnncli.cli import main
main(["check", "lenet"])
"""


def test_a_closed_stream_s_number_is_given_to_no_file():
    assert closed("2>&-", "-c", AT_EXIT).stdout.endswith("nowhere")
