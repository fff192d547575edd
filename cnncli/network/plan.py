"""A plan: a network's buffers for one batch size, and the programs of a step on them. A step allocates nothing."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cnncli.kernels import elementwise
from cnncli.kernels.buffer import Buffer
from cnncli.kernels.program import Program, Step
from cnncli.layers.base import DATA, Binding
from cnncli.layers.losses import bind_loss, bind_ranks
from cnncli.network.schedule import Backward, Schedule, Slot
from cnncli.network.stages import Stage


class Part(NamedTuple):
    """A part of a plan: the layer whose it is, what it makes, such as "forward" or "weight gradient", and its steps."""

    path: str
    part: str
    steps: list[Step]

    def program(self) -> Program:
        """The part alone, ready to run."""
        return Program(self.steps)


class Plan:
    """What to fill: `x`, the input's buffer, with `labels` and `samples`; what comes of it: `output` (N, classes).

    After `forward`, `losses` (N,) holds each sample's loss and `ranks` (N,) how many classes scored above the label.
    `forward_parts` and `backward_parts` are what runs, in order. `arrays` is the memory, which plans of fewer images
    share.
    """

    def __init__(self, network, schedule: Schedule, images: int, arrays: list[np.ndarray]):
        self.images, self.training, self.arrays = images, schedule.training, arrays
        self.stages, self._parameters, self._arena = schedule.stages, network.parameters, network.arena
        self._values = {value: self._buffer(slot) for value, slot in schedule.values.items()}
        self._gradients = {value: self._buffer(slot) for value, slot in schedule.gradients.items()}
        self.x, self.output = self._values[0], self._values[schedule.output].array
        self.doutput, self.x_rows = self._gradients[schedule.output].array, self.x.row_starts
        self.labels, self.samples = np.zeros(images, np.int64), np.zeros(images, np.int64)
        self.losses, self.ranks = np.zeros(images), np.zeros(images, np.int64)
        self.keys = np.zeros((len(self.stages), 1), np.uint64)
        self._layers = np.array([zlib.crc32(stage.path.encode()) for stage in self.stages], np.uint64)
        specification = network.specification
        smoothing = specification.train.label_smoothing if self.training else 0.0
        loss = bind_loss(specification.loss, self.losses, self.doutput, self.output, self.labels, smoothing)
        ranks = bind_ranks(self.ranks, self.output, self.labels)
        self._folds: list[Callable[[], None]] = []
        prepared: list[Step] = []
        self._version = -1
        self.forward_parts: list[Part] = []
        self.backward_parts: list[Part] = []
        self._bind(schedule, prepared)
        ahead, back = ([s for part in of for s in part.steps] for of in (self.forward_parts, self.backward_parts))
        self._infer, self._measure, self._backward = Program(ahead), Program([loss, ranks]), Program(back)
        self._prepare = Program(prepared)

    def _buffer(self, slot: Slot) -> Buffer:
        array = self.arrays[slot.root.array][: self.images]
        return Buffer(array, slot.shape.size, slot.shape.channels, slot.border)

    def _bind(self, schedule: Schedule, prepared: list[Step]) -> None:
        backward_of = {step.stage.value: step for step in schedule.backward}
        for i, stage in reversed(list(enumerate(self.stages))):  # backward's order; forward's is turned at the end
            step = backward_of.get(stage.value)
            if step and step.clears:
                own = self._gradients[stage.value], self._values[stage.value]
                self.backward_parts.append(Part(stage.path, DATA, _relu_gradient(*own)))
            for slot, adds in step.moves if step else ():
                steps = _move(self._buffer(slot), self._gradients[stage.value], adds)
                self.backward_parts.append(Part(stage.path, DATA, steps))
            if stage.view:
                continue
            ahead, back = stage.layer.bind(self._binding(i, stage, step, prepared))
            self.forward_parts.append(Part(stage.path, "forward", ahead))
            self.backward_parts += [Part(stage.path, what, steps) for what, steps in back]
            for part in step.parts if step else ():
                if part and part.through:
                    steps = _move(self._buffer(part.into), self._buffer(part.through), True)
                    self.backward_parts.append(Part(stage.path, DATA, steps))
        self.forward_parts.reverse()

    def _binding(self, i: int, stage: Stage, step: Backward | None, prepared: list[Step]) -> Binding:
        names = stage.layer.parameters(stage.shape)
        first, *others = (self._values[value] for value in stage.node.inputs)
        part = step.parts[0] if step and step.parts else None
        parameters = {name: self._parameters.value(f"{stage.path}.{name}") for name in names}
        return Binding(
            shape=stage.shape,
            x=first,
            y=self._values[stage.value],
            dx=part and self._buffer(part.through or part.into),
            dy=self._gradients[stage.value] if step else None,
            parameters=self._fold(stage, parameters) if stage.folded else parameters,
            gradients={
                name: self._parameters.gradient(f"{stage.path}.{name}") for name, p in names.items() if p.learned
            },
            arena=self._arena,
            samples=self.samples,
            key=self.keys[i],
            others=tuple(others),
            added=None if stage.added is None else self._values[stage.added],
            pooled=stage.pooled is not None,
            relu=stage.relu,
            adds=part is not None and part.adds and not part.through,
            gated=part is not None and part.gated,
            prepared=None if self.training else prepared,
        )

    def _fold(self, stage: Stage, of: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights and biases that do what the layer and the batch_norm behind it do, made anew after each change."""
        norm, declared = stage.folded, stage.layer.parameters(stage.shape)["weight"]
        names = norm.layer.parameters(norm.shape)
        values = {name: self._parameters.value(f"{norm.path}.{name}") for name in names}
        channels, given = norm.output.channels, of.get("bias", np.zeros(norm.output.channels))
        weight, bias = self._arena.take(of["weight"].shape), self._arena.take(given.shape)

        def fold():
            scale, shift = norm.layer.fold(values)
            of_output = scale.reshape(-1, *(1 for _ in declared.file_shape[1:]))
            by_element = declared.from_file(np.broadcast_to(of_output, declared.file_shape)).reshape(-1)
            np.multiply(of["weight"], by_element, out=weight, casting="same_kind")
            # a bias a channel, or one a place of each
            bias.reshape(-1, channels)[:] = shift + given.reshape(-1, channels) * scale

        self._folds.append(fold)
        return {"weight": weight, "bias": bias}

    def draw(self, key: int) -> None:
        """Set the random numbers of this step: `key` stands for the seed and the epoch."""
        np.multiply(self._layers, np.uint64(0x9E3779B97F4A7C15), out=self.keys[:, 0])
        self.keys ^= np.uint64(key)

    def forward(self) -> None:
        """From x to output, losses and ranks."""
        self.infer()
        self._measure()
        if self.training:
            self._parameters.changed()  # running averages

    def infer(self) -> None:
        """From x to output."""
        if not self.training and self._version != self._parameters.version:
            for fold in self._folds:
                fold()
            self._prepare()
            self._version = self._parameters.version
        self._infer()

    def backward(self) -> None:
        """The gradients of the mean loss, into the network's parameters' gradients. After `forward`."""
        self._backward()


def _move(into: Buffer, of: Buffer, adds: bool) -> list[Step]:
    """The step that copies a gradient, or adds it to another. They may differ in their borders, and one may be flat."""
    shaped = into if into.size != (1, 1, 1) else of
    length, many = shaped.size[2] * shaped.channels, shaped.size[0] * shaped.size[1]
    to, source = (
        buffer.row_starts if buffer.size == shaped.size else np.arange(many) * length for buffer in (into, of)
    )
    if adds:
        rows = np.stack([to, to, source])
        return [elementwise.add.step(len(of.array), into.array, into.array, of.array, rows, length, False)]
    rows = np.stack([to, source])
    return [elementwise.copy_rows.step(len(of.array), into.array, of.array, rows, length)]


def _relu_gradient(gradient: Buffer, value: Buffer) -> list[Step]:
    """The step that clears a gradient in place where the fused relu's output is not positive."""
    rows = np.stack([gradient.row_starts, gradient.row_starts, value.row_starts])
    d, v, length = gradient.array, value.array, value.size[2] * value.channels
    return [elementwise.activate_gradient.step(len(d), d, d, v, rows, length, elementwise.RELU, 0.0)]
