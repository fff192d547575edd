"""Whether a run fits into memory, before it takes any: the system grants more than it has, and ends who uses it."""

from collections import Counter
from pathlib import Path

from cnncli import network
from cnncli.errors import CheckpointError, SpecificationError, printable
from cnncli.kernels.optimizers import SLOTS
from cnncli.memory import available, resident, text
from cnncli.network import Network
from cnncli.spec import Specification

CONFUSION = 8  # bytes of a count


def check(specification: Specification, samples: int | None, held: int = 0, most: int | None = None) -> None:
    """Raise SpecificationError where training on so many samples, of an unknown number one, cannot fit into memory.

    `held`: bytes of what is needed that are taken already. `most` bounds the whole process, in bytes.
    """
    batch = min(specification.train.batch_size, samples or 1)
    room, limit = (available(), "available") if most is None else (most - resident(), "left of --max-memory")
    if refused := _refused(needs(specification, batch), held, room, limit):
        how, smaller = ("", "") if samples is None else (f" in batches of {batch}", "a smaller --batch-size or ")
        advice = f"try {smaller}a smaller model (see: cnncli summary)"
        raise SpecificationError(f"training{how} {refused}: {advice}")


def check_use(path: Path, found: Network, batch: int, classes: int = 0) -> None:
    """Raise CheckpointError where the network of a checkpoint cannot run in such batches, and count so many classes."""
    layers = Counter({node: batch * size for node, size in network.activations(found.nodes, False).items()})
    layers["output"] += CONFUSION * classes**2
    if refused := _refused(layers, 0, available(), "available"):
        advice = ": try a smaller --batch-size" if batch > 1 else ""
        raise CheckpointError(f"{printable(path)}: in batches of {batch} its network {refused}{advice}")


def _refused(layers: Counter[str], held: int, room: float, limit: str) -> str | None:
    """What a message says where the bytes of layers, by path, are more than there are."""
    needed = layers.total() - held
    if needed <= room:
        return None
    path, size = layers.most_common(1)[0]
    what = f"the {path}" if path in ("input", "output") else f"layer {path}"
    left = f"{text(max(room, 0))} are {limit}"
    return f"needs {text(needed)} of memory, {left}: {what} takes most, {text(size)}"


def needs(specification: Specification, batch: int) -> Counter[str]:
    """Bytes by the path of the layer, at least: parameters, gradients, the optimiser's slots, and what the layers make
    of a batch in training and in evaluation.
    """
    nodes = network.nodes(specification)
    layers = network.weights(nodes, len(SLOTS[specification.train.optimizer.kind]))
    for training in (True, False):
        for path, size in network.activations(nodes, training).items():
            layers[path] += batch * size
    return layers
