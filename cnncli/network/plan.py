"""A plan: a network's buffers for one batch size, and the calls of a step, bound to them. A step allocates nothing."""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cnncli.kernels import elementwise
from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.layers.base import DATA, Binding, Call
from cnncli.layers.losses import bind_loss, bind_ranks
from cnncli.network.nodes import Stage, slots, stages


class Step(NamedTuple):
    """One call of a plan: the layer that makes it, and what it makes, such as "forward" or "weight gradient"."""

    path: str
    part: str
    call: Call


@dataclass
class Memory:
    """The buffers between stages, from the input's to the output's, and the gradients'; None where nobody needs one."""

    values: list[Buffer]
    gradients: list[Buffer | None]


class Plan:
    """What to fill: `x`, the input's buffer, with `labels` and `samples`; what comes of it: `output` (N, classes).

    After `forward`, `losses` (N,) holds each sample's loss and `ranks` (N,) how many classes scored above the label.
    `forward_calls` and `backward_calls` are what runs, in order.
    """

    def __init__(self, network, images: int, training: bool, memory: Memory | None):
        self.images, self.training = images, training
        self.stages = stages(network.nodes, training)
        self.memory = memory = memory or allocate(network.arena, images, self.stages, training)
        values = [buffer.head(images) for buffer in memory.values]
        gradients = [buffer and buffer.head(images) for buffer in memory.gradients]
        self.x, self.output, self.doutput = values[0], values[-1].array, gradients[-1].array
        self.x_rows = self.x.row_starts
        self.labels, self.samples = np.zeros(images, np.int64), np.zeros(images, np.int64)
        self.losses, self.ranks = np.zeros(images), np.zeros(images, np.int64)
        self.keys = np.zeros((len(self.stages), 1), np.uint64)
        self._layers = np.array([zlib.crc32(stage.path.encode()) for stage in self.stages], np.uint64)
        train, specification = network.specification.train, network.specification
        smoothing = train.label_smoothing if training else 0.0
        self._loss = bind_loss(specification.loss, self.losses, self.doutput, self.output, self.labels, smoothing)
        self._ranks = bind_ranks(self.ranks, self.output, self.labels)
        self.forward_calls, self.backward_calls = self._bind(network, values, gradients)

    def _bind(self, network, values, gradients):
        forward, backward, relu_before = [], [], False
        for i, stage in enumerate(self.stages):
            if stage.view:
                if gradients[i] and self.training and not np.shares_memory(gradients[i].array, gradients[i + 1].array):
                    backward.append(Step(stage.path, DATA, _copy(gradients[i], gradients[i + 1])))
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
            forward.append(Step(stage.path, "forward", ahead))
            if back:
                if relu_before and not gated and gradients[i] is not None:
                    backward.append(Step(stage.path, DATA, _relu_gradient(gradients[i], values[i])))
                backward += [Step(stage.path, part, call) for part, call in reversed(back)]
            relu_before = stage.relu
        if relu_before and self.training:  # a relu that is the network's last layer
            backward.append(Step(self.stages[-1].path, DATA, _relu_gradient(gradients[-1], values[-1])))
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
        for step in self.forward_calls:
            step.call()

    def backward(self) -> None:
        """The gradients of the mean loss, into the network's parameters' gradients. After `forward`."""
        for step in self.backward_calls:
            step.call()


def allocate(arena: Arena, images: int, planned: list[Stage], training: bool) -> Memory:
    """The buffers of all slots."""

    def buffers(of):
        found: list[Buffer | None] = []
        for slot in of:
            if slot is None or slot.own:
                found.append(slot and new_buffer(arena, images, slot.shape, slot.border))
            else:
                found.append(Buffer(found[-1].array, slot.shape.size, slot.shape.channels, slot.border))
        return found

    values, gradients = slots(planned, training)
    return Memory(buffers(values), buffers(gradients))


def _copy(gradient: Buffer, flat: Buffer):
    """The call that fills a gradient with a border from the flat one that the next layer wrote."""
    length = gradient.size[2] * gradient.channels
    rows = np.stack([gradient.row_starts, np.arange(len(gradient.row_starts)) * length])
    return lambda: elementwise.copy_rows(gradient.array, flat.array, rows, length)


def _relu_gradient(gradient: Buffer, value: Buffer):
    """The call that clears a gradient in place where the fused relu's output is not positive."""
    rows = np.stack([gradient.row_starts, gradient.row_starts, value.row_starts])
    d, v, length = gradient.array, value.array, value.size[2] * value.channels
    return lambda: elementwise.activate_gradient(d, d, v, rows, length, elementwise.RELU, 0.0)
