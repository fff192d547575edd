"""Weights that are learned from patches before the first step: layer by layer, each from what those before it make."""

import zlib

import numpy as np

from cnncli.layers.base import per_axis
from cnncli.layers.dense import channels_first
from cnncli.layers.patches import FromPatches
from cnncli.network import Network
from cnncli.spec import Node

PER_IMAGE = 16  # patches of one image, at most: more of them would be of fewer images
BATCH = 64  # images at a time


def learn_features(network: Network, feeder, seed: int, told=lambda path, kind: None) -> None:
    """Give every layer whose initialiser asks for patches the weights that are learned from the feeder's images.

    `told` hears of each layer before it is learned.
    """
    for node in network.nodes:
        init = getattr(node.layer, "init", None)
        if not isinstance(init, FromPatches) or node.owner != node.path:  # a later step of a recurrent layer
            continue
        told(node.path, init.kind)
        generator = np.random.default_rng([seed, zlib.crc32(node.path.encode())])
        declared = node.layer.parameters(node.shape)
        filters = declared["weight"].file_shape[0]
        patches = node.layer.normalize(take_patches(network, feeder, node, init.patches, generator))
        weights, biases = init.learn(patches, filters, generator)
        weights = weights.reshape(declared["weight"].file_shape)
        if getattr(node.layer, "flip", False):
            weights = np.flip(weights, tuple(range(2, weights.ndim)))
        for name, values in (("weight", weights), ("bias", biases)):
            if name in declared:
                shape = declared[name].file_shape  # a bias may be of each place
                of_file = np.broadcast_to(values.reshape(*values.shape, *[1] * (len(shape) - values.ndim)), shape)
                network.parameters.value(node.tensor(name))[:] = declared[name].from_file(of_file).reshape(-1)
        network.parameters.changed()


def take_patches(network: Network, feeder, node: Node, count: int, generator) -> np.ndarray:
    """`count` patches of the input of a layer, or as many as there are, (P, elements of a filter), in files' order."""
    window = node.layer.parameters(node.shape)["weight"].file_shape[2:]
    window = (1,) * (3 - len(window)) + window
    apart = per_axis(getattr(node.layer, "dilation", 1), node.shape.rank, "dilation")
    taps = [np.arange(k) * step for k, step in zip(window, apart, strict=True)]
    room = [n - int(of_axis[-1]) for n, of_axis in zip(node.shape.size, taps, strict=True)]
    per_image = min(PER_IMAGE, int(np.prod(room)))
    images = min(len(feeder), -(-count // per_image))
    chosen, found = np.sort(generator.permutation(len(feeder))[:images]), []
    plan, values = network.before(node, min(BATCH, images))
    for start in range(0, images, BATCH):
        samples = chosen[start : start + BATCH]
        feeder.fill(plan, np.resize(samples, len(plan.samples)), 0)  # the last ones are filled up with any
        plan.infer()
        found.append(_windows(values.interior[: len(samples)], node, taps, room, per_image, generator))
    return np.concatenate(found)[:count]


def _windows(pixels, node: Node, taps, room, per_image: int, generator) -> np.ndarray:
    """Windows at random places of pixels (N, D, H, W, C): (N * per_image, C * window), channels first, float64.

    `taps` are a window's coordinates along each axis.
    """
    corners = [generator.integers(0, n, (len(pixels), per_image)) for n in room]
    places = [
        corner[:, :, None] + tap.ravel() for corner, tap in zip(corners, np.meshgrid(*taps, indexing="ij"), strict=True)
    ]
    taken = pixels[np.arange(len(pixels))[:, None, None], *places].astype(np.float64)
    if not node.shape.rank:
        taken = taken[..., channels_first(node.shape)]
    return np.moveaxis(taken, -1, -2).reshape(len(pixels) * per_image, -1)
