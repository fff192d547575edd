"""Train, resume and evaluate for a long time in one process: its memory, descriptors and threads must stay the same.

    python tests/robustness/soak.py 3600

One round is a run of LeNet on the bundled digits in a folder of its own: two epochs that are interrupted in the second,
resumed and evaluated, with a checkpoint every 5 steps. A line every half minute. After a tenth of the time, which warms
caches up, resident memory may grow by 1 % to the end, the others not at all: else the exit code is 1.
"""

import contextlib
import gc
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cnncli.training import session
from cnncli.training.loop import Listener

GROWTH = 1.01


@dataclass(frozen=True)
class Taken:
    """What this process takes: resident bytes, open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> "Taken":
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        return cls(memory, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))

    def __str__(self) -> str:
        return f"{self.memory / 2**20:.1f} MiB, {self.descriptors} descriptors, {self.threads} threads"


class Interrupting(Listener):
    """Ends a run in its second epoch."""

    def __init__(self):
        self.steps = 0

    def stepped(self, loss):
        self.steps += 1
        if self.steps == 30:
            raise KeyboardInterrupt


def one_round() -> None:
    with tempfile.TemporaryDirectory() as folder:
        changes = ("train.save_every=5", "train.epochs=2")
        request = session.Request("lenet", out=Path(folder) / "run", changes=changes, threads=2)
        with contextlib.suppress(KeyboardInterrupt):
            session.start(request, Interrupting())
        session.resume(request.out, Listener(), threads=2)
        session.evaluate_checkpoint(str(request.out), None, None, "test", None)
    gc.collect()  # networks are held in circles: without it they are freed at some time or other, many at once


def soak(seconds: float, rounds: int = 0) -> tuple[Taken, Taken, int]:
    """What was taken after the first tenth and at the end, and the rounds: for a time, and at least so many."""
    started = shown = time.monotonic()
    first, done = None, 0
    while time.monotonic() - started < seconds or done < rounds:
        one_round()
        done += 1
        if first is None and time.monotonic() - started >= seconds / 10 and done >= rounds / 10:
            first = Taken.now()
        if time.monotonic() - shown >= 30:
            shown = time.monotonic()
            print(f"{shown - started:6.0f} s  {done} rounds  {Taken.now()}", flush=True)
    return first, Taken.now(), done


def main() -> int:
    seconds = float(sys.argv[1])
    first, last, rounds = soak(seconds)
    print(f"{rounds} rounds in {seconds:.0f} s: {first} became {last}")
    flat = (first.descriptors, first.threads) == (last.descriptors, last.threads)
    return 0 if flat and last.memory <= GROWTH * first.memory else 1


if __name__ == "__main__":
    sys.exit(main())
