"""What a network is measured by: loss, accuracy, top-5, the confusion of classes, intersection over union."""

import math
from dataclasses import dataclass

import numpy as np

from cnncli.network import INPUT, PIXELS

TOP = 5


@dataclass
class Tally:
    """Sums over an epoch or a split: `count` samples with `labels`, a class for each or for each of their pixels.

    `weight` is by what the sum of the losses is divided.
    """

    loss: float = 0.0
    weight: float = 0.0
    hits: int = 0
    top5: int = 0
    labels: int = 0
    count: int = 0

    def add(self, plan) -> float:
        """Count a batch that ran forward; returns its mean loss."""
        loss, weight = float(plan.losses.sum()), float(plan.total[0])
        self.loss += loss
        self.weight += weight
        if plan.task != INPUT:
            counted = plan.ranks[plan.ranks >= 0]
            self.hits += int(np.count_nonzero(counted == 0))
            self.top5 += int(np.count_nonzero(counted < TOP))
            self.labels += len(counted)
        self.count += plan.images
        return loss / weight if weight else 0.0

    @property
    def mean_loss(self) -> float:
        return self.loss / self.weight if self.weight else 0.0

    @property
    def accuracy(self) -> float | None:
        """The share of labels that were hit; None where there are none."""
        return self.hits / self.labels if self.labels else None

    @property
    def top5_accuracy(self) -> float | None:
        return self.top5 / self.labels if self.labels else None

    @property
    def score(self) -> float:
        """What is the better the larger it is: the accuracy, or without labels the loss's negative."""
        return -self.mean_loss if self.accuracy is None else self.accuracy


@dataclass(frozen=True)
class Evaluation:
    """`confusion` (classes, classes) or empty: how many labels of each class, a row, were taken for each, a column.

    `not_finite`: the path of the first layer whose output was NaN or infinite, where a loss was.
    """

    tally: Tally
    task: str
    confusion: np.ndarray
    classes: tuple[str, ...]
    not_finite: str | None = None

    def per_class(self) -> list[dict]:
        """Precision, recall, F1, intersection over union and count of each class; None where it never occurs."""
        rows = []
        for i, name in enumerate(self.classes):
            hits, taken, are = (
                int(n) for n in (self.confusion[i, i], self.confusion[:, i].sum(), self.confusion[i].sum())
            )
            precision, recall = hits / taken if taken else None, hits / are if are else None
            f1, iou = (2 * hits / (taken + are), hits / (taken + are - hits)) if taken + are else (None, None)
            found = {"class": name, "precision": precision, "recall": recall, "f1": f1, "iou": iou, "count": are}
            rows.append(found)
        return rows

    @property
    def mean_iou(self) -> float | None:
        """The mean intersection over union of the classes that occur; None where no pixels are labelled."""
        if self.task != PIXELS:
            return None
        known = [row["iou"] for row in self.per_class() if row["iou"] is not None]
        return sum(known) / len(known) if known else None

    def summary(self) -> dict:
        """What `cnncli eval --json` prints."""
        found = {"loss": self.tally.mean_loss, "count": self.tally.count}
        if self.task == INPUT:
            return found
        return found | {
            "accuracy": self.tally.accuracy,
            "top5_accuracy": self.tally.top5_accuracy,
            "mean_iou": self.mean_iou,
            "confusion": self.confusion.tolist(),
            "per_class": self.per_class(),
        }


def evaluate(
    network, feeder, classes: tuple[str, ...], batch_size: int, each=lambda: None, by_class: bool = True
) -> Evaluation:
    """Run a network over a whole split in its order. `each` is called after each batch.

    Without `by_class` nothing is counted by class, which takes the square of their number: 800 MB for 10,000 outputs.
    """
    tally, outputs, not_finite = Tally(), network.output.channels, None
    size = max(outputs, len(classes)) if by_class and network.task != INPUT else 0
    confusion = np.zeros((size, size), np.int64)
    for start in range(0, len(feeder), batch_size):
        samples = np.arange(start, min(start + batch_size, len(feeder)))
        plan = network.plan(len(samples), training=False)
        feeder.fill(plan, samples, 0)
        plan.forward()
        if not math.isfinite(tally.add(plan)):
            not_finite = not_finite or plan.first_not_finite()
        if size:
            taken, labelled = plan.output.reshape(-1, outputs).argmax(1), plan.labels >= 0
            np.add.at(confusion, (plan.labels[labelled], taken[labelled]), 1)
        each()
    names = (tuple(classes) + tuple(f"output {i}" for i in range(len(classes), size)))[:size]
    return Evaluation(tally, network.task, confusion, names, not_finite)
