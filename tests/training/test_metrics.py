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


def test_the_batch_size_does_not_matter(scores):
    labels = np.arange(50) % 6
    first, second = (evaluation(scores, labels, size).summary() for size in (7, 50))
    assert first.pop("loss") == pytest.approx(second.pop("loss"), rel=1e-12)
    assert first == second
