"""Compiling kernels ahead of the first training run, into the cache: all, or those of one network."""

import json
import time
from collections.abc import Callable
from itertools import product

import numpy as np

from cnncli import datasets, spec
from cnncli.datasets.batches import Feeder, Normalization
from cnncli.kernels.ahead import compile_calls
from cnncli.kernels.native import listing
from cnncli.layers import LAYERS
from cnncli.layers.losses import LOSSES, probabilities
from cnncli.network import Network
from cnncli.training.optimizers import Optimizer

# Winograd's two ways: so many filters over the whole image, and over what pools leave
CONV = {"filters": 16, "padding": "same"}
WINOGRAD = CONV | {"algorithm": "winograd"}
# a weight gradient that packs its input, and Winograd's way for fewer tiles than weights
PACKED = {"filters": 64, "stride": 2, "padding": "same"}
OTHERS = [{"conv": CONV}, {"conv": PACKED}, {"max_pool": 8}, {"conv": WINOGRAD}, "flatten", {"dense": 4}]
NEEDED = {
    "depthwise_conv": {"multiplier": 2},
    "transposed_conv": {"filters": 16, "padding": "same"},
    "local_conv": {"filters": 4, "padding": "same"},
    "tiled_conv": {"filters": 4, "tiles": 2, "padding": "same"},
    "normalized_conv": {"filters": 4, "padding": "same"},
    "max_pool": {"size": 2, "name": "pooled"},
    "avg_pool": {"size": 2},
    "pad": {"padding": 2},
    "crop": {"pixels": 2},
    "channel_max_pool": {"size": 2},
    "group_norm": {"groups": 1},
    "dense": {"units": 4},
    "rbf": {"units": 4, "trainable": True},
    "branches": {"paths": [[], ["tanh"]], "name": "joined"},
    "residual": {"main": ["batch_norm"]},
    "merge": {"with": "joined", "by": "max"},
    "unpool": {"of": "pooled"},
    "repeat": {"times": 1, "layers": [{"branches": {"paths": [[], ["tanh"]], "merge": "multiply"}}]},
    "recurrent": {"steps": 2, "layers": [{"conv": CONV}]},
}
# with kernels of their own
VARIANTS = {
    "avg_pool": {"size": 2, "trainable": True},
    "dropout": {"spatial": True},
    "conv": {**CONV, "bias": "untied", "connections": [[0]] * 16},
}
# models whose first convolution is compiled for its channels and its kernel
OWN_TILES = "lenet", "lenet5-1998", "mnist-fast", "neocognitron"
ENDS = "flatten", "global_avg_pool", "global_max_pool"  # what makes an image flat
IMAGES, SIZE = 8, 16
IMAGE = IMAGES, 1, SIZE, SIZE, 1
# losses of networks that end in maps: labels of pixels, and reconstructions
MAPS = ["softmax_cross_entropy", {"mean_squared_error": "input"}]


def warm(report: Callable[[int, int], None] = lambda done, of: None) -> float:
    """Compile every kernel that training, evaluation and prediction use, in float32, and return the seconds it took.

    What is in the cache already is only loaded. The gradient check's kernels, in float64, are not among them. `report`
    and what is raised are those of `compile_calls`.
    """
    start = time.perf_counter()
    with listing() as calls:
        for loss, end in product(LOSSES, ENDS):
            network = Network(network_of_all(loss, end))
            for dtype in (np.uint8, np.float32):
                _step(network, datasets.Split(np.zeros(IMAGE, dtype), np.zeros(IMAGES, np.int64)))
            probabilities(loss, network.plan(IMAGES, training=False).output)
            for kind in spec.OPTIMIZERS.values():
                Optimizer(kind(), network.parameters, network.arena)
        for loss in MAPS:
            network = Network(network_of([{"conv": {"filters": 1, "padding": "same"}}], loss))
            _step(network, datasets.Split(np.zeros(IMAGE, np.uint8), np.zeros(IMAGE[:-1], np.uint8)))
        network = Network(network_of(OTHERS, LOSSES[0]))
        _step(network, datasets.Split(np.zeros(IMAGE, np.uint8), np.zeros(IMAGES, np.int64)))
        for name in OWN_TILES:
            of = Network(spec.read(name))
            for training in (True, False):
                of.plan(IMAGES, training)
    compile_calls(calls, report)
    return time.perf_counter() - start


def warm_for(specification: spec.Specification, split: datasets.Split) -> None:
    """Compile what training a network on such samples needs. Raises as `compile_calls` does."""
    with listing() as calls:
        network = Network(specification)
        _step(network, split)
        Optimizer(specification.train.optimizer, network.parameters, network.arena)
    compile_calls(calls)


def network_of_all(loss: str, end: str) -> spec.Specification:
    """A small network that holds a layer of every kind but the others of the ENDS.

    Convolutions come first: before the first parameter nothing runs backward, and the first one's input has no
    gradient. One comes last too: its gradient has a border, and is copied from the flat one.
    """
    named = ["branches", "merge", "max_pool", "unpool"]  # each is read by the next
    between = [*named, *sorted(LAYERS.keys() - {"conv", *ENDS, "dense", "rbf", *named})]
    convolutions = [{"conv": CONV}, {"conv": CONV}, {"conv": WINOGRAD}]
    others = [[{kind: NEEDED.get(kind, {})} for kind in kinds] for kinds in (between, (end, "dense", "rbf"))]
    variants = [{kind: options} for kind, options in VARIANTS.items()]
    return network_of([*convolutions, *others[0], *variants, {"conv": WINOGRAD}, *others[1]], loss)


def network_of(layers: list[dict], loss: str | dict) -> spec.Specification:
    document = {"input": {"channels": 1, "size": [SIZE, SIZE]}, "layers": layers, "loss": loss}
    return spec.parse(json.dumps({**document, "data": {"normalize": "none"}}), "warm")


def _step(network: Network, split: datasets.Split) -> None:
    """A training step without the update, and a batch of an evaluation, of all samples of a split."""
    feeder = Feeder(split, Normalization.of(split, "mean_std"), network.arena.dtype)
    for training in (True, False):
        plan = network.plan(len(split.images), training)
        feeder.fill(plan, np.arange(len(split.images)), 0)
        plan.draw(0)
        plan.forward()
        if training:
            plan.backward()
