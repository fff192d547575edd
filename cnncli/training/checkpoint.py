"""Checkpoints: safetensors files with all that is needed to use a network again, or to go on training it. No pickle."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

from cnncli import __version__, spec
from cnncli.datasets.batches import Normalization
from cnncli.errors import CheckpointError, SpecificationError
from cnncli.network import Network
from cnncli.training.files import write_atomically

FORMAT = "cnncli-1"


@dataclass(frozen=True)
class Checkpoint:
    """A network at one moment. `progress` says where in which run: its step, best accuracy and what it was given."""

    network: Network
    classes: tuple[str, ...]
    normalization: Normalization
    progress: dict
    tensors: dict[str, np.ndarray]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically. Raises OSError where the disk does not take it: the file before it stays."""
    n = checkpoint.normalization
    about = {
        "format": FORMAT,
        "version": __version__,
        "specification": checkpoint.network.specification.source,
        "classes": checkpoint.classes,
        "normalization": {"unit": n.unit, "mean": n.mean.tolist(), "deviation": n.deviation.tolist()},
        "progress": checkpoint.progress,
    }
    # one entry: safetensors writes several in an order that changes from one write to the next
    write_atomically(path, pack(checkpoint.tensors, {"cnncli": json.dumps(about)}))


def read(path: Path) -> Checkpoint:
    """Read a checkpoint and build its network. Raises CheckpointError with one line for whatever does not fit."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    try:
        about, tensors = _about(data), unpack(data)
        if about.get("format") != FORMAT:
            raise CheckpointError(f"{path}: is a safetensors file, but not a checkpoint of cnncli")
        classes, progress = tuple(str(name) for name in about["classes"]), dict(about["progress"])
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
    return Checkpoint(network, classes, normalization, progress, tensors)


def load_parameters(path: Path, network: Network, tensors: dict[str, np.ndarray]) -> None:
    """Give a network the tensors of a checkpoint. Raises CheckpointError where they are of another network."""
    for name, parameter in network.parameters.declared.items():
        if name not in tensors:
            raise CheckpointError(f"{path}: is of another network: it has no {name}")
        found = tensors[name]
        if found.shape != parameter.file_shape or found.dtype != np.float32:
            wanted, got = "x".join(map(str, parameter.file_shape)), "x".join(map(str, found.shape))
            raise CheckpointError(f"{path}: is of another network: {name} is {found.dtype} {got}, not float32 {wanted}")
    extra = [name for name in sorted(tensors) if "/" not in name and name not in network.parameters.declared]
    if extra:
        raise CheckpointError(f"{path}: is of another network: this one has no {extra[0]}")
    network.parameters.load(tensors)


def _about(data: bytes) -> dict:
    """The text beside the tensors: safetensors' reader of bytes gives the tensors alone."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise ValueError("the file ends inside its header")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return dict(json.loads(metadata.get("cnncli", "{}")))
