"""Weights from patches: the patches are what the layer reads, and each way to learn does what its name says."""

import networks
import numpy as np
import pytest

from cnncli import datasets, kernels
from cnncli.datasets.batches import Feeder, Normalization
from cnncli.errors import SpecificationError
from cnncli.layers.initializers import initializer
from cnncli.network import Network
from cnncli.training.features import learn_features, take_patches

GENERATOR = np.random.default_rng


def feeder_of(size, channels, count=50):
    generator = GENERATOR(3)
    images = generator.integers(0, 256, (count, *(1,) * (3 - len(size)), *size, channels), np.uint8)
    split = datasets.Split(images, np.zeros(count, np.int64))
    return Feeder(split, Normalization.of(split, "mean_std"), np.float64)


def network_of(layers, channels=2, size=(7, 6), seed=0):
    return Network(networks.specification(channels, list(size), layers), np.float64, seed)


@pytest.mark.parametrize(
    ("layers", "size"),
    [
        ("conv: {filters: 4, kernel: [3, 2], init: pca}|relu|flatten|dense: 3", (7, 6)),
        ("conv: 3|relu|max_pool: 2|conv: {filters: 4, kernel: 2, init: pca}|flatten|dense: 3", (7, 6)),
        ("conv: {filters: 3, padding: same}|relu|conv: {filters: 4, init: pca, padding: same}|flatten|dense: 3", (9,)),
        ("conv: {filters: 4, kernel: 2, init: pca}|flatten|dense: 3", (3, 4, 3)),
        ("conv: 3|relu|flatten|dense: {units: 4, init: pca}|dense: 3", (7, 6)),
    ],
)
def test_patches_are_what_the_filters_see(layers, size):
    """Each patch times the weights, plus the bias, is an output of the layer for one of the images."""
    network, feeder = network_of(layers, size=size), feeder_of(size, 2)
    node = next(n for n in network.nodes if getattr(getattr(n.layer, "init", None), "kind", "") == "pca")
    patches = take_patches(network, feeder, node, 300, GENERATOR(1))
    saved = network.parameters.save()
    weights = saved[f"{node.path}.weight"].reshape(4, -1)
    found = patches @ weights.T + saved[f"{node.path}.bias"]
    behind = network.nodes[network.nodes.index(node) + 1]
    plan, values = network.before(behind, 50)
    feeder.fill(plan, np.arange(50), 0)
    plan.infer()
    outputs = values.interior.reshape(-1, 4)
    distances = abs(found[:, None] - outputs[None]).max(2).min(1)
    assert distances.max() < 1e-12
    assert len(np.unique(patches.round(9), axis=0)) > min(250, 40 * len(patches) // 300)


def test_every_patch_is_as_likely():
    """Of images whose pixels tell their place: corners come from everywhere that a window fits."""
    images = np.arange(30, dtype=np.uint8).reshape(1, 1, 5, 6, 1).repeat(200, 0)
    split = datasets.Split(images, np.zeros(200, np.int64))
    feeder = Feeder(split, Normalization(1.0, np.zeros(1), np.ones(1)), np.float64)
    network = network_of("conv: {filters: 2, kernel: [2, 3], init: pca}|flatten|dense: 2", 1, (5, 6))
    patches = take_patches(network, feeder, network.nodes[0], 3200, GENERATOR(1))
    assert patches.shape == (3200, 6)
    np.testing.assert_array_equal(patches - patches[:, :1], [[0, 1, 2, 6, 7, 8]] * 3200)
    corners, counts = np.unique(patches[:, 0], return_counts=True)
    assert corners.tolist() == [6 * i + j for i in range(4) for j in range(4)]
    assert counts.min() > 130


@pytest.fixture(scope="module")
def patches():
    generator = GENERATOR(5)
    return (
        generator.normal(size=(4000, 6)) * [5, 3, 2, 1, 0.5, 0.1] @ np.linalg.qr(generator.normal(size=(6, 6)))[0] + 7
    )


def test_principal_components(patches):
    weights, biases = initializer("pca").learn(patches, 4, GENERATOR(0))
    np.testing.assert_allclose(weights @ weights.T, np.eye(4), atol=1e-12)
    projected = patches @ weights.T + biases
    covariance = projected.T @ projected / len(patches)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    np.testing.assert_allclose(np.diag(covariance), [25, 9, 4, 1], rtol=0.1)
    assert (np.take_along_axis(weights, abs(weights).argmax(1)[:, None], 1) > 0).all()


def test_whitening(patches):
    weights, biases = initializer({"whitening": {"eps": 1e-9}}).learn(patches, 6, GENERATOR(0))
    projected = patches @ weights.T + biases
    np.testing.assert_allclose(projected.T @ projected / len(patches), np.eye(6), atol=1e-6)


def test_kmeans_finds_directions():
    """Patches along five directions: the centroids that lie along them are found."""
    generator = GENERATOR(6)
    directions = np.linalg.qr(generator.normal(size=(5, 5)))[0]
    some = directions[generator.integers(0, 5, 3000)] * generator.choice([-1, 1], (3000, 1))
    some += generator.normal(0, 0.02, some.shape)
    weights, biases = initializer({"kmeans": {"threshold": 0.5}}).learn(some, 10, GENERATOR(1))
    along = abs(weights / np.linalg.norm(weights, axis=1, keepdims=True) @ directions.T)
    assert (along.max(0) > 0.99).all()
    np.testing.assert_allclose(biases, -weights @ some.mean(0) - 0.5)


@pytest.mark.parametrize("kind", ["pca", "whitening", "kmeans"])
def test_bits_do_not_depend_on_the_number_of_threads(kind):
    layers = f"conv: {{filters: 6, init: {kind}}}|relu|conv: {{filters: 5, kernel: 2, init: {kind}}}|flatten|dense: 3"
    found = set()
    for threads in range(1, kernels.most_threads() + 1):
        kernels.set_threads(threads)
        network, heard = network_of(layers), []
        before = network.parameters.save()
        learn_features(network, feeder_of((7, 6), 2), 4, lambda *what, heard=heard: heard.append(what))
        found.add(network.parameters.values.tobytes())
        assert heard == [("0_conv", kind), ("2_conv", kind)]
        after = network.parameters.save()
        moved = {name for name in after if not np.array_equal(after[name], before[name])}
        assert moved == {"0_conv.weight", "0_conv.bias", "2_conv.weight", "2_conv.bias"}
    kernels.set_threads(kernels.most_threads())
    assert len(found) == 1


@pytest.mark.parametrize(("layers", "message"), [
    ("conv: {filters: 4, groups: 2, init: kmeans}|flatten|dense: 3", "0_conv: its init kmeans is for layers of one"),
    ("conv: {filters: 4, kernel: 9, padding: same, init: kmeans}|flatten|dense: 3", "larger than its input"),
])  # fmt: skip
def test_what_has_no_patches(layers, message):
    with pytest.raises(SpecificationError, match=message):
        learn_features(network_of(layers), feeder_of((7, 6), 2), 0)


def test_more_components_than_there_are():
    with pytest.raises(SpecificationError, match="its init pca gives at most 18 filters, the elements of a patch"):
        network_of("conv: {filters: 19, init: pca}|flatten|dense: 3")
