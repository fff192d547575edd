"""A plan: a network's buffers for one batch size, and the programs of a step on them. A step allocates nothing."""

import math
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cnncli.kernels import elementwise, merge
from cnncli.kernels.buffer import Buffer
from cnncli.kernels.program import Program, Step
from cnncli.layers.base import BIASES, DATA, WEIGHT, Binding, Joined
from cnncli.layers.losses import bind_input, bind_labels, bind_ranks
from cnncli.network.schedule import Backward, Schedule, Share, Slot
from cnncli.network.stages import Stage
from cnncli.network.task import INPUT, PIXELS


class Part(NamedTuple):
    """A part of a plan: the layer whose it is, what it makes, such as "forward" or "weight gradient", and its steps."""

    path: str
    part: str
    steps: list[Step]

    def program(self) -> Program:
        """The part alone, ready to run."""
        return Program(self.steps)


class Images:
    """The plan of no layers: the input is what it makes."""

    def __init__(self, x: Buffer):
        self.x, self.x_rows, images = x, x.row_starts, len(x.array)
        self.labels, self.samples = np.zeros(images, np.int64), np.zeros(images, np.int64)

    def infer(self) -> None:
        """Nothing is to be done."""


class Plan:
    """What to fill: `x`, the input's buffer, with `labels` and `samples`; what comes of it: `output` (N, elements).

    `labels` (R,) are one for each sample, or one for each of its pixels, -1 where there is none; a network that
    reconstructs its input needs none. After `forward`, `losses` (R,) holds each one's loss, `total` (1,) by how much
    their sum is divided, and `ranks` (R,) how many classes scored above the label.
    `forward_parts` and `backward_parts` are what runs, in order. `arrays` is the memory, which plans of fewer images
    share.
    """

    def __init__(self, network, schedule: Schedule, images: int, arrays: list[np.ndarray], measures: bool = True):
        self.images, self.training, self.arrays, self.task = images, schedule.training, arrays, network.task
        self.stages, self._parameters, self._arena = schedule.stages, network.parameters, network.arena
        self._values = {value: self._buffer(slot) for value, slot in schedule.values.items()}
        self._gradients = {value: self._buffer(slot) for value, slot in schedule.gradients.items()}
        self.x, self.output = self._values[0], self._values[schedule.output].array
        self.doutput, self.x_rows = self._gradients[schedule.output].array, self.x.row_starts
        rows = images * (math.prod(network.output.size) if network.task == PIXELS else 1)
        self.labels, self.samples = np.zeros(rows, np.int64), np.zeros(images, np.int64)
        self.losses, self.ranks, self.total = np.zeros(rows), np.zeros(rows, np.int64), np.full(1, float(rows))
        self.keys = np.zeros((len(self.stages), 1), np.uint64)
        self._layers = np.array([zlib.crc32(stage.path.encode()) for stage in self.stages], np.uint64)
        self._folds: list[Callable[[], None]] = []
        prepared: list[Step] = []
        self._version = -1
        self.forward_parts: list[Part] = []
        self.backward_parts: list[Part] = []
        self._bind(schedule, prepared)
        ahead, back = ([s for part in of for s in part.steps] for of in (self.forward_parts, self.backward_parts))
        loss = self._bind_loss(network, self._gradients[schedule.output]) if measures else []
        self._infer, self._measure, self._backward = Program(ahead), Program(loss), Program(back)
        self._prepare = Program(prepared)

    def _bind_loss(self, network, doutput: Buffer) -> list[Step]:
        specification, loss = network.specification, network.specification.loss
        if network.task == INPUT:
            return bind_input(loss.kind, self.losses, doutput, self.output, self.x)
        smoothing = specification.train.label_smoothing if self.training else 0.0
        given = self.losses, doutput, self.output, self.labels, self.total, smoothing, loss.weights
        return [*bind_labels(loss.kind, *given), bind_ranks(self.ranks, self.output, self.labels)]

    def _buffer(self, slot: Slot) -> Buffer:
        array = self.arrays[slot.root.array][: self.images]
        return Buffer(array, slot.shape.size, slot.shape.channels, slot.border)

    def _bind(self, schedule: Schedule, prepared: list[Step]) -> None:
        backward_of = {step.stage.value: step for step in schedule.backward}
        written: set[str] = set()  # the gradients of parameters
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
            gradients, totals = self._gradients_of(stage, step, written)
            ahead, back = stage.layer.bind(self._binding(i, stage, step, gradients, prepared))
            self.forward_parts.append(Part(stage.path, "forward", ahead))
            if not stage.learns:  # what is frozen
                back = [(what, steps) for what, steps in back if what not in (WEIGHT, BIASES)]
            self.backward_parts += [Part(stage.path, what, steps) for what, steps in (*back, *totals)]
            for part in step.parts if step else ():
                if part and part.through:
                    steps = _move(self._buffer(part.into), self._buffer(part.through), True)
                    self.backward_parts.append(Part(stage.path, DATA, steps))
        self.forward_parts.reverse()

    def _gradients_of(
        self, stage: Stage, step: Backward | None, written: set[str]
    ) -> tuple[dict[str, np.ndarray], list[tuple[str, list[Step]]]]:
        """Where a stage leaves the gradients of its parameters, by name, and what is to be done then.

        The first stage that works with some parameters writes their gradients, others add to them.
        """
        arrays, totals = {}, []
        for name, parameter in stage.layer.parameters(stage.shape).items():
            tensor = stage.node.tensor(name)
            if step and tensor in self._parameters.counted and parameter.learned:  # frozen: nobody computes it
                arrays[name] = self._arena.scratch((parameter.size,))
            elif step and parameter.learned:
                total = arrays[name] = self._parameters.gradient(tensor)
                if tensor in written:
                    arrays[name] = self._parameters.spare(tensor)
                    totals.append((WEIGHT, [merge.plan_sum(total, arrays[name])]))
                written.add(tensor)
        return arrays, totals

    def _binding(self, i: int, stage: Stage, step: Backward | None, gradients, prepared: list[Step]) -> Binding:
        names = stage.layer.parameters(stage.shape)
        parts = step.parts if step and step.parts else [None] * len(stage.node.inputs)
        joined = tuple(self._joined(value, part) for value, part in zip(stage.node.inputs, parts, strict=True))
        parameters = {name: self._parameters.value(stage.node.tensor(name)) for name in names}
        return Binding(
            shape=stage.shape,
            x=joined[0].x,
            y=self._values[stage.value],
            dx=joined[0].dx,
            dy=self._gradients[stage.value] if step else None,
            parameters=self._fold(stage, parameters) if stage.folded else parameters,
            gradients=gradients,
            arena=self._arena,
            samples=self.samples,
            key=self.keys[i],
            joined=joined,
            added=None if stage.added is None else self._values[stage.added],
            pooled=stage.pooled is not None,
            relu=stage.relu,
            adds=joined[0].adds,
            gated=joined[0].gated,
            prepared=None if self.training else prepared,
        )

    def _joined(self, value: int, part: Share | None) -> Joined:
        """An input of a layer, and the share of its gradient that the layer makes."""
        if part is None:
            return Joined(self._values[value], None, False, False)
        dx, adds = self._buffer(part.through or part.into), part.adds and not part.through
        return Joined(self._values[value], dx, adds, part.gated)

    def _fold(self, stage: Stage, of: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights and biases that do what the layer and the batch_norm behind it do, made anew after each change."""
        norm, declared = stage.folded, stage.layer.parameters(stage.shape)["weight"]
        names = norm.layer.parameters(norm.shape)
        values = {name: self._parameters.value(norm.tensor(name)) for name in names}
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

    def value(self, number: int) -> Buffer:
        """Where a value lies, as `Node` numbers them; only the input and the output last."""
        return self._values[number]

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

    def first_not_finite(self) -> str | None:
        """The path of the first layer whose output holds NaN or infinity, after `forward`, which is done again."""
        programs: dict[str, list[Program]] = {}
        for part in self.forward_parts:
            programs.setdefault(part.path, []).append(part.program())
        for stage in self.stages:
            for program in programs.get(stage.path, []):
                program()
            if not np.isfinite(self._values[stage.value].interior).all():
                return stage.path
        return None

    def backward(self) -> None:
        """The gradients of the losses' sum over `total`, into the network's parameters' gradients. After `forward`."""
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
