"""Checkpoints: safetensors files with all that is needed to use a network again, or to go on training it. No pickle."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

from cnncli import __version__, kernels, spec
from cnncli.datasets.batches import Normalization
from cnncli.errors import CheckpointError, SpecificationError
from cnncli.network import Network
from cnncli.training.files import write_atomically
from cnncli.training.metrics import Tally

FORMAT = "cnncli-2"
UNSIGNED = "0" * 64  # in the place of the digest while it is computed


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
        types = str, str | None, bool, int | None, dict
        values = found.dataset, found.data_dir, found.shuffle, found.threads, found.data
        if not all(map(isinstance, values, types)) or not all(isinstance(v, str) for v in found.data.values()):
            raise ValueError("what its run was given makes no sense")
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
        step, metrics = int(stored["step"]), int(stored["metrics"])
        best = None if stored["best"] is None else float(stored["best"])
        counts = all(isinstance(value, int | float) for value in stored["tally"].values())
        if not counts or min(step, metrics, tally.count) < 0 or (tally.count and not step):
            raise ValueError("its progress makes no sense")
        return cls(given, step, best, tally, metrics)


def made_with() -> dict[str, str]:
    """What the last bits of a result depend on besides model, data and seed."""
    return {"cnncli": __version__, **kernels.versions(), "processor": kernels.processor()}


@dataclass(frozen=True)
class Checkpoint:
    """A network at one moment of a run. `tensors`: the parameters and, in a last checkpoint, the optimiser's slots."""

    network: Network
    classes: tuple[str, ...]
    normalization: Normalization
    progress: Progress
    tensors: dict[str, np.ndarray]
    made_with: dict[str, str] = field(default_factory=made_with)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically. Raises OSError where the disk does not take it: the file before it stays."""
    n = checkpoint.normalization
    about = {
        "format": FORMAT,
        "sha256": UNSIGNED,
        "made_with": checkpoint.made_with,
        "specification": checkpoint.network.specification.source,
        "classes": checkpoint.classes,
        "normalization": {"unit": n.unit, "mean": n.mean.tolist(), "deviation": n.deviation.tolist()},
        "progress": asdict(checkpoint.progress),
    }
    # one entry: safetensors writes several in an order that changes from one write to the next
    write_atomically(path, sign(pack(checkpoint.tensors, {"cnncli": json.dumps(about)})))


def sign(data: bytes) -> bytearray:
    """A file's bytes with their digest in its place, where UNSIGNED was."""
    at, signed = data.index(UNSIGNED.encode()), bytearray(data)
    signed[at : at + len(UNSIGNED)] = hashlib.sha256(data).hexdigest().encode()
    return signed


def _intact(data: bytes, digest: str) -> bool:
    """Whether the digest that a file names is that of its bytes with UNSIGNED in its place."""
    at = data.find(digest.encode())
    found = hashlib.sha256(data[:at])
    found.update(UNSIGNED.encode())
    found.update(memoryview(data)[at + len(UNSIGNED) :])
    return at >= 0 and found.hexdigest() == digest


def read(path: Path) -> Checkpoint:
    """Read a checkpoint and build its network. Raises CheckpointError with one line for whatever does not fit."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    try:
        about, tensors = _about(data), unpack(data)
        if about.get("format") != FORMAT:
            raise CheckpointError(f"{path}: is a safetensors file, but not a checkpoint of this version of cnncli")
        if not _intact(data, str(about["sha256"])):
            raise CheckpointError(f"{path}: damaged: its bytes are not those that were written")
        made = {str(name): str(version) for name, version in about["made_with"].items()}
        classes, progress = tuple(str(name) for name in about["classes"]), Progress.of(about["progress"])
        stored, source = about["normalization"], str(about["specification"])
        moments = (np.array(stored[key], np.float64) for key in ("mean", "deviation"))
        normalization = Normalization(float(stored["unit"]), *moments)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint ({error})") from None
    try:
        network = Network(spec.parse(source, f"{path} (model)"))
    except SpecificationError as error:
        raise CheckpointError(f"{path}: its model cannot be used: {error}") from None
    channels = (network.input.channels,)
    if normalization.mean.shape != channels or normalization.deviation.shape != channels:
        raise CheckpointError(f"{path}: damaged: the normalisation is not for {channels[0]} channels")
    load_parameters(path, network, tensors)
    return Checkpoint(network, classes, normalization, progress, tensors, made)


def load_parameters(path: Path, network: Network, tensors: dict[str, np.ndarray]) -> None:
    """Give a network the tensors of a checkpoint. Raises CheckpointError where they are of another network."""
    check_tensors(path, network, tensors)
    known = network.parameters.declared | network.parameters.counted
    extra = [name for name in sorted(tensors) if "/" not in name and name not in known]
    if extra:
        raise CheckpointError(f"{path}: is of another network: this one has no {extra[0]}")
    network.parameters.load(tensors)


def check_tensors(path: Path, network: Network, tensors: dict[str, np.ndarray], prefix: str = "") -> None:
    """Raise CheckpointError unless there is a tensor PREFIX + NAME of the right shape for each parameter.

    With a prefix, that of an optimiser's slot, only what is learned counts.
    """
    parameters = network.parameters
    for name, parameter in (parameters.declared if prefix else parameters.declared | parameters.counted).items():
        found = tensors.get(prefix + name)
        if found is None:
            raise CheckpointError(f"{path}: is of another network: it has no {prefix}{name}")
        if found.shape != parameter.file_shape or found.dtype != np.float32:
            wanted, got = "x".join(map(str, parameter.file_shape)), "x".join(map(str, found.shape))
            text = f"{prefix}{name} is {found.dtype} {got}, not float32 {wanted}"
            raise CheckpointError(f"{path}: is of another network: {text}")


def _about(data: bytes) -> dict:
    """The text beside the tensors: safetensors' reader of bytes gives the tensors alone."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise ValueError("the file ends inside its header")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return dict(json.loads(metadata.get("cnncli", "{}")))
