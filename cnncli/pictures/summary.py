"""A network at a glance, from its specification alone: nothing is allocated, so one that is too large can be seen."""

import math
from dataclasses import dataclass

from cnncli import network, spec
from cnncli.kernels.optimizers import SLOTS
from cnncli.layers import Layer, Shape
from cnncli.layers.dense import Dense
from cnncli.spec import Node


@dataclass(frozen=True)
class Row:
    """A layer. `window` and `stride` are None where its outputs see one input each, or all.

    `multiply_adds` are for one sample, forward; `memory` is bytes of output and gradient for a batch, 0 where the layer
    works in memory that another has or had; `field` is how much of the network's input one output sees along each axis.
    """

    path: str
    kind: str
    output: Shape
    window: tuple[int, ...] | None
    stride: tuple[float, ...] | None
    parameters: int
    multiply_adds: int
    memory: int
    field: tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """All layers; `input_memory` and `weight_memory` (parameters, gradients, optimiser) are bytes."""

    name: str
    input: Shape
    batch_size: int
    optimizer: str
    rows: tuple[Row, ...]
    input_memory: int
    weight_memory: int

    @property
    def output(self) -> Shape:
        return self.rows[-1].output

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds for row in self.rows)

    @property
    def activation_memory(self) -> int:
        return self.input_memory + sum(row.memory for row in self.rows)


def summarize(specification: spec.Specification, batch_size: int | None = None) -> Summary:
    """What each layer makes, holds and costs while training in batches of `batch_size` (the specification's).

    Raises SpecificationError where a layer's input does not fit.
    """
    nodes = network.nodes(specification)
    batch_size = batch_size or specification.train.batch_size
    memory = network.activations(nodes, training=True)
    rows = []
    for node, field in zip(nodes, receptive_fields(nodes), strict=True):
        window, stride = _window(node.layer, node.shape)
        rows.append(
            Row(
                path=node.path,
                kind=node.layer.kind,
                output=node.output,
                window=window,
                stride=stride,
                parameters=node.learned,
                multiply_adds=node.layer.multiply_adds(node.shape),
                memory=batch_size * memory[node.path],
                field=field,
            )
        )
    optimizer = specification.train.optimizer.kind
    weights = network.weights(nodes, len(SLOTS[optimizer])).total()
    input_memory = batch_size * memory["input"]
    return Summary(specification.name, nodes[0].shape, batch_size, optimizer, tuple(rows), input_memory, weights)


def _window(layer: Layer, shape: Shape):
    if type(layer).window is Layer.window:
        return None, None
    window, stride = layer.window(shape)
    apart = (int(s) if s == int(s) else float(s) for s in stride[3 - shape.rank :])
    return window[3 - shape.rank :], tuple(apart)


def receptive_fields(nodes: list[Node]) -> list[tuple[int, ...]]:
    """How many of the network's inputs, the border included, one output of each layer sees along each axis.

    A window of k outputs of the layer before reaches (k - 1) * jump inputs further than one of them, where neighbouring
    outputs lie `jump` inputs apart (Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural
    Networks"). Behind a dense layer it is the whole input; where several paths meet, the widest counts.
    """
    image = nodes[0].shape
    known = [((1, 1, 1), (1, 1, 1))]  # field and jump of each value
    for node in nodes:
        fields, jumps = zip(*(known[value] for value in node.inputs), strict=True)
        field, jump = (tuple(map(max, zip(*of, strict=True))) for of in (fields, jumps))
        window, stride = node.layer.window(node.shape)
        field = tuple(f + (k - 1) * j for f, k, j in zip(field, window, jump, strict=True))
        if isinstance(node.layer, Dense):
            field = image.size
        known.append((field, tuple(j * s for j, s in zip(jump, stride, strict=True))))
    return [tuple(map(math.ceil, field[3 - image.rank :])) for field, _ in known[1:]]
