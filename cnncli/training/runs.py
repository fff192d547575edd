"""Runs: a folder each, with the model, what was resolved, a line of metrics an epoch, and the checkpoints."""

import json
import math
import os
from pathlib import Path

from cnncli.errors import CheckpointError, CnncliError
from cnncli.spec.yaml import dump
from cnncli.training.files import write_atomically

HOME = Path("runs")
BEST, LAST, MODEL, RUN, METRICS = "best.safetensors", "last.safetensors", "model.yaml", "run.yaml", "metrics.jsonl"


def create(out: Path | None, name: str) -> Path:
    """A new, empty run folder: `out`, or the first free runs/NAME-1, runs/NAME-2, ...

    Raises CnncliError where `out` already holds something: a run is never overwritten.
    """
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            if any(out.iterdir()):
                raise CnncliError(f"{out}: is not empty; choose another --out, or continue it with --resume {out}")
        except (FileExistsError, NotADirectoryError):
            raise CnncliError(f"{out}: is not a folder; choose another --out") from None
        return out
    HOME.mkdir(exist_ok=True)
    number = 1
    while True:
        try:
            folder = HOME / f"{name}-{number}"
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def describe(folder: Path, source: str, resolved: dict) -> None:
    """Write the model and what was resolved for the run."""
    write_atomically(folder / MODEL, source.encode())
    write_atomically(folder / RUN, dump(resolved).encode())


def add_metrics(folder: Path, record: dict) -> None:
    """Append a line of metrics, in one write."""
    with open(folder / METRICS, "ab", buffering=0) as file:
        file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        os.fsync(file.fileno())


def forget_after(folder: Path, step: int) -> None:
    """Drop the lines of metrics that were written after `step`, which a resumed run writes again, and torn ones."""
    path = folder / METRICS
    if path.is_file():
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith(b"\n") and _step_of(line) <= step]
        if len(kept) < len(lines):
            write_atomically(path, b"".join(kept))


def _step_of(line: bytes) -> float:
    """The step of a line of metrics, infinite if it is none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


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
