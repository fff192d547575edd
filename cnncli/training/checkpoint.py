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
REQUIRED = ("specification", "classes", "normalization", "progress")


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
    metadata = {
        "format": FORMAT,
        "cnncli": __version__,
        "specification": checkpoint.network.specification.source,
        "classes": json.dumps(checkpoint.classes),
        "normalization": json.dumps({"unit": n.unit, "mean": n.mean.tolist(), "deviation": n.deviation.tolist()}),
        "progress": json.dumps(checkpoint.progress),
    }
    write_atomically(path, pack(checkpoint.tensors, metadata))


def read(path: Path) -> Checkpoint:
    """Read a checkpoint and build its network. Raises CheckpointError with one line for whatever does not fit."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    try:
        metadata, tensors = _metadata(data), unpack(data)
        if metadata.get("format") != FORMAT or any(key not in metadata for key in REQUIRED):
            raise CheckpointError(f"{path}: is a safetensors file, but not a checkpoint of cnncli")
        classes = tuple(str(name) for name in json.loads(metadata["classes"]))
        stored, progress = json.loads(metadata["normalization"]), json.loads(metadata["progress"])
        normalization = Normalization(
            float(stored["unit"]), np.array(stored["mean"], np.float64), np.array(stored["deviation"], np.float64)
        )
        if not isinstance(progress, dict):
            raise ValueError("progress is not a mapping")
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint ({error})") from None
    try:
        network = Network(spec.parse(metadata["specification"], f"{path} (model)"))
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
    extra = [name for name in tensors if "/" not in name and name not in network.parameters.declared]
    if extra:
        raise CheckpointError(f"{path}: is of another network: this one has no {extra[0]}")
    network.parameters.load(tensors)


def _metadata(data: bytes) -> dict[str, str]:
    """The text beside the tensors: safetensors' reader of bytes gives the tensors alone."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise ValueError("the file ends inside its header")
    header = json.loads(data[8 : 8 + length])
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return metadata if isinstance(metadata, dict) else {}
