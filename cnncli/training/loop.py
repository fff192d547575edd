"""The training loop: epochs of steps, each a batch forward, backward and an update; checkpoints on the way."""

import math
import shlex
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnncli import kernels
from cnncli.datasets import Dataset
from cnncli.datasets.batches import Feeder, Normalization, epoch_key, epoch_order
from cnncli.errors import CnncliError, DataError, DivergedError, StoppedError
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

    def warned(self, text: str) -> None: ...

    def compiling(self) -> None: ...

    def started(self, run: "Run") -> None: ...

    def learning(self, path: str, kind: str) -> None: ...

    def chose_threads(self, seconds: dict[int, float]) -> None: ...

    def stepped(self, loss: float) -> None: ...

    def epoch_ended(self, record: dict) -> None: ...


class Run:
    """One training run in one folder. `given` goes into every checkpoint: what --resume must know of the command.

    `normalization` is of the training images, unless that of a checkpoint is given.
    """

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        folder: Path,
        given: Given,
        normalization: Normalization | None = None,
    ):
        self.network, self.dataset, self.folder = network, dataset, folder
        self.options, data = network.specification.train, network.specification.data
        self.normalization = normalization or Normalization.of(dataset.train, data.normalize)
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
        self._saved_at, self._saved_step = time.monotonic(), None

    def restore(self, found: Checkpoint) -> None:
        """Go on from a checkpoint of the same run, whose network this run has. It gives up its tensors.

        Raises DataError where the data set has changed since, CheckpointError where the optimiser's slots are missing.
        """
        now, then = self.progress.given, found.progress.given
        changed = [part for part, digest in now.data.items() if digest != then.data.get(part)]
        if changed:
            what = " and the ".join(changed)
            raise DataError(f"{self.dataset.name}: the {what} are not those that the run began with: start a new run")
        for slot in self.optimizer.slots:
            checkpoint.check_slot(self.folder / runs.LAST, self.network, found.tensors, slot)
        self.progress = replace(found.progress, given=now)
        self.optimizer.load(found.tensors, self.progress.step)
        self.progress.metrics = runs.forget_after(self.folder, self.progress.metrics)
        self._saved_step = self.progress.step
        found.tensors.clear()  # as large as the network and the optimiser: a run would hold them to its end

    def train(
        self, listener: Listener, measure_threads: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> dict:
        """Run to the end. Returns what `train --json` prints.

        `measure_threads`: find out first with how many threads the steps are fastest. `stop` is asked after each step,
        and after each batch of an evaluation: where it says so, the run is saved and StoppedError raised. Raises
        DivergedError where the loss or a gradient is not finite, CnncliError where a checkpoint cannot be written.
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
        while p.step < self.total or p.tally.count:
            epoch = (p.step - 1 if p.tally.count else p.step) // self.steps_per_epoch
            epoch_started, first, key = time.perf_counter(), p.step, epoch_key(self.options.seed, epoch)
            for samples in self._batches(epoch, p.step - epoch * self.steps_per_epoch):
                listener.stepped(self._step(epoch, samples, key))
                images += len(samples)
                if self._due() and p.step % self.steps_per_epoch and p.step < self.total:  # else after an evaluation
                    self.save(runs.LAST)
                self._heed(stop)
            seconds = time.perf_counter() - epoch_started
            record = self._end_epoch(epoch, seconds, p.step - first, lambda: self._heed(stop))
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
        """The sample numbers of each batch of an epoch that the run comes to, from batch `first` on."""
        count = len(self.train_feeder)
        order = epoch_order(count, self.options.seed, epoch) if self.progress.given.shuffle else np.arange(count)
        for batch in range(first, min(self.steps_per_epoch, self.total - epoch * self.steps_per_epoch)):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def _step(self, epoch: int, samples: np.ndarray, key: int) -> float:
        p = self.progress
        plan = self.network.plan(len(samples), training=True)
        self.train_feeder.fill(plan, samples, key)
        plan.draw(key)
        plan.forward()
        loss = p.tally.add(plan)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss} in step {p.step + 1}", plan.first_not_finite())
        plan.backward()
        finite = self.optimizer.update(learning_rate(self.options, p.step, self.steps_per_epoch, self.total))
        if not finite and (path := self._not_finite()):
            raise self._diverged(f"a gradient became infinite or NaN in step {p.step + 1}", path)
        p.step += 1
        return loss

    def _not_finite(self) -> str | None:
        """The path of the last layer, the first one backward, whose gradient holds NaN or infinity."""
        parameters = self.network.parameters
        found = {name for name in parameters.declared if not np.isfinite(parameters.gradient(name)).all()}
        nodes = reversed(self.network.nodes)
        return next((node.path for node in nodes if found & node.parameters.keys()), None)

    def _diverged(self, what: str, path: str | None = None) -> DivergedError:
        first = f", first in layer {path}" if path else ""
        return DivergedError(f"{what}{first}: try a smaller --lr{self._last_good()}")

    def _last_good(self) -> str:
        if self._saved_step is None or not (self.folder / runs.LAST).exists():
            return ""
        return f"; the last good checkpoint is {self.folder / runs.LAST}, of step {self._saved_step}"

    def _heed(self, stop: Callable[[], bool]) -> None:
        if stop():
            self.save(runs.LAST)
            folder = shlex.quote(str(self.folder))
            raise StoppedError(
                f"stopped after step {self.progress.step} of {self.total}: go on with cnncli train --resume {folder}"
            )

    def _end_epoch(self, epoch: int, seconds: float, steps: int, each: Callable[[], None]) -> dict:
        """Evaluate, calling `each` after each batch, write a line of metrics, keep the best; returns the line."""
        p, tally = self.progress, self.progress.tally
        by_class = self.network.task == PIXELS
        evaluation = evaluate(self.network, self.test_feeder, self.dataset.classes, self.batch_size, each, by_class)
        test = evaluation.tally
        if not math.isfinite(test.loss):
            raise self._diverged(f"the test loss became {test.loss} after step {p.step}", evaluation.not_finite)
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
            "images_per_second": round(min(steps * self.batch_size, tally.count) / max(seconds, 1e-9), 1),
        }
        p.tally = Tally()
        if p.best is None or test.score > p.best:
            p.best = test.score
            self.save(runs.BEST)
        with self._writing():
            p.metrics = runs.add_metrics(self.folder, p.metrics, record)
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
        now = Checkpoint(self.network, self.dataset.classes, self.normalization, p)
        with self._writing():
            if name != runs.LAST:
                checkpoint.write(self.folder / name, now)
                return
            if self.options.keep > 1 and self._saved_step not in (None, p.step):
                runs.keep_older(self.folder, self._saved_step)
            checkpoint.write(self.folder / name, now, self.optimizer.slots)
            self._saved_at, self._saved_step = time.monotonic(), p.step
            if self.options.keep > 1:
                runs.forget_older(self.folder, self.options.keep - 1)

    @contextmanager
    def _writing(self):
        """What the disk does not take ends the run in one line. Nothing is half-written, and the files before stay."""
        try:
            yield
        except OSError as error:
            raise CnncliError(f"{error.filename or self.folder}: {error.strerror}{self._last_good()}") from None
