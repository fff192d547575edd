"""The first losses of a training run, ours and PyTorch's, from the same parameters on the same batch.

    python tests/peers/torch_losses.py --model resnet20 [--peer-python PYTHON] [--lr 0.01] [--batch-size 16]

What is compared in speed by `cnncli benchmark --against torch` is the same work: the network is built by the same code.
"""

import argparse
import os
import sys
import tempfile

import numpy as np

from cnncli import spec
from cnncli.benchmark.programs import program
from cnncli.benchmark.workers import peer
from cnncli.network import Network
from cnncli.training.optimizers import Optimizer

STEPS = 20


def network(model: str, dtype) -> Network:
    """A model of the zoo, without dropout, to be trained by SGD with momentum 0.9."""
    changes = ["train.optimizer={sgd: {momentum: 0.9}}", "train.label_smoothing=0"]
    chances = [entry.path.removesuffix("_dropout") for entry in spec.read(model).layers if entry.kind == "dropout"]
    specification = spec.read(model, [*changes, *(f"layers[{i}].dropout.rate=0" for i in chances)])
    found = Network(specification, dtype)
    if dtype != np.float32:  # the same first values, to the last bit
        found.parameters.load(tensors(Network(specification)))
    return found


def tensors(of: Network) -> dict[str, np.ndarray]:
    """Its parameters and running averages in the files' order and shapes."""
    return {name: of.parameters.tensor(name) for name in of.parameters.declared | of.parameters.counted}


def batch(of: Network, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images (images, channels, *axes), float32, and labels."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(images, of.input.channels, *of.input.axes)).astype(np.float32)
    return x, generator.integers(of.output.channels, size=images)


def ours(model: str, dtype, images: int, lr: float, steps: int = STEPS) -> list[float]:
    of = network(model, dtype)
    plan = of.plan(images, training=True)
    x, plan.labels[:] = batch(of, images)
    plan.x.interior[...] = np.moveaxis(x, 1, -1).reshape(plan.x.interior.shape)
    plan.draw(0)
    optimizer, found = Optimizer(of.specification.train.optimizer, of.parameters, of.arena), []
    for _ in range(steps):
        plan.forward()
        found.append(float(plan.losses.mean()))
        plan.backward()
        optimizer.update(lr)
    return found


def torchs(model: str, dtype, images: int, lr: float, python: str, threads: int, steps: int = STEPS) -> list[float]:
    of = network(model, np.float32)
    x, labels = batch(of, images)
    with tempfile.TemporaryDirectory() as folder, peer("torch", "eager", python, threads) as worker:
        file = os.path.join(folder, "given.npz")
        np.savez(file, x=x, labels=labels, **tensors(of))
        asked = {"program": program(of.specification), "file": file, "dtype": np.dtype(dtype).name}
        return worker.make("losses", **asked, lr=lr, steps=steps, threads=threads)["losses"]


def apart(a: list[float], b: list[float]) -> float:
    """The largest relative difference."""
    return float(np.max(abs(np.array(a) - b) / np.abs(b)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--single", action="store_true", help="float32 only: half the memory and the time")
    a = parser.parse_args()
    given, run = (a.model, a.batch_size, a.lr), (a.peer_python, a.threads, a.steps)

    def both(dtype):
        model, *rest = given
        return ours(model, dtype, *rest, a.steps), torchs(model, dtype, *rest, *run)

    single, theirs = both(np.float32)
    print(f"{a.model}, lr {a.lr:g}, batch {a.batch_size}: loss {theirs[0]:.4f} to {theirs[-1]:.4f}")
    print(f"  float32, ours to torch's   {apart(single, theirs):.1e}")
    if not a.single:
        mine, double = both(np.float64)
        print(f"  float64, ours to torch's   {apart(mine, double):.1e}")
        print(f"  float32 to torch's float64: ours {apart(single, double):.1e}, torch's {apart(theirs, double):.1e}")
        print("  torch's in float64:", " ".join(f"{loss:.10f}" for loss in double))


if __name__ == "__main__":
    main()
