"""How much memory a network takes, from its shapes alone: nothing is allocated, and Python's integers do not wrap."""

from collections import Counter

from cnncli.network.network import schedule
from cnncli.spec import Node

FLOAT = 4  # bytes


def activations(nodes: list[Node], training: bool) -> Counter[str]:
    """Bytes that a plan holds for one sample: by path what each layer's output and, in training, its gradient take.

    `input` is the network's. The layers that are missing work in memory of others.
    """
    found: Counter[str] = Counter()
    for slot in schedule(nodes, training).arrays:
        found[slot.owner] += FLOAT * slot.elements
    return found


def weights(nodes: list[Node], slots: int) -> Counter[str]:
    """Bytes of each layer's parameters, their gradients and so many slots of an optimiser, by path."""
    found: Counter[str] = Counter()
    for node in nodes:
        if node.owner == node.path:  # a later step of a recurrent layer has those of the first
            found[node.path] = FLOAT * (2 + slots) * sum(p.size for p in node.parameters.values() if p.learned)
    return found
