"""Ten losses of LeNet on the bundled digits by PyTorch, from a first checkpoint of ours: PINNED in test_loop.py.

    cnncli train --model lenet --epochs 0 --out first && python tests/peers/pinned_losses.py first/last.safetensors

Needs torch, numpy and safetensors. Batches of 64 in the files' order, SGD 0.04 with momentum 0.9, float64.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import nn

PIXELS = Path(__file__).parents[2] / "data" / "digits" / "train-images-idx3-ubyte"
LABELS = PIXELS.with_name("train-labels-idx1-ubyte")


def images() -> torch.Tensor:
    """The digits as LeNet sees them: resized by Pillow, mean 0 and deviation 1 over all of them."""
    from PIL import Image

    small = np.frombuffer(PIXELS.read_bytes()[16:], np.uint8).reshape(-1, 8, 8)
    large = [np.asarray(Image.fromarray(i).resize((28, 28), Image.Resampling.BILINEAR)) for i in small]
    pixels = np.stack(large).astype(np.float64)
    return torch.from_numpy((pixels - pixels.mean()) / pixels.std())[:, None]


def lenet(checkpoint: str) -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    ours = {name: t for name, t in load_file(checkpoint).items() if "/" not in name}
    names = sorted(ours, key=lambda name: (int(name.split("_")[0]), not name.endswith("weight")))
    with torch.no_grad():
        for parameter, name in zip(net.parameters(), names, strict=True):
            parameter.copy_(torch.from_numpy(ours[name]))
    return net.double()


def losses(checkpoint: str, steps: int = 10) -> list[float]:
    """The mean cross-entropy of each of the first batches, before its update."""
    net, x = lenet(checkpoint), images()
    labels = torch.from_numpy(np.frombuffer(LABELS.read_bytes()[8:], np.uint8).astype(np.int64))
    optimizer, found = torch.optim.SGD(net.parameters(), lr=0.04, momentum=0.9), []
    for step in range(steps):
        batch = slice(64 * step, 64 * (step + 1))
        loss = nn.functional.cross_entropy(net(x[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


if __name__ == "__main__":
    for loss in losses(sys.argv[1]):
        print(f"{loss:.8f}")
