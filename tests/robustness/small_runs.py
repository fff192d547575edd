"""What the scripts of this folder share: a small run, and what has to be true of a run's folder after a fault."""

import hashlib
import json
from pathlib import Path

from cnncli.training import checkpoint, runs
from cnncli.training.loop import Listener
from cnncli.training.session import Request, resume, start

MODEL = """\
name: small
input: {channels: 1, size: [8, 8]}
layers:
  - conv: {filters: 4, kernel: 3, padding: same}
  - batch_norm
  - relu
  - max_pool: 2
  - flatten
  - dropout: 0.2
  - dense: 10
data: {augment: [flip, shift: 1]}
train: {epochs: 2, batch_size: 400, save_every: 3, keep: 2, optimizer: adam}
"""


def write_model(folder: Path, text: str = MODEL) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def train(folder: Path, model: Path, stop=lambda: False) -> None:
    """Begin the run in `folder`, or go on with it where it can be gone on with."""
    if runs.resumable(folder):
        resume(folder, Listener(), 1, stop=stop)
    else:
        start(Request(str(model), out=folder, threads=1), Listener(), stop)


def finished(folder: Path) -> str:
    """A digest of all that a finished run has learned: the tensors of its last and its best checkpoint."""
    found = hashlib.sha256()
    for name in (runs.LAST, runs.BEST):
        for tensor, values in sorted(checkpoint.read(folder / name).tensors.items()):
            found.update(tensor.encode() + values.tobytes())
    records = [json.loads(line) for line in (folder / runs.METRICS).read_text().splitlines()]
    lasting = [{k: v for k, v in record.items() if "second" not in k} for record in records]
    found.update(json.dumps(lasting).encode())
    return found.hexdigest()


def check(folder: Path) -> int | None:
    """Read every checkpoint of a run; returns the step of the last, None where there is none.

    Raises CheckpointError where one cannot be read, AssertionError where they do not go together.
    """
    found = {path.name: checkpoint.read(path).progress for path in sorted(folder.glob("*.safetensors"))}
    last = found.get(runs.LAST)
    if last is None:
        assert not found, f"{sorted(found)} without {runs.LAST}"
        return None
    assert (last.best is None) or runs.BEST in found
    metrics = (folder / runs.METRICS).read_bytes() if last.metrics else b""
    assert len(metrics) >= last.metrics
    assert metrics[: last.metrics].endswith(b"\n") or not last.metrics
    return last.step


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.tmp"))
