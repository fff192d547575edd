"""Whether models of the zoo end with the same bits: on 1, 2, 3 and 4 threads, three times each, in one go and resumed.

    python tests/robustness/same_bits.py [--data-dir DIR] [--repeats 3] [MODEL ...]

Without names: the whole zoo, in an hour on two cores. Each model is trained for some steps on the head of the data set
that it is for, where DIR has it, else on random samples. A number of threads is a process of its own, as after `cnncli
train --threads N`; it also goes on with the runs that were cut off on another number of threads, and on 4 threads
trains once as `--threads auto` does. A digest is the sha256 of all weights, running averages and optimiser's slots
of the last checkpoint, and of the test loss. Exit code 1 where two digests of a model differ, or a run failed.
"""

import argparse
import contextlib
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from cnncli import datasets, kernels, spec
from cnncli.datasets.base import PIXELS
from cnncli.network import Network
from cnncli.training import runs, session
from cnncli.training.loop import Listener

THREADS = 1, 2, 3, 4
# (channels, axes) of an input, and the data set below DIR that has such samples
REAL = {(1, 1): "fsdd/recordings", (1, 2): "mnist", (3, 2): "cifar-10", (1, 3): "modelnet10-voxels"}
REAL_PIXELS = "isbi2012-membrane"
LARGEST = 64 * 64  # pixels of an image that a data set of small ones can stand for
WORK = 2e10  # multiply-adds, forward, of a run: a second or two
MOST_STEPS = 40


def plan_of(model: str) -> dict:
    """How much a model is trained: samples, batch, steps, which cross the end of an epoch, and where they are cut."""
    network = Network(spec.read(model))
    own = network.specification.train.batch_size
    each = sum(node.layer.multiply_adds(node.shape) for node in network.nodes)
    batch = min(own, max(2, int(WORK / 4 / each)))
    steps = int(min(MOST_STEPS, max(4, WORK / (each * batch))))
    return {"model": model, "batch": batch, "samples": 2 * batch + batch // 2 + 1, "steps": steps, "cut": steps // 2}


def write_data(plan: dict, data_dir: Path | None, path: Path) -> str:
    """Write samples for a plan as an .npz; returns what they are."""
    network = Network(spec.read(plan["model"]))
    many = {"train": plan["samples"], "test": min(plan["batch"], 8)}
    shape, classes = (*network.input.axes, network.input.channels), network.output.channels
    name = REAL_PIXELS if network.task == PIXELS else REAL.get((network.input.channels, len(network.input.axes)))
    small = np.prod(network.input.axes) <= LARGEST or len(network.input.axes) != 2 or network.task == PIXELS
    if data_dir and name and small and (data_dir / name).exists():
        found = datasets.load(str(data_dir / name), None, datasets.Input(network.input.axes, network.input.channels))
        found = datasets.fit(found, network.input.axes, network.input.channels)
        arrays = {
            f"{letter}_{split}": getattr(getattr(found, split), what)[:count]
            for split, count in many.items()
            for letter, what in (("x", "images"), ("y", "labels"))
        }
        shapes = {"x": shape, "y": network.input.axes if network.task == PIXELS else ()}
        arrays = {key: array.reshape(len(array), *shapes[key[0]]) for key, array in arrays.items()}
    else:
        name, draw = "random", np.random.default_rng(0)
        labels = network.input.axes if network.task == PIXELS else ()
        arrays = {f"x_{split}": draw.integers(0, 256, (n, *shape), np.uint8) for split, n in many.items()}
        arrays |= {f"y_{split}": draw.integers(0, classes, (n, *labels)) for split, n in many.items()}
        arrays["y_train"].flat[0] = classes - 1  # how many classes there are is told by the largest
    if len(shape) == 2 and shape[1] == 1:  # samples by length by one channel would be images without channels
        arrays |= {key: array[..., 0] for key, array in arrays.items() if key[0] == "x"}
    np.savez(path, **arrays)
    return name


class Cut(Exception):
    """The run was cut off."""


class CutAfter(Listener):
    """Cuts a run off in the step after some, whose result is then in no checkpoint."""

    def __init__(self, steps: int):
        self.left = steps + 1

    def stepped(self, loss):
        self.left -= 1
        if not self.left:
            raise Cut


def train(plan: dict, folder: Path, threads: int | None, listener: Listener) -> dict:
    options = "epochs=1000000", f"batch_size={plan['batch']}", f"max_steps={plan['steps']}", f"save_every={plan['cut']}"
    changes = tuple(f"train.{option}" for option in options)
    return session.start(session.Request(plan["model"], plan["data"], None, folder, changes, threads=threads), listener)


def digest(folder: Path, result: dict) -> str:
    """sha256 of what a run left; its folder is removed."""
    found = hashlib.sha256(repr(result["test_loss"]).encode())
    for name, tensor in sorted(load_file(folder / runs.LAST).items()):
        found.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
    shutil.rmtree(folder)
    gc.collect()
    return found.hexdigest()


def work(plan: dict, threads: int, before: int | None, whole: bool) -> dict[str, str]:
    """What one process does for a model, and its digest."""
    found, place = {}, Path(plan["data"]).parent
    for repeat in range(1, plan["repeats"] + 1):
        if before:
            folder = place / f"cut-{before}-{repeat}"
            resumed = session.resume(folder, Listener(), threads)
            found[f"{before} threads, then {threads}, {repeat}"] = digest(folder, resumed)
        if whole:
            folder = place / "whole"
            found[f"{threads} threads, {repeat}"] = digest(folder, train(plan, folder, threads, Listener()))
            with contextlib.suppress(Cut):
                train(plan, place / f"cut-{threads}-{repeat}", threads, CutAfter(plan["cut"]))
            gc.collect()
    if whole and threads == max(THREADS):
        found["auto"] = digest(place / "auto", train(plan, place / "auto", None, Listener()))
        kernels.set_threads(threads)
    return found


def measure(plans: list[dict]) -> list[dict[str, str]]:
    """For each plan all digests, by what was done. Raises RuntimeError where a process fails."""
    found = [{} for _ in plans]
    for threads, before, whole in [(1, None, True), (2, 1, True), (3, 2, True), (4, 3, True), (1, 4, False)]:
        variables = os.environ | {"NUMBA_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--work", json.dumps([plans, threads, before, whole])]
        ended = subprocess.run(command, env=variables, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"{threads} threads: {ended.stderr}")
        for of_plan, more in zip(found, json.loads(ended.stdout), strict=True):
            of_plan |= more
    return found


def plan_in(folder: Path, model: str, data_dir: Path | None = None, repeats: int = 1) -> dict:
    """The plan of a model whose data and runs are in a folder."""
    plan = plan_of(model) | {"repeats": repeats, "data": str(folder / "samples.npz")}
    return plan | {"source": write_data(plan, data_dir, Path(plan["data"]))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.work:
        plans, *how = json.loads(a.work)
        kernels.set_threads(how[0])
        print(json.dumps([work(plan, *how) for plan in plans]))
        return 0
    differ = 0
    for model in a.models or [name for name, _ in spec.models()]:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            plan = plan_in(Path(folder), model, a.data_dir, a.repeats)
            try:
                (found,) = measure([plan])
            except RuntimeError as error:
                print(f"{model}: FAILED, {error}", flush=True)
                differ += 1
                continue
        digests, seconds = list(found.values()), time.monotonic() - started
        told = f"{plan['steps']} steps of {plan['batch']} of {plan['source']}, {len(found)} runs, {seconds:.0f} s"
        print(f"{model}: {'equal' if len(set(digests)) == 1 else 'DIFFERENT'}, sha256 {digests[0]}, {told}", flush=True)
        if len(set(digests)) > 1:
            differ += 1
            for what, of in found.items():
                print(f"  {of}  {what}")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
