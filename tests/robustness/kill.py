"""Kill a training run with SIGKILL at random moments, half of them inside a save, and go on with it each time.

    python tests/robustness/kill.py [--kills 200] [--inside 50] [--epochs 4] [--seed 0]

After each kill every checkpoint has to be readable and the last one no older than before; every run that came to its
end has to have the bits of one that nobody disturbed. A kill was inside a save where it left a half-written file.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import small_runs

from cnncli.cli import main as command
from cnncli.training import session  # noqa: F401 - imported once, by the process that all runs are forked from

# 9 MB with the optimiser's slots: a save takes long enough to be met
MODEL = """\
name: large
input: {channels: 1, size: [8, 8]}
layers: [flatten, dense: 1024, relu, dropout: 0.2, dense: 1024, batch_norm, relu, dense: 10]
data: {augment: [flip, shift: 1]}
train: {epochs: EPOCHS, batch_size: 70, save_every: 1, keep: 2}
"""
LONGEST = 600  # seconds of a run: else it hangs


def begin(folder: Path, model: Path) -> int:
    """Begin a run, or go on with it, in a process of its own; returns its number. Kernels never run in this one."""
    resumable = (folder / "last.safetensors").exists()
    arguments = ["--resume", str(folder)] if resumable else ["--model", str(model), "--out", str(folder)]
    child = os.fork()
    if child:
        return child
    with open(folder.with_suffix(".log"), "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    code = 70
    try:
        command(["train", *arguments, "-t", "1", "-q"])
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        os._exit(code)


def run(folder: Path, model: Path, moment=None) -> bool:
    """A life of a run: to its end, or until `moment()` says so. Returns whether it came to its end."""
    child, started = begin(folder, model), time.monotonic()
    while moment is None or not moment():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                raise AssertionError(f"ended with {status}: {folder.with_suffix('.log').read_text()[-500:]}")
            return True
        if time.monotonic() - started > LONGEST:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("hangs")
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def at_random(generator: random.Random, longest: float):
    end = time.monotonic() + generator.uniform(0, longest)
    return lambda: time.monotonic() >= end


def inside_a_save(generator: random.Random, folder: Path):
    """Some time after a half-written file was seen, of a save after a few others."""
    seen, wanted, end = set(), generator.randint(1, 6), None

    def moment():
        nonlocal end
        if end is None:
            seen.update(small_runs.leftovers(folder))
            end = time.monotonic() + generator.uniform(0, 0.02) if len(seen) >= wanted else None
        return end is not None and time.monotonic() >= end

    return moment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--inside", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, kills, inside, runs, before = random.Random(options.seed), 0, 0, 0, None
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = small_runs.write_model(work, MODEL.replace("EPOCHS", str(options.epochs)))
        started = time.monotonic()
        run(work / "whole", model)
        longest, wanted = time.monotonic() - started, small_runs.finished(work / "whole")
        folder = work / "killed"
        while True:
            done = kills >= options.kills and inside >= options.inside
            moment = inside_a_save(generator, folder) if kills % 2 else at_random(generator, longest / 3)
            if run(folder, model, None if done else moment):
                assert small_runs.finished(folder) == wanted, "other bits after it was resumed"
                runs += 1
                if done:
                    break
                shutil.rmtree(folder)
                before = None
                continue
            kills += 1
            inside += bool(small_runs.leftovers(folder))
            step = small_runs.check(folder)
            assert before is None or step >= before, f"step {step} after step {before}"
            before = step
            if kills % 20 == 0:
                print(f"{kills} kills, {inside} inside a save, {runs} runs ended with the same bits", flush=True)
    print(f"{kills} kills, {inside} inside a save: no unreadable checkpoint, {runs} runs ended with the same bits")


if __name__ == "__main__":
    sys.exit(main())
