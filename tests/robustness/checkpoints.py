"""Ten thousand checkpoints: written, read, and looked for among as many runs.

    python tests/robustness/checkpoints.py          # an argument is another number of them

Writes that many checkpoints of a run in place of each other and reads them, in one process: after the first tenth its
memory may grow by 1 %, its descriptors and threads not at all. Then puts that many runs into a folder, where `eval`
must find the newest, and `train` a free name, in less than a second. Exit code 1 where not.
"""

import contextlib
import gc
import os
import sys
import tempfile
import time
from pathlib import Path

from soak import GROWTH, Taken

from cnncli.training import checkpoint, runs, session
from cnncli.training.loop import Listener, Run

PATIENCE = 1.0  # seconds


class Keeper(Listener):
    """Keeps the run."""

    def started(self, run):
        self.run = run


def small_run(folder: Path) -> Run:
    """One that has written its first checkpoint."""
    listener = Keeper()
    session.start(session.Request("mlp", out=folder, threads=1, changes=("train.epochs=0",)), listener)
    return listener.run


def write_and_read(run: Run, count: int) -> tuple[Taken, Taken]:
    """What the process took after a tenth of so many checkpoints, and at the end."""
    first = None
    for done in range(count):
        run.progress.step = done
        run.save(runs.LAST)
        found = checkpoint.read(run.folder / runs.LAST)
        assert found.progress.step == done
        if done % 100 == 0:
            gc.collect()
        if done == count // 10:
            first = Taken.now()
    gc.collect()
    return first, Taken.now()


def put_runs(checkpoint_file: Path, count: int) -> Path:
    """Make that many runs in ./runs with the same checkpoint; the newest is one in the middle."""
    for number in range(1, count + 1):
        folder = runs.HOME / f"mlp-digits-{number}"
        folder.mkdir(parents=True)
        os.link(checkpoint_file, folder / runs.LAST)
    newest = runs.HOME / f"mlp-digits-{count // 2}" / runs.LAST
    newest.unlink()
    newest.write_bytes(checkpoint_file.read_bytes())
    return newest


def seconds(call) -> tuple[float, object]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run = small_run(Path("one"))
        first, last = write_and_read(run, count)
        print(f"{count} checkpoints written and read: {first} became {last}")
        flat = (first.descriptors, first.threads) == (last.descriptors, last.threads)
        left = sorted(path.name for path in run.folder.iterdir())
        print(f"in the run's folder: {', '.join(left)}")
        newest = put_runs(run.folder / runs.LAST, count)
        finding, found = seconds(lambda: runs.checkpoint_of(None))
        with contextlib.ExitStack() as held:
            naming, created = seconds(lambda: held.enter_context(runs.create(None, "mlp-digits")))
        print(f"among {count} runs: the newest found in {finding:.3f} s, a free name in {naming:.3f} s")
    right = found == newest and created.name == f"mlp-digits-{count + 1}"
    quick = finding < PATIENCE and naming < PATIENCE
    return 0 if flat and right and quick and last.memory <= GROWTH * first.memory else 1


if __name__ == "__main__":
    sys.exit(main())
