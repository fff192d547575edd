"""Weights from patches: the patches are what the layer reads, and each way to learn does what its name says."""

import math
import operator
import zlib

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
    saved = networks.saved(network.parameters)
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


def test_kmeans_of_both_signs():
    """The halves of the filters are opposites, each less the threshold: the centroids are those of half as many."""
    some, options = GENERATOR(6).normal(size=(500, 5)) + 2, {"threshold": 0.5}
    weights, biases = initializer({"kmeans": {**options, "split": True}}).learn(some, 6, GENERATOR(1))
    half, of_half = initializer({"kmeans": options}).learn(some, 3, GENERATOR(1))
    np.testing.assert_array_equal(weights, np.concatenate([half, -half]))
    np.testing.assert_array_equal(biases[:3], of_half)
    np.testing.assert_allclose((biases + 0.5)[3:], -(biases + 0.5)[:3])


def compete(patches, filters, threshold):
    """Fukushima's rule, patch by patch and cell by cell: the reference vector of each S-cell that was used."""
    cells = []
    for patch in patches:
        if not any(patch):
            continue
        patch = [value / math.sqrt(sum(v * v for v in patch)) for value in patch]
        likeness = [sum(map(operator.mul, cell, patch)) / math.hypot(*cell) for cell in cells]
        if likeness and max(likeness) > threshold:
            winner = cells[likeness.index(max(likeness))]
            winner[:] = map(operator.add, winner, patch)
        elif len(cells) < filters:
            cells.append(patch)
    return [[value / math.hypot(*cell) for value in cell] for cell in cells]


@pytest.mark.parametrize("filters", [3, 60])
def test_the_winner_takes_all(filters):
    """References of length 1, scaled for windows of root mean square 1; cells that nobody needs are silent."""
    shown = abs(GENERATOR(7).normal(size=(400, 6))) * GENERATOR(8).integers(0, 2, (400, 6))
    wanted = np.array(compete(shown[GENERATOR(0).permutation(400)].tolist(), filters, 0.8))
    options = {"threshold": 0.6, "learning_threshold": 0.8}
    weights, biases = initializer({"winner_take_all": options}).learn(shown, filters, GENERATOR(0))
    used = len(wanted)
    assert used == 3 if filters == 3 else 3 < used < filters
    np.testing.assert_allclose(weights[:used] * 0.4 * math.sqrt(6), wanted, atol=1e-12)
    assert not weights[used:].any()
    np.testing.assert_allclose(biases, -0.6 / 0.4)


def test_a_worked_competition():
    """The second patch resembles the first by 0.8, the third none; the fourth comes too late for a cell of its own."""
    shown = np.array([[2.0, 0, 0], [4, 3, 0], [0, 0, 0], [0, 0, 5], [0, 1, 0]])
    options = {"threshold": 0.5, "learning_threshold": 0.7}
    given = np.empty_like(shown)
    given[GENERATOR(0).permutation(5)] = shown  # so that they are shown in this order
    weights, _ = initializer({"winner_take_all": options}).learn(given, 2, GENERATOR(0))
    first = np.array([1.8, 0.6, 0]) / math.sqrt(1.8**2 + 0.6**2)
    np.testing.assert_allclose(weights * math.sqrt(3) * 0.5, [first, [0, 0, 1]], atol=1e-12)


@pytest.mark.parametrize("center", [True, False])
def test_of_normalised_windows_patches_are_normalised(center):
    """What is learned from is what the weights are multiplied by."""
    options = f"filters: 4, kernel: [3, 2], center: {str(center).lower()}, eps: 0.1"
    network = network_of(f"normalized_conv: {{{options}, init: pca}}|flatten|dense: 3")
    node, feeder = network.nodes[0], feeder_of((7, 6), 2)
    patches = node.layer.normalize(take_patches(network, feeder, node, 300, GENERATOR(1)))
    found = patches @ networks.saved(network.parameters)["0_normalized_conv.weight"].reshape(4, -1).T
    plan, values = network.before(network.nodes[1], 50)
    feeder.fill(plan, np.arange(50), 0)
    plan.infer()
    assert abs(found[:, None] - values.interior.reshape(-1, 4)[None]).max(2).min(1).max() < 1e-12
    learn_features(network, feeder, 4)
    learned, _ = initializer("pca").learn(node.layer.normalize(all_patches(network, feeder, 4)), 4, GENERATOR(0))
    np.testing.assert_allclose(networks.saved(network.parameters)["0_normalized_conv.weight"].reshape(4, -1), learned)


@pytest.mark.parametrize("options", ["dilation: 2", "flip: true", "bias: untied", "dilation: [1, 3], flip: true"])
def test_what_is_learned_is_what_the_layer_computes(options):
    """Each patch's products with what was learned from them are among the layer's outputs."""
    network = network_of(
        f"conv: {{filters: 4, kernel: [3, 2], {options}, init: {{pca: {{patches: 300}}}}}}|flatten|dense: 3"
    )
    feeder = feeder_of((7, 6), 2)
    patches = all_patches(network, feeder, 4)
    weights, biases = initializer("pca").learn(patches, 4, GENERATOR(0))
    learn_features(network, feeder, 4)
    plan, values = network.before(network.nodes[1], 50)
    feeder.fill(plan, np.arange(50), 0)
    plan.infer()
    found = patches @ weights.T + biases
    assert abs(found[:, None] - values.interior.reshape(-1, 4)[None]).max(2).min(1).max() < 1e-10


def test_each_class_has_winners_though_the_data_set_begins_with_one():
    shown = abs(GENERATOR(3).normal(size=(400, 8)))
    shown[:200, :4] = shown[200:, 4:] = 0
    options = {"learning_threshold": 0.9}
    weights, _ = initializer({"winner_take_all": options}).learn(shown, 12, GENERATOR(0))
    assert weights[:, :4].any()
    assert weights[:, 4:].any()


def all_patches(network, feeder, seed):
    node = network.nodes[0]
    generator = np.random.default_rng([seed, zlib.crc32(node.path.encode())])
    return take_patches(network, feeder, node, node.layer.init.patches, generator)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("conv", "pca"),
        ("conv", "whitening"),
        ("conv", "kmeans"),
        ("normalized_conv", "kmeans"),
        ("normalized_conv", "winner_take_all"),
    ],
)
def test_bits_do_not_depend_on_the_number_of_threads(layer, kind):
    layers = (
        f"{layer}: {{filters: 6, init: {kind}}}|relu|{layer}: {{filters: 5, kernel: 2, init: {kind}}}|flatten|dense: 3"
    )
    found = set()
    for threads in range(1, kernels.most_threads() + 1):
        kernels.set_threads(threads)
        network, heard = network_of(layers), []
        before = networks.saved(network.parameters)
        learn_features(network, feeder_of((7, 6), 2), 4, lambda *what, heard=heard: heard.append(what))
        found.add(network.parameters.values.tobytes())
        paths = [f"{position}_{layer}" for position in (0, 2)]
        assert heard == [(path, kind) for path in paths]
        after = networks.saved(network.parameters)
        moved = {name for name in after if not np.array_equal(after[name], before[name])}
        assert moved == {f"{path}.{name}" for path in paths for name in ("weight", "bias")}
    kernels.set_threads(kernels.most_threads())
    assert len(found) == 1


NO_PATCHES = [
    ("conv: {filters: 4, groups: 2, init: kmeans}", "learns from patches of all channels: it takes no groups"),
    ("conv: {filters: 2, connections: [[0], [1]], init: pca}", "of all channels: it takes no connections"),
    ("conv: {filters: 4, kernel: [3, 5], dilation: 2, padding: same, init: kmeans}",
     "its window of 9 is larger than the width 6 of its input, in which its init kmeans finds no patch"),
    ("conv: {filters: 9, padding: same, init: {kmeans: {split: true}}}", "its 9 filters are an odd number"),
    *((f"{layer}, init: {{kmeans: {{split: true}}}}}}",
       "its init kmeans learns from patches: it is for conv, dense, normalized_conv;")
      for layer in ("transposed_conv: {filters: 9", "transposed_conv: {filters: 2", "depthwise_conv: {kernel: 3",
                    "local_conv: {filters: 4, kernel: [6, 3]", "tiled_conv: {filters: 4, tiles: 2")),
    ("conv: {filters: 19, init: pca}", "its init pca gives at most 18 filters, the elements of a patch"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "message"), NO_PATCHES)
def test_what_has_no_patches(layer, message):
    with pytest.raises(SpecificationError, match=r"^\S+:\d+: layer 0_") as refused:
        network_of(f"{layer}|flatten|dense: 3")
    assert message in str(refused.value)


THRESHOLDS = [
    ("conv: {filters: 4, bias: false, init: kmeans}", "kmeans"),
    ("flatten|dense: {units: 4, bias: false, init: {kmeans: {threshold: 0.1}}}", "kmeans"),
    ("normalized_conv: {filters: 4, bias: false, init: winner_take_all}", "winner_take_all"),
]


@pytest.mark.parametrize(("layers", "kind"), THRESHOLDS)
def test_a_threshold_is_never_dropped(layers, kind):
    message = f"its init {kind} puts its threshold into the bias: `bias: false` needs `threshold: 0`"
    with pytest.raises(SpecificationError, match=message):
        network_of(f"{layers}|flatten|dense: 3")


@pytest.mark.parametrize("kind", ["kmeans", "winner_take_all"])
def test_without_a_threshold_a_bias_is_not_needed(kind):
    layer = f"normalized_conv: {{filters: 4, bias: false, center: false, init: {{{kind}: {{threshold: 0}}}}}}"
    network = network_of(f"{layer}|flatten|dense: 3")
    before = networks.saved(network.parameters)["0_normalized_conv.weight"]
    learn_features(network, feeder_of((7, 6), 2), 0)
    assert (networks.saved(network.parameters)["0_normalized_conv.weight"] != before).any()


@pytest.mark.parametrize("layer", ["conv: {filters: 4", "flatten|dense: {units: 4"])
def test_a_winner_needs_windows_of_one_length(layer):
    message = "its init winner_take_all is for normalized_conv: its threshold needs windows of one length"
    with pytest.raises(SpecificationError, match=message):
        network_of(f"{layer}, init: winner_take_all}}|flatten|dense: 3")
