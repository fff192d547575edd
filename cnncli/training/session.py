"""What the commands call: start or resume a run, evaluate or use a checkpoint."""

import hashlib
import os
import platform
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cnncli import datasets, kernels, spec
from cnncli.datasets.batches import Feeder
from cnncli.errors import CheckpointError, CnncliError, DataError
from cnncli.network import INPUT, Network
from cnncli.spec.specification import stem
from cnncli.training import checkpoint, memory, runs
from cnncli.training.checkpoint import Checkpoint, Given, made_with
from cnncli.training.labels import check_labels
from cnncli.training.loop import Listener, Run
from cnncli.training.metrics import Evaluation, evaluate
from cnncli.training.warming import warm_for


@dataclass(frozen=True)
class Request:
    """What `train` was asked for. `changes` are KEY=VALUE overrides of the model, `lr` the peak of its schedule.

    Without a number of `threads`, which are set already, it is measured. `max_memory` bounds the process, in bytes.
    """

    model: str
    dataset: str = "digits"
    data_dir: Path | None = None
    out: Path | None = None
    changes: tuple[str, ...] = ()
    lr: float | None = None
    shuffle: bool = True
    threads: int | None = None
    max_memory: int | None = None


def start(request: Request, listener: Listener, stop: Callable[[], bool] = lambda: False) -> dict:
    """Train a model from its first values. The run's folder is made when everything else has been checked.

    `stop` as in `Run.train`.
    """
    specification = spec.read(request.model, request.changes)
    if request.lr is not None:
        kind = specification.train.optimizer.kind
        specification = spec.read(request.model, (*request.changes, f"train.optimizer.{kind}.lr={request.lr!r}"))
    if request.out:
        runs.check_out(request.out)
    memory.check(specification, None, most=request.max_memory)
    network = Network(specification, seed=specification.train.seed)
    dataset = _dataset(request.dataset, request.data_dir, network)
    memory.check(specification, len(dataset.train.labels), network.arena.bytes, request.max_memory)
    where = _where(request.dataset, request.data_dir)
    given = Given(**where, shuffle=request.shuffle, threads=request.threads, data=digests(dataset))
    _compile(network, dataset, listener)
    with runs.create(request.out, f"{specification.name}-{stem(dataset.name)}") as folder:
        runs.describe(folder, specification.source, _resolved(given, dataset, specification.train.seed))
        return Run(network, dataset, folder, given).train(listener, request.threads is None, stop)


def resume(
    folder: Path,
    listener: Listener,
    threads: int | None = None,
    max_memory: int | None = None,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    other_versions: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> dict:
    """Go on with a run from its last checkpoint, as if it had never stopped.

    `threads` and `max_memory` as in `Request`, `stop` as in `Run.train`; `dataset` and `data_dir` say where the data
    are now, if they were moved. Raises CheckpointError or DataError where the model or the data is not what the run
    began with, or versions or the processor are not, unless `other_versions` are welcome.
    """
    if folder.is_file():
        raise CheckpointError(f"{folder}: is a file: give --resume the run's folder, {shlex.quote(str(folder.parent))}")
    if not runs.resumable(folder):
        raise CheckpointError(f"{folder}: holds no {runs.LAST} to resume from: start a run with --model")
    with runs.hold(folder):
        path, found = _last_readable(folder, listener)
        runs.check_model(folder, found.network.specification.source)
        if not other_versions:
            _check_versions(folder, found.made_with)
        given, specification = found.progress.given, found.network.specification
        given = replace(given, **_where(dataset, data_dir))
        data = _dataset(given.dataset, given.data_dir and Path(given.data_dir), found.network)
        memory.check(specification, len(data.train.labels), found.network.arena.bytes, max_memory)
        if threads is None and given.threads:
            kernels.set_threads(min(given.threads, kernels.most_threads()))
        given = replace(given, threads=threads or given.threads, data=digests(data))
        run = Run(found.network, data, folder, given, found.normalization)
        run.restore(found)
        if path != folder / runs.LAST:
            runs.go_back_to(path)
        _compile(found.network, data, listener)
        return run.train(listener, given.threads is None, stop)


def _where(dataset: str | None, data_dir: Path | None) -> dict[str, str | None]:
    """What `Given` keeps of where the data are: from any folder. Empty where nothing is said."""
    found = {}
    if dataset is not None:
        path = Path(os.path.expanduser(dataset))
        found = {"dataset": datasets.known(dataset) or str(path.resolve()), "data_dir": None}
    return found | ({"data_dir": str(Path(os.path.expanduser(data_dir)).resolve())} if data_dir else {})


def _last_readable(folder: Path, listener: Listener) -> tuple[Path, Checkpoint]:
    """The last checkpoint, or where it is damaged the newest of those that were kept before it."""
    first = None
    for path in runs.resumable(folder):
        try:
            found = checkpoint.read(path)
        except CheckpointError as error:
            first = first or error
        else:
            if path != folder / runs.LAST:
                listener.warned(f"{first or f'{folder / runs.LAST}: is not there'}; going on from {path}")
            return path, found
    raise first


def _check_versions(folder: Path, then: dict[str, str]) -> None:
    """Raise CheckpointError where versions or the processor, which decide on the last bits, are not those of before."""
    now = made_with()
    changed = [  # what the checkpoint says may be of any length
        f"{name} was {str(then.get(name))[:60]}, now {now[name]}" for name in now if then.get(name) != now[name]
    ]
    if changed:
        how = "the last bits may differ from those of an uninterrupted run; --other-versions goes on all the same"
        raise CheckpointError(f"{folder}: {'; '.join(changed)}: {how}")


def evaluate_checkpoint(
    run_or_file: str | None, dataset: str | None, data_dir: Path | None, split: str, batch_size: int | None
) -> tuple[Path, Evaluation]:
    """Measure a checkpoint on a split; by default the newest run's best, on the data set it was trained on."""
    path = runs.checkpoint_of(run_or_file)
    found = checkpoint.read(path)
    memory.check_use(path, found.network, 1)  # before the data are made as large as its input
    given = found.progress.given
    if dataset is None:
        dataset, data_dir = given.dataset, data_dir or (given.data_dir and Path(given.data_dir))
    data = _dataset(dataset, data_dir, found.network)
    if data.classes != found.classes:
        raise DataError(f"{data.name}: its classes are not those that {path} was trained on")
    ignore = found.network.specification.loss.ignored
    feeder = Feeder(getattr(data, split), found.normalization, found.network.arena.dtype, ignore=ignore)
    size = min(batch_size or found.network.specification.train.batch_size, len(feeder))
    memory.check_use(path, found.network, size, 0 if found.network.task == INPUT else found.network.output.channels)
    return path, evaluate(found.network, feeder, found.classes, size)


def _compile(network, dataset, listener):
    """With an empty cache, compile on every core what the run needs: LeNet's kernels take 8 seconds in place of 14."""
    if kernels.cached() or kernels.cache_problem(test=True):
        return
    listener.compiling()
    batch = slice(network.specification.train.batch_size)
    few = datasets.Split(dataset.train.images[batch], dataset.train.labels[batch])
    with suppress(CnncliError, OSError):  # what is missing is compiled where it is used
        warm_for(network.specification, few)


def _dataset(name, data_dir, network):
    dataset = datasets.load(name, data_dir, datasets.Input(network.input.axes, network.input.channels))
    check_labels(network, dataset)
    return datasets.fit(dataset, network.input.axes, network.input.channels)


def digests(dataset: datasets.Dataset) -> dict[str, str]:
    """A digest of each part of a data set, by what a message calls it."""
    parts = {"classes": hashlib.sha256(repr(dataset.classes).encode())}
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        for kind, array in (("samples", split.images), ("labels", split.labels)):
            found = parts[f"{name} {kind}"] = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return {name: found.hexdigest() for name, found in parts.items()}


def _resolved(given: Given, dataset, seed: int) -> dict:
    """What may matter to somebody who reads the run's folder in a year."""
    made = made_with()
    return {
        "dataset": given.dataset,
        "data_dir": given.data_dir,
        "source": dataset.source,
        "samples": {"train": len(dataset.train.labels), "test": len(dataset.test.labels)},
        "shuffle": given.shuffle,
        "seed": seed,
        "threads": given.threads or "auto",
        "processor": made.pop("processor"),
        "versions": {"python": platform.python_version(), **made},
    }
