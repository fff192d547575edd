"""Metrics against their definitions, on a network whose outputs are known."""

import numpy as np
import pytest

from cnncli import spec
from cnncli.datasets import Split
from cnncli.datasets.batches import Feeder, Normalization
from cnncli.network import Network
from cnncli.training.metrics import evaluate

IDENTITY = "input: {channels: 6, size: [1]}\nlayers: [flatten, dense: {units: 6, bias: false}]\n"
CLASSES = tuple("abcdef")


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


def evaluation(scores, labels, batch_size=16):
    network = Network(spec.parse(IDENTITY, "identity.yaml"))
    network.parameters.load({"1_dense.weight": np.eye(6)})
    split = Split(scores.reshape(len(scores), 1, 1, 1, 6), labels)
    return evaluate(network, Feeder(split, Normalization.of(split, "none"), np.float32), CLASSES, batch_size)


def test_loss_accuracy_and_confusion_are_their_definitions(scores):
    labels = np.random.default_rng(1).integers(0, 5, 50)  # no sample of the last class
    found = evaluation(scores, labels).summary()
    exact = scores.astype(np.float64)
    log_softmax = exact - np.log(np.exp(exact).sum(1, keepdims=True))
    assert found["loss"] == pytest.approx(-log_softmax[np.arange(50), labels].mean(), rel=1e-6)
    guesses = scores.argmax(1)
    assert found["accuracy"] == (guesses == labels).mean()
    order = np.argsort(-scores, 1)[:, :5]
    assert found["top5_accuracy"] == (order == labels[:, None]).any(1).mean()
    assert found["count"] == 50
    for i in range(6):
        for j in range(6):
            assert found["confusion"][i][j] == ((labels == i) & (guesses == j)).sum()
    for i, row in enumerate(found["per_class"]):
        hits = ((labels == i) & (guesses == i)).sum()
        assert row["class"] == CLASSES[i]
        assert row["count"] == (labels == i).sum()
        assert row["precision"] == pytest.approx(hits / (guesses == i).sum())
        if i < 5:
            assert row["recall"] == pytest.approx(hits / (labels == i).sum())
    assert found["per_class"][5]["recall"] is None


def pixels(scores, masks, loss="softmax_cross_entropy", batch_size=2):
    """The evaluation of a network that gives 3 channels back, on masks (N, 1, H, W)."""
    text = "input: {channels: 3, size: [4, 5]}\nlayers: [conv: {filters: 3, kernel: 1, bias: false}]\n"
    network = Network(spec.parse(f"{text}loss: {loss}\n", "pixels.yaml"))
    network.parameters.load({"0_conv.weight": np.eye(3).reshape(3, 3, 1, 1)})
    split = Split(scores, masks)
    ignore = network.specification.loss.ignored
    feeder = Feeder(split, Normalization.of(split, "none"), np.float32, ignore=ignore)
    return evaluate(network, feeder, tuple("abc"), batch_size)


def test_labels_of_pixels():
    generator = np.random.default_rng(2)
    scores, masks = generator.normal(size=(5, 1, 4, 5, 3)).astype(np.float32), generator.integers(0, 3, (5, 1, 4, 5))
    masks = masks.astype(np.uint8)
    masks[:, :, 0, :2] = 255
    found, guesses = pixels(scores, masks).summary(), scores.argmax(-1)
    labelled = masks != 255
    assert found["accuracy"] == (guesses == masks)[labelled].mean()
    ious = []
    for i, row in enumerate(found["per_class"]):
        both = ((masks == i) & (guesses == i) & labelled).sum()
        either = (((masks == i) | (guesses == i)) & labelled).sum()
        ious.append(both / either)
        assert row["iou"] == pytest.approx(both / either)
    assert found["mean_iou"] == pytest.approx(np.mean(ious))
    assert found["count"] == 5
    logs = scores.astype(np.float64) - np.log(np.exp(scores.astype(np.float64)).sum(-1, keepdims=True))
    of_label = np.take_along_axis(logs, np.minimum(masks, 2)[..., None].astype(int), -1)[..., 0]
    assert found["loss"] == pytest.approx(-of_label[labelled].mean(), rel=1e-6)

    weights = np.array([0.5, 1.0, 4.0])
    options = "{softmax_cross_entropy: {class_weights: [0.5, 1.0, 4.0], ignore: 1}}"
    found, labelled = pixels(scores, masks, options).summary(), labelled & (masks != 1)
    of_pixel = weights[np.minimum(masks, 2)][labelled]
    assert found["loss"] == pytest.approx(-(of_label[labelled] * of_pixel).sum() / of_pixel.sum(), rel=1e-6)
    assert found["accuracy"] == (guesses == masks)[labelled].mean()
    assert found["per_class"][1]["count"] == 0


def test_a_reconstruction_has_no_accuracy(scores):
    text = IDENTITY.replace("flatten, dense: {units: 6", "conv: {filters: 6, kernel: 1")
    network = Network(spec.parse(f"{text}loss: {{mean_squared_error: input}}\n", "identity.yaml"))
    network.parameters.load({"0_conv.weight": 0.5 * np.eye(6)[..., None]})
    split = Split(scores.reshape(50, 1, 1, 1, 6), np.zeros(50, np.int64))
    found = evaluate(network, Feeder(split, Normalization.of(split, "none"), np.float32), CLASSES, 16)
    assert found.summary() == {"loss": pytest.approx((scores.astype(np.float64) ** 2).mean() / 4), "count": 50}
    assert found.tally.accuracy is None
    assert found.tally.score == -found.tally.mean_loss


def test_the_batch_size_does_not_matter(scores):
    labels = np.arange(50) % 6
    first, second = (evaluation(scores, labels, size).summary() for size in (7, 50))
    assert first.pop("loss") == pytest.approx(second.pop("loss"), rel=1e-12)
    assert first == second
