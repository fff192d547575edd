"""Runs: a folder each, with the model, what was resolved, a line of metrics an epoch, and the checkpoints."""

import contextlib
import itertools
import json
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cnncli.errors import CheckpointError, CnncliError
from cnncli.locks import lock
from cnncli.spec.yaml import dump
from cnncli.training.files import (
    clear_leftovers,
    leftovers,
    make_folder,
    naming,
    open_own,
    put,
    same_file,
    write_atomically,
)

HOME = Path("runs")
BEST, LAST, MODEL, RUN, METRICS = "best.safetensors", "last.safetensors", "model.yaml", "run.yaml", "metrics.jsonl"
OLDER = "step-*.safetensors"
LOCK = ".lock"
LONGEST_LINE = 2**16  # bytes, of metrics
WRITTEN = BEST, LAST, OLDER, MODEL, RUN, METRICS


@contextlib.contextmanager
def create(out: Path | None, name: str) -> Iterator[Path]:
    """A new run's folder, held by this process: `out`, or the first free runs/NAME-1, runs/NAME-2, ...

    Where an exception comes before the first checkpoint, nothing of it is left. Raises CnncliError where `out` already
    holds something: a run is never overwritten.
    """
    folder = _new_folder(out, name)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(hold(folder))
        except OSError:
            _discard(folder)
            raise
        _check_empty(folder)
        try:
            yield folder
        except BaseException:
            if not (folder / LAST).exists():
                _discard(folder)
            raise


def check_out(out: Path) -> None:
    """Raise CnncliError where no new run can be in `out`, which need not be there."""
    if out.is_symlink() and not out.exists():
        raise CnncliError(f"{out}: is a link to nothing; choose another --out")
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise CnncliError(f"{there}: is not a folder; choose another --out")
    if there == out:
        _check_empty(out)


def _new_folder(out: Path | None, name: str) -> Path:
    if out is not None:
        check_out(out)
        with contextlib.suppress(FileExistsError):
            make_folder(out)
        return out
    number = 1
    while True:
        folder = HOME / f"{name}-{number}"
        try:
            make_folder(folder)
            return folder
        except FileExistsError:
            if not HOME.is_dir():
                raise
            number += 1


def _check_empty(folder: Path) -> None:
    """A run that was killed before its first checkpoint holds nothing: RUN is written first, MODEL after it."""
    found = {path.name for path in folder.iterdir()} - {path.name for path in leftovers(folder, WRITTEN)} - {LOCK}
    if found and not {RUN} <= found <= {RUN, MODEL}:
        resume = f"--resume {shlex.quote(str(folder))}"
        raise CnncliError(f"{folder}: is not empty; choose another --out, or continue it with {resume}")


def _discard(folder: Path) -> None:
    with contextlib.suppress(OSError):
        clear_leftovers(folder, WRITTEN)
        for name in (MODEL, RUN, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Let no other process train in a run's folder, and clear it of what a crash left.

    The lock goes with the process, however that ends. Raises CnncliError where another process holds it, OSError where
    the folder cannot be written to.
    """
    handle = open_own(folder / LOCK, os.O_RDWR)
    try:
        _lock(folder, handle)
        with tempfile.TemporaryFile(dir=folder):
            clear_leftovers(folder, WRITTEN)
        yield
    finally:
        os.close(handle)


def _lock(folder: Path, handle: int) -> None:
    try:
        locked = lock(handle, wait=False)
    except BlockingIOError:
        holder = os.read(handle, 20).decode(errors="replace")
        who = f"process {holder}" if holder.isdecimal() else "another process"
        raise CnncliError(f"{folder}: {who} is training in it: wait for it, or stop it first") from None
    if locked and os.fstat(handle).st_nlink == 1:  # else it is also a file elsewhere, as in a backup by links
        with naming(folder / LOCK):
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())


def describe(folder: Path, source: str, resolved: dict) -> None:
    """Write the model and what was resolved for the run."""
    write_atomically(folder / RUN, [dump(resolved).encode()])
    write_atomically(folder / MODEL, [source.encode()])


def check_model(folder: Path, source: str) -> None:
    """Raise CheckpointError where a run's model is no longer that of its checkpoint, whose `source` is given."""
    path, begun = folder / MODEL, source.encode()
    if not path.is_file():
        return
    with path.open("rb") as file:
        found = file.read(len(begun) + 1)  # somebody may have put a huge file there
    if found != begun:
        now, then = found.split(b"\n"), begun.split(b"\n")
        same = next((i for i, pair in enumerate(zip(now, then, strict=False)) if pair[0] != pair[1]), len(then))
        text = "differs from the model that the run began with: undo that, or start a new run with --model"
        raise CheckpointError(f"{path}:{same + 1}: {text}")


def add_metrics(folder: Path, offset: int, record: dict) -> int:
    """Write a line of metrics at an offset, where those before it end; returns where it ends."""
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    return put(folder / METRICS, offset, line)


def forget_after(folder: Path, offset: int) -> int:
    """Drop the metrics behind an offset, which a resumed run writes again. Returns where they end now."""
    path = folder / METRICS
    if not path.is_symlink() and not path.exists():
        return 0
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        offset = min(offset, size)  # somebody may have shortened the file
        start = max(0, offset - LONGEST_LINE)
        file.seek(start)
        found = file.read(offset - start).rfind(b"\n") + 1
    end = start + found if found else 0
    if end < size:
        put(path, end, b"")
    return end


def keep_older(folder: Path, step: int) -> None:
    """Keep the last checkpoint, of `step`, before another takes its place."""
    with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
        same_file(folder / LAST, folder / OLDER.replace("*", str(step)))


def forget_older(folder: Path, count: int) -> None:
    """Remove all but `count` of the checkpoints that were kept."""
    for path in older_checkpoints(folder)[count:]:
        path.unlink(missing_ok=True)


def go_back_to(path: Path) -> None:
    """Let a checkpoint that was kept be the last one again. Later ones, which cannot be read, are put aside."""
    folder = path.parent
    for later in (folder / LAST, *itertools.takewhile(path.__ne__, older_checkpoints(folder))):
        with contextlib.suppress(FileNotFoundError):
            os.replace(later, later.with_name(f"{later.name}.unreadable"))
    same_file(path, folder / LAST)


def resumable(folder: Path) -> list[Path]:
    """The checkpoints that a run can be resumed from, the newest first."""
    return [path for path in (folder / LAST, *older_checkpoints(folder)) if path.is_file()]


def older_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that were kept when another took their place, the newest first."""
    found = {path: path.name[len("step-") : -len(".safetensors")] for path in folder.glob(OLDER)}
    return sorted((path for path in found if found[path].isdecimal()), key=lambda path: -int(found[path]))


def newest() -> Path:
    """The run in runs/ whose checkpoint was written last. Raises CheckpointError where there is none."""
    found = [(path.stat().st_mtime_ns, str(path.parent)) for path in HOME.glob(f"*/{LAST}") if path.is_file()]
    if not found:
        raise CheckpointError(f"no run in {HOME}/: train one first (cnncli train --model lenet), or name a checkpoint")
    return Path(max(found)[1])


def checkpoint_of(run_or_file: str | None) -> Path:
    """The checkpoint to use: a file itself, a run's best (else its last), by default that of the newest run."""
    path = Path(run_or_file) if run_or_file else newest()
    if path.is_dir():
        found = next((path / name for name in (BEST, LAST) if (path / name).is_file()), None)
        if found is None:
            raise CheckpointError(f"{path}: holds neither {BEST} nor {LAST}")
        return found
    if not path.is_file():
        raise CheckpointError(f"{path}: no such run or checkpoint")
    return path
