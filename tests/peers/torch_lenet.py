"""PyTorch on the work of `cnncli benchmark` and of training LeNet on MNIST: the README's comparison. Needs torch.

    python tests/peers/torch_lenet.py [--mnist FOLDER_OF_IDX_FILES]

Without --mnist: the best milliseconds of a training step (forward, backward, SGD with momentum) and of inference, batch
64, in each memory layout. With it: four epochs as models/lenet.yaml has them, in the better layout, the data in memory,
without a DataLoader. Run it in a process of its own: two OpenMP runtimes do not share cores well.
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

LAYOUTS = {"eager": torch.contiguous_format, "channels_last": torch.channels_last}


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def best_ms(call, seconds: float) -> float:
    """The best of repeats of 50 ms."""
    for _ in range(3):
        call()
    start = time.perf_counter()
    call()
    inner = max(1, int(0.05 / (time.perf_counter() - start)))
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        for _ in range(inner):
            call()
        best = min(best, (time.perf_counter() - start) / inner)
    return best * 1e3


def measure(layout) -> tuple[float, float]:
    torch.manual_seed(0)
    net, target = lenet().to(memory_format=layout), torch.randint(0, 10, (64,))
    x = torch.randn(64, 1, 28, 28).contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(net(x), target).backward()
        optimizer.step()

    train = best_ms(step, 6)
    with torch.no_grad():
        return train, best_ms(lambda: net(x), 3)


def read(folder: Path, name: str, header: int) -> np.ndarray:
    path = next(path for path in (folder / name, folder / f"{name}.gz") if path.exists())
    data = path.read_bytes()
    return np.frombuffer(gzip.decompress(data) if path.suffix == ".gz" else data, np.uint8)[header:].copy()


def train(folder: Path, epochs: int = 4) -> float:
    """The test accuracy after one cycle of SGD with a peak of 0.04 and momentum 0.9."""
    images = [
        torch.from_numpy(read(folder, f"{s}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)) for s in ("train", "t10k")
    ]
    labels = [torch.from_numpy(read(folder, f"{s}-labels-idx1-ubyte", 8).astype(np.int64)) for s in ("train", "t10k")]
    mean, deviation = images[0].float().mean(), images[0].float().std()
    x, test = (((i.float() - mean) / deviation).contiguous(memory_format=torch.channels_last) for i in images)
    net = lenet().to(memory_format=torch.channels_last)
    optimizer, steps = torch.optim.SGD(net.parameters(), lr=0.04, momentum=0.9), epochs * -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.04, total_steps=steps, cycle_momentum=False)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for chosen in order.split(64):
            loss = cross_entropy(net(x[chosen]), labels[0][chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        guesses = torch.cat([net(part).argmax(1) for part in test.split(64)])
    return (guesses == labels[1]).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path)
    folder = parser.parse_args().mnist
    if folder:
        print(f"test accuracy {train(folder):.2%}")
    else:
        for name, layout in LAYOUTS.items():
            print("{}: train {:.3f} ms, infer {:.3f} ms".format(name, *measure(layout)))
