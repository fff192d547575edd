"""Checkpoints: safetensors files with all that is needed to use a network again, or to go on training it. No pickle."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as unpack

from cnncli import __version__, kernels, memory, spec
from cnncli.datasets.batches import FLOAT32, Normalization
from cnncli.datasets.files import open_regular, reason
from cnncli.errors import CheckpointError, SpecificationError, printable, told
from cnncli.kernels.optimizers import SLOTS
from cnncli.layers.base import Parameter
from cnncli.network import Network, nodes
from cnncli.training.files import write_atomically
from cnncli.training.metrics import Tally
from cnncli.training.tensors import Declared, pieces, read_header

FORMAT = "cnncli-2"
UNSIGNED = "0" * 64  # in the place of the digest while it is computed
DAMAGE = (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True)
class Given:
    """What a run was given besides its model: enough to go on with it, and to see whether the data is still the same.

    `data` has a digest of each part of the data set (`digests`). Without a number of `threads` it is measured.
    """

    dataset: str
    data_dir: str | None
    shuffle: bool
    threads: int | None
    data: dict[str, str]

    @classmethod
    def of(cls, stored: dict) -> "Given":
        """From what `asdict` made and JSON kept. Raises TypeError or ValueError for something else."""
        found = cls(**stored)
        types = str, str | None, bool, dict
        values = found.dataset, found.data_dir, found.shuffle, found.data
        if not all(map(isinstance, values, types)) or not all(isinstance(v, str) for v in found.data.values()):
            raise ValueError("what its run was given makes no sense")
        if any("\0" in text or not os.fsencode(text) for text in (found.dataset, found.data_dir or "/")):
            raise ValueError("its data are nowhere")
        if found.threads is not None and (type(found.threads) is not int or found.threads < 1):
            raise ValueError("its number of threads makes no sense")
        return found


@dataclass
class Progress:
    """Where a run is: enough to go on as if it had never stopped, as all randomness is of (seed, epoch, sample).

    Behind the last step of an epoch, `tally` counts samples until the epoch is evaluated. `metrics` is where the run's
    lines of metrics end, in bytes.
    """

    given: Given
    step: int = 0
    best: float | None = None  # the score of the best epoch
    tally: Tally = field(default_factory=Tally)
    metrics: int = 0

    @classmethod
    def of(cls, stored: dict) -> "Progress":
        """From what `asdict` made and JSON kept. Raises TypeError, KeyError or ValueError for something else."""
        given, tally = Given.of(stored["given"]), Tally(**stored["tally"])
        if not all(type(n) in (int, float) and math.isfinite(n) for n in astuple(tally)):
            raise ValueError("its sums are no numbers")
        if tally.weight < 0 or not math.isfinite(tally.mean_loss):
            raise ValueError("its sums make no sense")
        step, metrics = int(stored["step"]), int(stored["metrics"])
        best = None if stored["best"] is None else float(stored["best"])
        counts = step, metrics, *astuple(tally)[2:]
        numbers_fit = max(counts) < 2**63 and min(counts) >= 0
        if not numbers_fit or not math.isfinite(best or 0) or (tally.count and not step):
            raise ValueError("its progress makes no sense")
        return cls(given, step, best, tally, metrics)


def made_with() -> dict[str, str]:
    """What the last bits of a result depend on besides model, data and seed."""
    return {"cnncli": __version__, **kernels.versions(), "processor": kernels.processor()}


@dataclass(frozen=True)
class Checkpoint:
    """A network at one moment of a run. `tensors` of one that was read: parameters and, in a last one, the slots."""

    network: Network
    classes: tuple[str, ...]
    normalization: Normalization
    progress: Progress
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    made_with: dict[str, str] = field(default_factory=made_with)


def write(path: Path, checkpoint: Checkpoint, slots: dict[str, np.ndarray] | None = None) -> None:
    """Write a checkpoint atomically; with an optimiser's `slots`, one that a run can go on from.

    Tensors are made one at a time: all of them would be the network once more. Raises OSError where the disk does not
    take it: the file before it stays.
    """
    parameters, n = checkpoint.network.parameters, checkpoint.normalization
    known = parameters.declared | parameters.counted
    stored = {name: (name, None) for name in known}
    stored |= {f"{slot}/{name}": (name, of) for slot, of in (slots or {}).items() for name in parameters.declared}
    shapes = {key: known[name].file_shape for key, (name, _) in stored.items()}

    def signed(digest: str) -> Iterator[bytes]:
        about = {
            "format": FORMAT,
            "sha256": digest,
            "made_with": checkpoint.made_with,
            "specification": checkpoint.network.specification.source,
            "classes": checkpoint.classes,
            "normalization": {"unit": n.unit, "mean": n.mean.tolist(), "deviation": n.deviation.tolist()},
            "progress": asdict(checkpoint.progress),
        }
        return pieces(json.dumps(about), shapes, lambda key: parameters.tensor(*stored[key]))

    digest = hashlib.sha256()
    for piece in signed(UNSIGNED):
        digest.update(piece)
    write_atomically(path, signed(digest.hexdigest()))


def _intact(data: bytes, digest: str) -> bool:
    """Whether the digest that a file names is that of its bytes with UNSIGNED in its place."""
    at = data.find(digest.encode())
    found = hashlib.sha256(data[:at])
    found.update(UNSIGNED.encode())
    found.update(memoryview(data)[at + len(UNSIGNED) :])
    return at >= 0 and found.hexdigest() == digest


def read(path: Path) -> Checkpoint:
    """Read a checkpoint and build its network. Raises CheckpointError with one line for whatever does not fit.

    Nothing is allocated before the file has been found to hold the tensors of its network, and no others.
    """
    try:
        with open_regular(path) as file:
            return _read(path, file)
    except OSError as error:
        raise CheckpointError(f"{printable(path)}: {reason(error)}") from None
    except MemoryError:
        raise CheckpointError(f"{printable(path)}: does not fit into memory") from None


def _read(path: Path, file: BinaryIO) -> Checkpoint:
    name = printable(path)
    try:
        about, declared = read_header(file)
        if about.get("format") != FORMAT:
            raise CheckpointError(f"{name}: is a safetensors file, but not a checkpoint of this version of cnncli")
        classes, progress = _classes(about["classes"]), Progress.of(about["progress"])
        normalization, source = _normalization(**about["normalization"]), str(about["specification"])
        made = {str(part): str(version) for part, version in about["made_with"].items()}
        digest = str(about["sha256"])
    except DAMAGE as error:
        raise CheckpointError(f"{name}: damaged, or not a checkpoint ({told(error)})") from None
    try:
        specification = spec.parse(source, f"{name} (model)")
        parameters = {name: of for node in nodes(specification) for name, of in node.parameters.items()}
    except SpecificationError as error:
        raise CheckpointError(f"{name}: its model cannot be used: {error}") from None
    channels = (specification.input.channels,)
    if normalization.mean.shape != channels or normalization.deviation.shape != channels:
        raise CheckpointError(f"{name}: damaged: the normalisation is not for {channels[0]} channels")
    _check_names(path, declared, parameters, SLOTS[specification.train.optimizer.kind])
    _check_memory(path, file)
    tensors = _unpacked(name, file, digest)
    network = Network(specification)
    network.parameters.load(tensors)
    return Checkpoint(network, classes, normalization, progress, tensors, made)


def _unpacked(name: str, file: BinaryIO, digest: str) -> dict[str, np.ndarray]:
    """The tensors of a file. Its bytes are held no longer than this takes."""
    file.seek(0)
    data = file.read()
    if not _intact(data, digest):
        raise CheckpointError(f"{name}: damaged: its bytes are not those that were written")
    try:
        tensors = unpack(data)
    except DAMAGE as error:
        raise CheckpointError(f"{name}: damaged ({told(error)})") from None
    if wrong := [tensor for tensor, values in tensors.items() if not np.isfinite(values).all()]:
        raise CheckpointError(f"{name}: damaged, or not written by cnncli: {printable(wrong[0])} holds NaN or infinity")
    return tensors


def _classes(stored: list) -> tuple[str, ...]:
    """The names of classes. Raises ValueError where a terminal could not show them."""
    if not isinstance(stored, list) or not all(isinstance(name, str) and name.isprintable() for name in stored):
        raise ValueError("its classes are no names")
    return tuple(stored)


def _normalization(unit: float, mean: list, deviation: list) -> Normalization:
    found = Normalization(float(unit), np.array(mean, np.float64), np.array(deviation, np.float64))
    if found.unit not in (1, 255) or not ((found.deviation >= FLOAT32.tiny) & (found.deviation <= FLOAT32.max)).all():
        raise ValueError("its normalisation makes no sense")
    if not (np.abs(found.mean) <= FLOAT32.max * found.deviation).all():
        raise ValueError("its normalisation goes beyond float32")
    return found


def _check_names(
    path: Path, declared: dict[str, Declared], parameters: dict[str, Parameter], slots: tuple[str, ...]
) -> None:
    """Raise CheckpointError unless a header declares the tensors of a network, and nothing but slots of theirs."""
    _check(path, parameters, declared)
    learned = {name: parameter for name, parameter in parameters.items() if parameter.learned}
    for slot in slots:
        if any(name.startswith(f"{slot}/") for name in declared):
            _check(path, learned, declared, f"{slot}/")
    known = parameters.keys() | {f"{slot}/{name}" for slot in slots for name in learned}
    extra = next((name for name in sorted(declared) if name not in known), None)
    if extra is not None:
        raise CheckpointError(f"{printable(path)}: is of another network: this one has no {extra}")


def _check_memory(path: Path, file: BinaryIO) -> None:
    """Raise CheckpointError where a file's bytes, the tensors in them and the network's copy are too many."""
    needed, there = 3 * os.fstat(file.fileno()).st_size, memory.available()
    if needed > there:
        sizes = f"needs {memory.text(needed)}, {memory.text(there)} are available"
        raise CheckpointError(f"{printable(path)}: does not fit into memory: {sizes}")


def check_slot(path: Path, network: Network, tensors: dict[str, np.ndarray], slot: str) -> None:
    """Raise CheckpointError unless there is a tensor SLOT/NAME of the right shape for each learned parameter."""
    _check(path, network.parameters.declared, tensors, f"{slot}/")


def _check(path: Path, parameters: dict[str, Parameter], tensors: dict, prefix: str = "") -> None:
    """Raise CheckpointError unless there is a tensor PREFIX + NAME of the right shape for each of the parameters."""
    for name, parameter in parameters.items():
        found = tensors.get(prefix + name)
        if found is None:
            raise CheckpointError(f"{printable(path)}: is of another network: it has no {prefix}{name}")
        if found.shape != parameter.file_shape or found.dtype != np.float32:
            wanted, got = "x".join(map(str, parameter.file_shape)), "x".join(map(str, found.shape))
            text = f"{prefix}{name} is {found.dtype} {got}, not float32 {wanted}"
            raise CheckpointError(f"{printable(path)}: is of another network: {text}")
