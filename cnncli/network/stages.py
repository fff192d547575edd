"""What runs as one: layers with those after them that join their store."""

from collections import Counter
from dataclasses import dataclass

from cnncli.layers.activation import Relu
from cnncli.layers.base import Layer, Shape
from cnncli.layers.batch_norm import BatchNorm
from cnncli.layers.pool import MaxPool
from cnncli.spec import Node


@dataclass
class Stage:
    """A node, and what it does for those behind it.

    `value` is the number of the value that it makes, that of the last node which joined it. `added`: the number of a
    value that it adds to its output, for a residual; `relu`: then a relu; `pooled`: a max_pool that it does, before or
    after the relu; `folded`: its weights take over this batch_norm. `view`: nothing runs, the output is the input's
    memory. `learned`: something before it is, so that its input's gradient is asked for.
    """

    node: Node
    value: int
    view: bool
    learned: bool
    added: int | None = None
    relu: bool = False
    pooled: Node | None = None
    folded: Node | None = None

    @property
    def path(self) -> str:
        return self.node.path

    @property
    def layer(self) -> Layer:
        return self.node.layer

    @property
    def shape(self) -> Shape:
        return self.node.shape

    @property
    def output(self) -> Shape:
        return (self.pooled or self.node).output

    @property
    def learns(self) -> bool:
        """Whether it has something to learn itself."""
        return any(parameter.learned for parameter in self.node.parameters.values())

    @property
    def passes(self) -> bool:
        """Whether the gradient of each input is the output's own."""
        return self.view or self.layer.passes

    @property
    def reads(self) -> tuple[int, ...]:
        """The numbers of all values that it reads."""
        return self.node.inputs if self.added is None else (*self.node.inputs, self.added)

    def takes(self, node: Node, training: bool, known: bool) -> bool:
        """Let `node`, the only reader of this stage's value, join it, if it can.

        `known`: whether the first value that the node reads is there before this stage runs.
        """
        layer, sums = node.layer, node.layer.passes and len(node.inputs) == 2
        if isinstance(layer, Relu) and self.layer.fuse_relu and not self.relu:
            self.relu = True
        elif sums and known and self.layer.fuse_add and self.sums:
            self.added = node.inputs[0]
        elif isinstance(layer, BatchNorm) and not training and self.layer.scalable and self.sums and not self.folded:
            self.folded = node
        elif isinstance(layer, MaxPool) and self._pools(layer.axes(node.shape)):
            self.pooled = node
        else:
            return False
        return True

    @property
    def sums(self) -> bool:
        """Whether what it makes is still a sum, to which more can be added: at most its weights were changed."""
        return not (self.relu or self.pooled) and self.added is None

    def _pools(self, window) -> bool:
        """Whether it can take the maximum of its output, with or without a relu."""
        free = not (self.learned or self.pooled) and self.added is None
        return free and self.layer.pools(self.shape, window)


def stages(nodes: list[Node], training: bool) -> list[Stage]:
    """The nodes with all that can be joined drawn into the stage before: relu, pooling, residual sums, batch norm."""
    readers = Counter(value for node in nodes for value in node.inputs)
    found: list[Stage] = []
    making: dict[int, Stage] = {}  # by the number of the value
    order: dict[int, int] = {0: -1}  # of the stage that makes a value
    learned: set[int] = set()  # values that something learned is in
    for value, node in enumerate(nodes, 1):
        before = making.get(node.inputs[-1])  # a residual joins what its main layers end in
        order[value] = order[node.inputs[-1]]
        known = order[node.inputs[0]] < order[value]
        if before is None or readers[node.inputs[-1]] > 1 or not before.takes(node, training, known):
            sloped = node.inputs[node.layer.constants :]
            before = Stage(node, value, node.layer.view(training), not learned.isdisjoint(sloped))
            order[value] = len(found)
            found.append(before)
        if before.learned or before.learns:
            learned.add(value)
        before.value = value
        making[value] = before
    return found
