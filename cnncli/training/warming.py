"""Compiling every kernel ahead of the first training run, into the cache."""

import json
import time
from itertools import product

import numpy as np

from cnncli import spec
from cnncli.datasets import Split
from cnncli.datasets.batches import Feeder, Normalization
from cnncli.layers import LAYERS
from cnncli.layers.losses import LOSSES, probabilities
from cnncli.network import Network
from cnncli.training.optimizers import Optimizer

# Winograd's two ways: so many filters over the whole image, and over what pools leave
CONV = {"filters": 16, "padding": "same"}
WINOGRAD = CONV | {"algorithm": "winograd"}
NEEDED = {
    "depthwise_conv": {"multiplier": 2},
    "transposed_conv": {"filters": 16, "padding": "same"},
    "local_conv": {"filters": 4, "padding": "same"},
    "tiled_conv": {"filters": 4, "tiles": 2, "padding": "same"},
    "max_pool": {"size": 2},
    "avg_pool": {"size": 2},
    "dense": {"units": 4},
    "residual": {"main": ["batch_norm"]},
}
OWN_TILES = "lenet", "mnist-fast"  # models whose first convolution is compiled for its channels and its kernel
ENDS = "flatten", "global_avg_pool"  # what makes an image flat
IMAGES, SIZE = 8, 16


def warm() -> float:
    """Run every kernel that training, evaluation and prediction use, in float32, and return the seconds that it took.

    What is in the cache already is only loaded. The gradient check's kernels, in float64, are not among them.
    """
    start = time.perf_counter()
    for loss, end in product(LOSSES, ENDS):
        network = Network(network_of_all(loss, end))
        for dtype in (np.uint8, np.float32):
            _step(network, np.zeros((IMAGES, 1, SIZE, SIZE, 1), dtype))
        probabilities(loss, network.plan(IMAGES, training=False).output)
        for kind in spec.OPTIMIZERS.values():
            Optimizer(kind(), network.parameters, network.arena).update(0.1)
    for name in OWN_TILES:
        of = Network(spec.read(name))
        for training in (True, False):
            of.plan(IMAGES, training)
    return time.perf_counter() - start


def network_of_all(loss: str, end: str) -> spec.Specification:
    """A small network that holds a layer of every kind but the other of the ENDS.

    Convolutions come first: before the first parameter nothing runs backward, and the first one's input has no
    gradient. One comes last too: its gradient has a border, and is copied from the flat one.
    """
    between = [kind for kind in LAYERS if kind not in ("conv", *ENDS, "dense")]
    convolutions = [{"conv": CONV}, {"conv": CONV}, {"conv": WINOGRAD}]
    others = [[{kind: NEEDED.get(kind, {})} for kind in kinds] for kinds in (between, (end, "dense"))]
    document = {
        "input": {"channels": 1, "size": [SIZE, SIZE]},
        "layers": [*convolutions, *others[0], {"conv": WINOGRAD}, *others[1]],
        "loss": loss,
    }
    return spec.parse(json.dumps(document), "warm")


def _step(network: Network, images: np.ndarray) -> None:
    """A training step without the update, and a batch of an evaluation."""
    split = Split(images, np.zeros(IMAGES, np.int64))
    feeder = Feeder(split, Normalization.of(split, "mean_std"), network.arena.dtype)
    for training in (True, False):
        plan = network.plan(IMAGES, training)
        feeder.fill(plan, np.arange(IMAGES), 0)
        plan.draw(0)
        plan.forward()
        if training:
            plan.backward()
