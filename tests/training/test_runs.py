"""Runs' folders: new, held by one process, whole after a crash."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnncli.errors import CheckpointError, CnncliError
from cnncli.training import runs
from cnncli.training.files import write_atomically

HOLD = """
import pathlib, sys, time
from cnncli.training import runs
with runs.hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def make(out, name="x"):
    """A run's folder, as one that was killed at its end leaves it."""
    with runs.create(out, name) as folder:
        (folder / runs.LAST).write_bytes(b"")
    return folder


def fail_in(folder):
    runs.describe(folder, "layers: []", {"seed": 1})
    (folder / ".last.safetensors.abc.tmp").write_bytes(b"")
    raise ZeroDivisionError


def test_are_new_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [make(None, "lenet-digits").as_posix() for _ in range(3)] == [f"runs/lenet-digits-{i}" for i in (1, 2, 3)]
    taken = make(tmp_path / "mine")
    with pytest.raises(CnncliError, match="is not empty; choose another --out, or continue it"):
        make(taken)
    with pytest.raises(CnncliError, match="is not a folder"):
        make(taken / runs.LAST)
    with pytest.raises(CnncliError, match="is not a folder"):
        make(taken / runs.LAST / "below" / "it")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(CnncliError, match="is a link to nothing"):
        make(tmp_path / "dangling")


@pytest.mark.parametrize(
    ("found", "empty"),
    [
        ([runs.RUN, runs.MODEL, runs.LOCK, ".last.safetensors.a.tmp"], True),
        ([runs.RUN, ".model.yaml.a.tmp"], True),
        ([".run.yaml.a.tmp"], True),
        ([runs.MODEL], False),  # somebody's own
        ([runs.RUN, runs.MODEL, "notes"], False),
        ([runs.RUN, runs.MODEL, runs.METRICS], False),
    ],
)
def test_what_was_killed_before_its_first_checkpoint_is_not_in_the_way(tmp_path, found, empty):
    for name in found:
        (tmp_path / name).write_text("x")
    if empty:
        assert make(tmp_path) == tmp_path
        assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
        return
    with pytest.raises(CnncliError, match="is not empty"):
        make(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(found)


def test_nothing_is_left_of_one_that_failed_before_its_first_checkpoint(tmp_path):
    with pytest.raises(ZeroDivisionError), runs.create(tmp_path / "new", "x") as folder:
        fail_in(folder)
    assert list(tmp_path.iterdir()) == []


def test_are_held_by_one_process_and_free_when_it_is_gone(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CnncliError) as caught, runs.hold(tmp_path):
            pass
        assert str(caught.value) == f"{tmp_path}: process {holder.pid} is training in it: wait for it, or stop it first"
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    (tmp_path / ".last.safetensors.abc.tmp").write_bytes(b"")
    with runs.hold(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [runs.LOCK]
        assert (tmp_path / runs.LOCK).read_text() == str(os.getpid())


def test_holding_needs_a_folder_that_can_be_written_to(tmp_path, monkeypatch):
    def read_only(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(runs.tempfile, "TemporaryFile", read_only)
    with pytest.raises(PermissionError), runs.hold(tmp_path):
        raise AssertionError("it went on")
    with pytest.raises(PermissionError), runs.create(tmp_path / "new", "x"):
        raise AssertionError("it went on")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("offset", "kept"), [(0, 0), (12, 12), (13, 12), (26, 26), (27, 26), (99, 26)], ids=lambda value: f"{value}"
)
def test_metrics_end_where_the_checkpoint_says_with_whole_lines(tmp_path, offset, kept):
    data = b'{"step": 5}\n{"step": 10}\n\n{"st'
    (tmp_path / runs.METRICS).write_bytes(data)
    assert runs.forget_after(tmp_path, offset) == kept
    assert (tmp_path / runs.METRICS).read_bytes() == data[:kept]


def test_metrics_are_added_at_their_offset(tmp_path):
    assert runs.forget_after(tmp_path, 40) == 0
    end = runs.add_metrics(tmp_path, 0, {"step": 5})
    with (tmp_path / runs.METRICS).open("ab") as file:
        file.write(b'{"torn')
    assert runs.add_metrics(tmp_path, end, {"step": 10}) == 25
    assert (tmp_path / runs.METRICS).read_text() == '{"step": 5}\n{"step": 10}\n'
    (tmp_path / runs.METRICS).unlink()  # by somebody, in the middle of the run
    assert runs.add_metrics(tmp_path, 25, {"step": 15}) == 13
    assert (tmp_path / runs.METRICS).read_text() == '{"step": 15}\n'


def linked(path):
    path.with_name("precious").write_text("precious")
    path.symlink_to("precious")


def dangling(path):
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, linked, dangling])
def test_nothing_is_written_through_what_somebody_put_into_a_run(tmp_path, make):
    make(tmp_path / runs.METRICS)
    make(tmp_path / runs.LOCK)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def hold():
        with runs.hold(tmp_path):
            pass

    calls = (lambda: runs.forget_after(tmp_path, 0), lambda: runs.add_metrics(tmp_path, 0, {"step": 5}), hold)
    for call, name in zip(calls, (runs.METRICS, runs.METRICS, runs.LOCK), strict=True):
        with pytest.raises(OSError, match="is a link, or not a file: move it away") as caught:
            call()
        assert caught.value.filename == str(tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_backup_by_links_keeps_what_it_has(tmp_path):
    run, backup = tmp_path / "run", tmp_path / "backup"
    run.mkdir()
    end = runs.add_metrics(run, 0, {"step": 5})
    (run / runs.LOCK).write_bytes(b"precious")
    backup.mkdir()
    for path in run.iterdir():
        (backup / path.name).hardlink_to(path)
    before = {path.name: path.read_bytes() for path in backup.iterdir()}
    with runs.hold(run):
        assert runs.forget_after(run, end + 7) == end
        runs.add_metrics(run, end, {"step": 10})
        with pytest.raises(CnncliError, match="another process is training in it"), runs.hold(run):
            pass
    assert (run / runs.METRICS).read_text() == '{"step": 5}\n{"step": 10}\n'
    assert {path.name: path.read_bytes() for path in backup.iterdir()} == before


def test_huge_files_in_a_run_are_not_read(tmp_path):
    for name in (runs.MODEL, runs.METRICS):
        (tmp_path / name).write_bytes(b"a\nb\n")
        os.truncate(tmp_path / name, 2**40)  # most of it is nowhere on the disk
    with pytest.raises(CheckpointError, match=r"model\.yaml:3: differs"):
        runs.check_model(tmp_path, "a\nb\nc\n")
    assert runs.forget_after(tmp_path, 2**62) == 0  # zeros are no lines
    (tmp_path / runs.METRICS).write_bytes(b"a\nb\n")
    os.truncate(tmp_path / runs.METRICS, 2**40)
    assert runs.forget_after(tmp_path, 4) == 4
    assert (tmp_path / runs.METRICS).read_bytes() == b"a\nb\n"


@pytest.mark.parametrize(("changed", "line"), [("a\nB\nc\n", 2), ("a\nb\nc\nd\n", 4), ("a\nb\n", 3), ("", 1)])
def test_a_changed_model_is_named_by_its_line(tmp_path, changed, line):
    runs.check_model(tmp_path, "a\nb\nc\n")
    (tmp_path / runs.MODEL).write_text("a\nb\nc\n")
    runs.check_model(tmp_path, "a\nb\nc\n")
    (tmp_path / runs.MODEL).write_text(changed)
    with pytest.raises(CheckpointError) as caught:
        runs.check_model(tmp_path, "a\nb\nc\n")
    assert str(caught.value).startswith(
        f"{tmp_path / runs.MODEL}:{line}: differs from the model that the run began with"
    )


def test_the_last_checkpoints_are_kept(tmp_path):
    for step in range(0, 130, 10):
        if step:
            runs.keep_older(tmp_path, step - 10)
        write_atomically(tmp_path / runs.LAST, [str(step).encode()])
        runs.forget_older(tmp_path, 2)
    (tmp_path / "step-x.safetensors").write_text("somebody's own")
    found = runs.resumable(tmp_path)
    assert [path.name for path in found] == [runs.LAST, "step-110.safetensors", "step-100.safetensors"]
    assert [path.read_text() for path in found] == ["120", "110", "100"]


def test_the_last_checkpoint_may_have_been_taken_away(tmp_path):
    runs.keep_older(tmp_path, 10)
    assert not runs.resumable(tmp_path)


def test_a_kept_checkpoint_becomes_the_last_and_nothing_is_lost(tmp_path):
    names = "step-10", "step-20", "step-30", "last"
    for name in names:
        (tmp_path / f"{name}.safetensors").write_text(name)
    runs.go_back_to(tmp_path / "step-10.safetensors")
    assert [path.name for path in runs.resumable(tmp_path)] == [runs.LAST, "step-10.safetensors"]
    assert (tmp_path / runs.LAST).read_text() == "step-10"
    for name in names[1:]:
        assert (tmp_path / f"{name}.safetensors.unreadable").read_text() == name
    (tmp_path / runs.LAST).unlink()  # as after a crash between the two steps
    runs.go_back_to(tmp_path / "step-10.safetensors")
    assert (tmp_path / runs.LAST).read_text() == "step-10"
