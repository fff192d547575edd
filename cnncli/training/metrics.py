"""What a network is measured by: loss, accuracy, top-5, the confusion of classes."""

from dataclasses import dataclass

import numpy as np

TOP = 5


@dataclass
class Tally:
    """Sums over the samples of an epoch or of a split."""

    loss: float = 0.0
    hits: int = 0
    top5: int = 0
    count: int = 0

    def add(self, plan) -> float:
        """Count a batch that ran forward; returns its mean loss."""
        loss = float(plan.losses.sum())
        self.loss += loss
        self.hits += int(np.count_nonzero(plan.ranks == 0))
        self.top5 += int(np.count_nonzero(plan.ranks < TOP))
        self.count += plan.images
        return loss / plan.images

    @property
    def mean_loss(self) -> float:
        return self.loss / max(1, self.count)

    @property
    def accuracy(self) -> float:
        return self.hits / max(1, self.count)

    @property
    def top5_accuracy(self) -> float:
        return self.top5 / max(1, self.count)


@dataclass(frozen=True)
class Evaluation:
    """`confusion` (classes, classes): how many of each class, a row, were taken for each, a column."""

    tally: Tally
    confusion: np.ndarray
    classes: tuple[str, ...]

    def per_class(self) -> list[dict]:
        """Precision, recall, F1 and count of each class; None where nothing was of it or taken for it."""
        rows = []
        for i, name in enumerate(self.classes):
            hits, taken, are = (
                int(n) for n in (self.confusion[i, i], self.confusion[:, i].sum(), self.confusion[i].sum())
            )
            precision, recall = hits / taken if taken else None, hits / are if are else None
            f1 = 2 * hits / (taken + are) if taken + are else None
            rows.append({"class": name, "precision": precision, "recall": recall, "f1": f1, "count": are})
        return rows

    def summary(self) -> dict:
        """What `cnncli eval --json` prints."""
        return {
            "accuracy": self.tally.accuracy,
            "top5_accuracy": self.tally.top5_accuracy,
            "loss": self.tally.mean_loss,
            "count": self.tally.count,
            "confusion": self.confusion.tolist(),
            "per_class": self.per_class(),
        }


def evaluate(network, feeder, classes: tuple[str, ...], batch_size: int) -> Evaluation:
    """Run a network over a whole split in its order."""
    tally, outputs = Tally(), network.output.channels
    confusion = np.zeros((max(outputs, len(classes)),) * 2, np.int64)
    for start in range(0, len(feeder), batch_size):
        samples = np.arange(start, min(start + batch_size, len(feeder)))
        plan = network.plan(len(samples), training=False)
        feeder.fill(plan, samples, 0)
        plan.forward()
        tally.add(plan)
        np.add.at(confusion, (plan.labels, plan.output.argmax(1)), 1)
    names = tuple(classes) + tuple(f"output {i}" for i in range(len(classes), len(confusion)))
    return Evaluation(tally, confusion, names)
