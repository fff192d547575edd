"""What the commands call: start or resume a run, evaluate or use a checkpoint."""

import platform
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cnncli import __version__, datasets, kernels, spec
from cnncli.datasets.batches import Feeder
from cnncli.errors import CheckpointError, CnncliError, DataError
from cnncli.network import Network
from cnncli.training import checkpoint, runs
from cnncli.training.checkpoint import Given
from cnncli.training.loop import Listener, Run, check_labels
from cnncli.training.metrics import Evaluation, evaluate
from cnncli.training.warming import warm_for


@dataclass(frozen=True)
class Request:
    """What `train` was asked for. `changes` are KEY=VALUE overrides of the model, `lr` the peak of its schedule.

    Without a number of `threads`, which are set already, it is measured.
    """

    model: str
    dataset: str = "digits"
    data_dir: Path | None = None
    out: Path | None = None
    changes: tuple[str, ...] = ()
    lr: float | None = None
    shuffle: bool = True
    threads: int | None = None


def start(request: Request, listener: Listener) -> dict:
    """Train a model from its first values. The run's folder is made when everything else has been checked."""
    specification = spec.read(request.model, request.changes)
    if request.lr is not None:
        kind = specification.train.optimizer.kind
        specification = spec.read(request.model, (*request.changes, f"train.optimizer.{kind}.lr={request.lr!r}"))
    network = Network(specification, seed=specification.train.seed)
    dataset = _dataset(request.dataset, request.data_dir, network)
    folder = runs.create(request.out, f"{specification.name}-{Path(dataset.name).stem}")
    named = datasets.known(request.dataset)
    given = Given(
        dataset=named or str(Path(request.dataset).expanduser().resolve()),
        data_dir=str(request.data_dir.resolve()) if request.data_dir else None,
        shuffle=request.shuffle,
        samples=_samples(dataset),
    )
    runs.describe(folder, specification.source, _resolved(given, dataset, specification.train.seed, request.threads))
    _compile(network, dataset, listener)
    return Run(network, dataset, folder, given).train(listener, measure_threads=request.threads is None)


def resume(folder: Path, listener: Listener, threads: int | None = None) -> dict:
    """Go on with a run from its last checkpoint, as if it had never stopped. `threads` as in `Request`."""
    path = folder / runs.LAST
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no {runs.LAST} to resume from")
    found = checkpoint.read(path)
    given = found.progress.given
    dataset = _dataset(given.dataset, given.data_dir and Path(given.data_dir), found.network)
    _compile(found.network, dataset, listener)
    run = Run(found.network, dataset, folder, replace(given, samples=_samples(dataset)))
    run.restore(found)
    return run.train(listener, measure_threads=threads is None)


def evaluate_checkpoint(
    run_or_file: str | None, dataset: str | None, data_dir: Path | None, split: str, batch_size: int | None
) -> tuple[Path, Evaluation]:
    """Measure a checkpoint on a split; by default the newest run's best, on the data set it was trained on."""
    path = runs.checkpoint_of(run_or_file)
    found = checkpoint.read(path)
    given = found.progress.given
    if dataset is None:
        dataset, data_dir = given.dataset, data_dir or (given.data_dir and Path(given.data_dir))
    data = _dataset(dataset, data_dir, found.network)
    if data.classes != found.classes:
        raise DataError(f"{data.name}: its classes are not those that {path} was trained on")
    ignore = found.network.specification.loss.ignored
    feeder = Feeder(getattr(data, split), found.normalization, found.network.arena.dtype, ignore=ignore)
    size = batch_size or found.network.specification.train.batch_size
    return path, evaluate(found.network, feeder, found.classes, min(size, len(feeder)))


def _compile(network, dataset, listener):
    """With an empty cache, compile on every core what the run needs: LeNet's kernels take 8 seconds in place of 14."""
    if kernels.CACHE_PROBLEM or kernels.cached():
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


def _samples(dataset) -> tuple[int, int]:
    return len(dataset.train.labels), len(dataset.test.labels)


def _resolved(given: Given, dataset, seed: int, threads: int | None) -> dict:
    """What may matter to somebody who reads the run's folder in a year."""
    versions = {"cnncli": __version__, "python": platform.python_version(), **kernels.versions()}
    return {
        "dataset": given.dataset,
        "data_dir": given.data_dir,
        "source": dataset.source,
        "samples": {"train": given.samples[0], "test": given.samples[1]},
        "shuffle": given.shuffle,
        "seed": seed,
        "threads": threads or "auto",
        "processor": platform.processor() or platform.machine(),
        "versions": versions,
    }
