"""What runs as one: layers with those after them that join their store."""

from collections import Counter
from dataclasses import dataclass

from cnncli.layers.activation import Relu
from cnncli.layers.base import Layer, Shape
from cnncli.layers.batch_norm import BatchNorm
from cnncli.layers.residual import Residual
from cnncli.spec import Node


@dataclass
class Stage:
    """A node, and what it does for those behind it.

    `value` is the number of the value that it makes, that of the last node which joined it. `added`: the number of a
    value that it adds to its output, for a residual; `relu`: then a relu; `folded`: its weights take over this
    batch_norm. `view`: nothing runs, the output is the input's memory.
    """

    node: Node
    value: int
    view: bool
    added: int | None = None
    relu: bool = False
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
        return self.node.output

    @property
    def passes(self) -> bool:
        """Whether the gradient of each input is the output's own."""
        return self.view or self.layer.passes

    @property
    def reads(self) -> tuple[int, ...]:
        """The numbers of all values that it reads."""
        return self.node.inputs if self.added is None else (*self.node.inputs, self.added)

    def takes(self, node: Node, training: bool) -> bool:
        """Let `node`, the only reader of this stage's value, join it, if it can."""
        layer = node.layer
        if isinstance(layer, Relu) and self.layer.fuse_relu and not self.relu:
            self.relu = True
        elif isinstance(layer, Residual) and self.layer.fuse_add and not self.relu and self.added is None:
            self.added = node.inputs[0]
        elif isinstance(layer, BatchNorm) and not training and self.layer.scalable and self.alone:
            self.folded = node
        else:
            return False
        return True

    @property
    def alone(self) -> bool:
        """Whether nothing has joined it."""
        return not self.relu and self.added is None and self.folded is None


def stages(nodes: list[Node], training: bool) -> list[Stage]:
    """The nodes with all that can be joined drawn into the stage before it: relu, residual sums, batch norm."""
    readers = Counter(value for node in nodes for value in node.inputs)
    found: list[Stage] = []
    making: dict[int, Stage] = {}  # by the number of the value
    for value, node in enumerate(nodes, 1):
        before = making.get(node.inputs[-1])  # a residual joins what its main layers end in
        if before is None or readers[node.inputs[-1]] > 1 or not before.takes(node, training):
            before = Stage(node, value, node.layer.view(training))
            found.append(before)
        before.value = value
        making[value] = before
    return found
