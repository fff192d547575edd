"""Whether a run fits into memory, before it takes any: the system grants more than it has, and ends who uses it."""

from collections import Counter

from cnncli import network
from cnncli.errors import SpecificationError
from cnncli.kernels.optimizers import SLOTS
from cnncli.memory import available, resident, text
from cnncli.spec import Specification


def check(specification: Specification, samples: int | None, held: int = 0, most: int | None = None) -> None:
    """Raise SpecificationError where training on so many samples, of an unknown number one, cannot fit into memory.

    `held`: bytes of what is needed that are taken already. `most` bounds the whole process, in bytes.
    """
    batch = min(specification.train.batch_size, samples or 1)
    layers = needs(specification, batch)
    needed, room = layers.total() - held, available() if most is None else most - resident()
    if needed > room:
        path, size = layers.most_common(1)[0]
        what = "the input" if path == "input" else f"layer {path}"
        limit = f"{text(max(room, 0))} are " + ("available" if most is None else "left of --max-memory")
        batches, smaller = ("", "") if samples is None else (f" in batches of {batch}", "a smaller --batch-size or ")
        raise SpecificationError(
            f"training{batches} needs {text(needed)} of memory, {limit}: {what} takes most, {text(size)}: "
            f"try {smaller}a smaller model (see: cnncli summary)"
        )


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
