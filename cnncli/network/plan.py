"""A plan: a network's buffers for one batch size, and the calls of a step, bound to them. A step allocates nothing."""

import zlib
from dataclasses import dataclass

import numpy as np

from cnncli.kernels import elementwise
from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.layers.activation import Relu
from cnncli.layers.base import NO_BORDER, Binding, Layer, Shape
from cnncli.layers.losses import bind_loss, bind_ranks


@dataclass
class Stage:
    """One or two layers that run as one: `relu` is fused into the layer before it. `view`: nothing runs."""

    path: str
    layer: Layer
    shape: Shape
    output: Shape
    relu: bool
    view: bool


@dataclass
class Memory:
    """The buffers between stages, from the input's to the output's, and the gradients'; None where nobody needs one."""

    values: list[Buffer]
    gradients: list[Buffer | None]


def stages(nodes, training: bool) -> list[Stage]:
    """The layers of a network with every relu that can be fused drawn into the layer before it."""
    found: list[Stage] = []
    for node in nodes:
        if isinstance(node.layer, Relu) and found and found[-1].layer.fuse_relu and not found[-1].relu:
            found[-1].relu = True
        else:
            found.append(Stage(node.path, node.layer, node.shape, node.output, False, node.layer.view(training)))
    return found


class Plan:
    """`x` is the input buffer to fill, `labels`, `samples` and `key` what goes with it, `output` (N, classes) the
    result.

    After `forward`, `losses` (N,) holds each sample's loss and `ranks` (N,) how many classes scored above the label.
    `forward_calls` and `backward_calls` are what runs, in order: pairs of a stage's path and its call.
    """

    def __init__(self, network, images: int, training: bool, memory: Memory | None):
        self.images, self.training = images, training
        self.stages = stages(network.nodes, training)
        if memory is None:
            memory = self._allocate(network, network.arena)
        self.memory = memory
        values = [buffer.head(images) for buffer in memory.values]
        gradients = [buffer and buffer.head(images) for buffer in memory.gradients]
        self.x, self.output, self.doutput = values[0], values[-1].array, gradients[-1].array
        self.labels, self.samples = np.zeros(images, np.int64), np.zeros(images, np.int64)
        self.losses, self.ranks = np.zeros(images), np.zeros(images, np.int64)
        self.keys = np.zeros((len(self.stages), 1), np.uint64)
        self._layers = np.array([zlib.crc32(stage.path.encode()) for stage in self.stages], np.uint64)
        train, specification = network.specification.train, network.specification
        smoothing = train.label_smoothing if training else 0.0
        self._loss = bind_loss(specification.loss, self.losses, self.doutput, self.output, self.labels, smoothing)
        self._ranks = bind_ranks(self.ranks, self.output, self.labels)
        self.forward_calls, self.backward_calls = self._bind(network, values, gradients)

    def _allocate(self, network, arena: Arena) -> Memory:
        """A buffer for each value and, training, for its gradient, with the borders that its neighbours expect."""
        borders = [NO_BORDER]
        for stage in reversed(self.stages):  # a view has the border of what reads it
            borders.insert(0, borders[0] if stage.view else stage.layer.border(stage.shape))
        values = [new_buffer(arena, self.images, network.input, borders[0])]
        gradients: list[Buffer | None] = [None]
        learned = False
        for stage, border in zip(self.stages, borders[1:], strict=True):
            learned = learned or bool(stage.layer.parameters(stage.shape))
            last = stage is self.stages[-1]
            if stage.view:
                values.append(_viewed(values[-1], stage.output))
                gradients.append(gradients[-1] and _viewed(gradients[-1], stage.output))
                continue
            values.append(new_buffer(arena, self.images, stage.output, border))
            wanted = (learned and self.training) or last
            around = stage.layer.gradient_border(stage.shape)
            gradients.append(new_buffer(arena, self.images, stage.output, around) if wanted else None)
        if gradients[-1] is None:  # the loss writes its gradient in any case
            gradients[-1] = new_buffer(arena, self.images, network.output, NO_BORDER)
        return Memory(values, gradients)

    def _bind(self, network, values, gradients):
        forward, backward, relu_before = [], [], False
        for i, stage in enumerate(self.stages):
            if stage.view:
                continue
            names = stage.layer.parameters(stage.shape)
            gated = relu_before and stage.layer.gate
            training = self.training and gradients[i + 1] is not None
            ahead, back = stage.layer.bind(
                Binding(
                    shape=stage.shape,
                    x=values[i],
                    y=values[i + 1],
                    dx=gradients[i] if training else None,
                    dy=gradients[i + 1] if training else None,
                    parameters={name: network.parameters.value(f"{stage.path}.{name}") for name in names},
                    gradients={name: network.parameters.gradient(f"{stage.path}.{name}") for name in names},
                    arena=network.arena,
                    samples=self.samples,
                    key=self.keys[i],
                    relu=stage.relu,
                    gated=gated,
                )
            )
            forward.append((stage.path, ahead))
            if back:
                if relu_before and not gated and gradients[i] is not None:
                    backward.append((stage.path, _relu_gradient(gradients[i], values[i])))
                backward.append((stage.path, back))
            relu_before = stage.relu
        if relu_before and self.training:  # a relu that is the network's last layer
            backward.append((self.stages[-1].path, _relu_gradient(gradients[-1], values[-1])))
        return forward, backward[::-1]

    def draw(self, key: int) -> None:
        """Set the random numbers of this step: `key` stands for the seed and the epoch."""
        np.multiply(self._layers, np.uint64(0x9E3779B97F4A7C15), out=self.keys[:, 0])
        self.keys ^= np.uint64(key)

    def forward(self) -> None:
        """From x to output, losses and ranks."""
        self.infer()
        self._loss()
        self._ranks()

    def infer(self) -> None:
        """From x to output."""
        for _, call in self.forward_calls:
            call()

    def backward(self) -> None:
        """The gradients of the mean loss, into the network's parameters' gradients. After `forward`."""
        for _, call in self.backward_calls:
            call()


def _viewed(buffer: Buffer, shape: Shape) -> Buffer:
    """The same memory read as another shape."""
    if shape.size == buffer.size:
        return buffer
    if buffer.border != NO_BORDER:
        raise ValueError("a buffer with a border cannot be flattened")
    return Buffer(buffer.array, shape.size, shape.channels, NO_BORDER)


def _relu_gradient(gradient: Buffer, value: Buffer):
    """The call that clears a gradient in place where the fused relu's output is not positive."""
    rows = np.stack([gradient.row_starts, gradient.row_starts, value.row_starts])
    d, v, length = gradient.array, value.array, value.size[2] * value.channels
    return lambda: elementwise.activate_gradient(d, d, v, rows, length, elementwise.RELU, 0.0)
