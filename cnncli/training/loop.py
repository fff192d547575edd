"""The training loop: epochs of steps, each a batch forward, backward and an update; checkpoints on the way."""

import math
import time
from pathlib import Path

import numpy as np

from cnncli import kernels
from cnncli.datasets import Dataset
from cnncli.datasets.base import UNLABELLED
from cnncli.datasets.batches import Feeder, Normalization, epoch_key, epoch_order
from cnncli.errors import DataError, DivergedError
from cnncli.network import INPUT, PIXELS, Network
from cnncli.training import checkpoint, runs
from cnncli.training.checkpoint import Checkpoint, Given, Progress
from cnncli.training.features import learn_features
from cnncli.training.metrics import Tally, evaluate
from cnncli.training.optimizers import Optimizer
from cnncli.training.schedules import learning_rate
from cnncli.training.threads import choose_threads


class Listener:
    """Hears of a run's progress. The command line draws it; this one is silent."""

    def compiling(self) -> None: ...

    def started(self, run: "Run") -> None: ...

    def learning(self, path: str, kind: str) -> None: ...

    def chose_threads(self, seconds: dict[int, float]) -> None: ...

    def stepped(self, loss: float) -> None: ...

    def epoch_ended(self, record: dict) -> None: ...


class Run:
    """One training run in one folder. `given` goes into every checkpoint: what --resume must know of the command."""

    def __init__(self, network: Network, dataset: Dataset, folder: Path, given: Given):
        self.network, self.dataset, self.folder = network, dataset, folder
        self.options, data = network.specification.train, network.specification.data
        self.normalization = Normalization.of(dataset.train, data.normalize)
        dtype = network.arena.dtype
        ignore = network.specification.loss.ignored
        self.train_feeder = Feeder(dataset.train, self.normalization, dtype, data.augment, ignore)
        self.test_feeder = Feeder(dataset.test, self.normalization, dtype, ignore=ignore)
        self.optimizer = Optimizer(self.options.optimizer, network.parameters, network.arena)
        self.batch_size = min(self.options.batch_size, len(self.train_feeder))
        self.steps_per_epoch = -(-len(self.train_feeder) // self.batch_size)
        self.total = self.options.epochs * self.steps_per_epoch
        if self.options.max_steps is not None:
            self.total = min(self.total, self.options.max_steps)
        self.progress = Progress(given)
        self._saved_at = time.monotonic()

    def restore(self, found: Checkpoint) -> None:
        """Go on from the last checkpoint of the same run, whose network this run has.

        Raises DataError where the data set has changed since, CheckpointError where the optimiser's slots are missing.
        """
        same = self.progress.given.samples == found.progress.given.samples and self.dataset.classes == found.classes
        if not same or not self.normalization.equals(found.normalization):
            raise DataError(f"{self.dataset.name}: is not the data that the run began with: start a new run")
        for slot in self.optimizer.slots:
            checkpoint.check_tensors(self.folder / runs.LAST, self.network, found.tensors, f"{slot}/")
        self.progress = found.progress
        self.optimizer.load(found.tensors, self.progress.step)
        runs.forget_after(self.folder, self.progress.step)

    def train(self, listener: Listener, measure_threads: bool = False) -> dict:
        """Run to the end. Returns what `train --json` prints; raises DivergedError when the loss is not finite.

        `measure_threads`: find out first with how many threads the steps are fastest.
        """
        started, compiled, images = time.perf_counter(), kernels.compile_seconds(), 0
        p, record = self.progress, None
        listener.started(self)
        if p.step == 0:
            plain = Feeder(self.dataset.train, self.normalization, self.network.arena.dtype)
            learn_features(self.network, plain, self.options.seed, listener.learning)
            self.save(runs.LAST)
        if measure_threads and p.step < self.total:
            plan = self.network.plan(self.batch_size, training=True)
            listener.chose_threads(choose_threads(plan, self.network.parameters))
        while p.step < self.total:
            epoch, batch = divmod(p.step, self.steps_per_epoch)
            epoch_started, first, key = time.perf_counter(), p.step, epoch_key(self.options.seed, epoch)
            for samples in self._batches(epoch, batch):
                listener.stepped(self._step(epoch, samples, key))
                images += len(samples)
                if p.step == self.total:
                    break
                if self._due() and p.step % self.steps_per_epoch:  # at the end of an epoch: after its evaluation
                    self.save(runs.LAST)
            seconds = time.perf_counter() - epoch_started
            record = self._end_epoch(epoch, seconds, p.step - first)
            listener.epoch_ended(record)
        seconds = time.perf_counter() - started
        compiling = kernels.compile_seconds() - compiled
        return {
            "run": str(self.folder),
            "epochs": -(-p.step // self.steps_per_epoch),
            "test_accuracy": record["test_accuracy"] if record else None,
            "test_loss": record["test_loss"] if record else None,
            "best_test_accuracy": p.best if p.best is not None and self.network.task != INPUT else None,
            "train_seconds": round(seconds, 3),
            "images_per_second": round(images / max(seconds - compiling, 1e-9), 1),
            "compile_seconds": round(kernels.compile_seconds(), 3),
        }

    def _batches(self, epoch: int, first: int):
        """The sample numbers of each batch of an epoch, from batch `first` on."""
        count = len(self.train_feeder)
        order = epoch_order(count, self.options.seed, epoch) if self.progress.given.shuffle else np.arange(count)
        for batch in range(first, self.steps_per_epoch):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def _step(self, epoch: int, samples: np.ndarray, key: int) -> float:
        p = self.progress
        plan = self.network.plan(len(samples), training=True)
        self.train_feeder.fill(plan, samples, key)
        plan.draw(key)
        plan.forward()
        loss = p.tally.add(plan)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss} in step {p.step + 1} of epoch {epoch + 1}")
        plan.backward()
        self.optimizer.update(learning_rate(self.options, p.step, self.steps_per_epoch, self.total))
        p.step += 1
        return loss

    def _diverged(self, what: str) -> DivergedError:
        last = self.folder / runs.LAST
        return DivergedError(f"{what}: try a smaller --lr; the last good checkpoint is {last}")

    def _end_epoch(self, epoch: int, seconds: float, steps: int) -> dict:
        """Evaluate, write a line of metrics, keep the best; returns the line."""
        p, tally = self.progress, self.progress.tally
        evaluation = evaluate(self.network, self.test_feeder, self.dataset.classes, self.batch_size)
        test = evaluation.tally
        if not math.isfinite(test.loss):
            raise self._diverged(f"the test loss became {test.loss} after epoch {epoch + 1}")
        record = {
            "epoch": epoch + 1,
            "step": p.step,
            "train_loss": tally.mean_loss,
            "train_accuracy": tally.accuracy,
            "test_loss": test.mean_loss,
            "test_accuracy": test.accuracy,
            "test_top5_accuracy": test.top5_accuracy,
            "test_mean_iou": evaluation.mean_iou,
            "lr": learning_rate(self.options, p.step - 1, self.steps_per_epoch, self.total),
            "seconds": round(seconds, 3),
            "images_per_second": round(min(steps * self.batch_size, tally.count) / seconds, 1),
        }
        p.tally = Tally()
        if p.best is None or test.score > p.best:
            p.best = test.score
            self.save(runs.BEST)
        runs.add_metrics(self.folder, record)
        number, unit = self.options.save_interval
        if p.step >= self.total or self._due() or (unit == "epoch" and (epoch + 1) % number == 0):
            self.save(runs.LAST)
        return record

    def _due(self) -> bool:
        """Whether `save_every` steps or minutes have passed."""
        number, unit = self.options.save_interval
        if unit == "steps":
            return self.progress.step % number == 0
        return unit == "min" and time.monotonic() - self._saved_at >= 60 * number

    def save(self, name: str) -> None:
        """Write a checkpoint; the last one holds the optimiser's slots too. What is not finite is never written."""
        p, parameters = self.progress, self.network.parameters
        flats = parameters.values, parameters.state, *self.optimizer.slots.values()
        if not all(np.isfinite(flat).all() for flat in flats):
            raise self._diverged(f"a weight or its momentum became infinite or NaN by step {p.step}")
        tensors = parameters.save() | (self.optimizer.save() if name == runs.LAST else {})
        found = Checkpoint(self.network, self.dataset.classes, self.normalization, p, tensors)
        checkpoint.write(self.folder / name, found)
        if name == runs.LAST:
            self._saved_at = time.monotonic()


def check_labels(network: Network, dataset: Dataset) -> None:
    """Raise DataError where a data set's labels are not what a network learns, or it has fewer outputs than classes."""
    if network.task == INPUT:
        return
    if dataset.task == UNLABELLED:
        raise DataError(f"{dataset.name}: has no classes: put the files of each class into a sub-folder of its name")
    of_pixels = dataset.task == PIXELS
    if of_pixels != (network.task == PIXELS):
        has, learns = ("pixel", "sample") if of_pixels else ("sample", "pixel")
        ends = "a map of the input's size, a channel a class" if of_pixels else "a flat output, a number a class"
        raise DataError(
            f"{dataset.name}: has a label for each {has}, the model learns one for each {learns}: let it end in {ends}"
        )
    if network.output.channels < len(dataset.classes):
        raise DataError(
            f"{dataset.name}: has labels 0 .. {len(dataset.classes) - 1}, the model ends in {network.output.channels} "
            f"outputs: set its last dense layer to {len(dataset.classes)}"
        )
