"""What a plan will do and where its values will lie: all that is known before any memory is taken.

Time runs through the stages forward, then through them backward: stage i runs at i, its backward at 2 * n - i. A slot
is the place of one value or gradient, from the time when it is first written to when it was last read. Slots of equal
layout whose times do not meet share an array, so that its zero border stays zero.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from cnncli.layers.base import NO_BORDER, Border, Shape
from cnncli.network.stages import Stage
from cnncli.spec import Node


@dataclass
class Slot:
    """A place of `shape` with a `border`. `array` numbers the array; a slot `within` another is the same memory."""

    shape: Shape
    border: Border
    owner: str  # the path of the stage that makes the value, or `input`
    within: "Slot | None" = None
    first: int | None = None
    last: int = 0
    array: int = -1

    @property
    def root(self) -> "Slot":
        slot = self
        while slot.within:
            slot = slot.within
        return slot

    @property
    def layout(self) -> tuple:
        return self.shape.size, self.shape.channels, self.border

    @property
    def elements(self) -> int:
        """Elements of one sample, the border included."""
        padded = (n + before + after for n, (before, after) in zip(self.shape.size, self.border, strict=True))
        return math.prod(padded) * self.shape.channels

    def use(self, time: int) -> "Slot":
        """It is written or read at `time`."""
        root = self.root
        root.first = time if root.first is None else min(root.first, time)
        root.last = max(root.last, time)
        return self


@dataclass(frozen=True)
class Share:
    """A share of a gradient: `adds` to what `into` holds, and with `gated` clears it where the value is not positive.

    With `through`, the layer writes there, because it cannot add, and the rest is another pass.
    """

    value: int
    into: Slot
    adds: bool
    gated: bool
    through: Slot | None


@dataclass
class Backward:
    """What a stage does backward. `clears`: first clear the gradient where its relu was 0. `parts`: the gradients that
    its layer makes, for each input, None where nobody asks. `moves`: (into, adds): the gradient of the output is copied
    or added there, before the layer's own backward.
    """

    stage: Stage
    clears: bool
    parts: list[Share | None] = field(default_factory=list)
    moves: list[tuple[Slot, bool]] = field(default_factory=list)

    @property
    def parted(self) -> tuple[int, ...]:
        """The values of whose gradients its layer makes a part."""
        return () if self.stage.passes else self.stage.node.inputs[self.stage.layer.constants :]


class Schedule:
    """`values` and `gradients` by number, `backward` in the order in which it runs; `arrays`: a slot of each array."""

    def __init__(self, nodes: list[Node], stages: list[Stage], training: bool):
        self.stages, self.training = stages, training
        self.end = 2 * len(stages)
        self.making = {stage.value: stage for stage in stages}
        self.output = stages[-1].value
        self.values = self._place_values(nodes[0].shape)
        self.gradients: dict[int, Slot] = {}
        self.backward: list[Backward] = []
        self._learned = self._find_learned()
        loss = self._gradient_slot(self.output).use(len(stages))  # the loss writes it in any case
        if training:
            self._place_gradients()
            self.values[self.output].use(self.end)
        loss.use(self.end)
        self.arrays: list[Slot] = []
        self._share()

    def _place_values(self, shape: Shape) -> dict[int, Slot]:
        borders = self._borders()
        values = {0: Slot(shape, borders[0], "input").use(0)}
        for time, stage in enumerate(self.stages):
            own = Slot(stage.output, borders[stage.value], stage.path)
            own.within = values[stage.node.inputs[0]] if stage.view else None
            values[stage.value] = own.use(time)
            for value in stage.reads:
                values[value].use(time)
        values[0].use(self.end)  # whoever fills it need not fill it again; the output stays to be looked at
        values[self.output].use(self.end)
        return values

    def _borders(self) -> dict[int, Border]:
        """The widest border that a value's readers expect: a view has its input's."""
        borders = {0: NO_BORDER} | {stage.value: NO_BORDER for stage in self.stages}
        for stage in reversed(self.stages):
            wanted = borders[stage.value] if stage.view else stage.layer.border(stage.shape)
            for value in stage.node.inputs:
                borders[value] = _wider(borders[value], wanted)
        for stage in self.stages:
            if stage.view:
                before = borders[stage.node.inputs[0]]
                flat = stage.output.rank != stage.shape.rank
                if flat and before != NO_BORDER:  # what has a border cannot be read as flat: then it is copied
                    stage.view = False
                else:
                    borders[stage.value] = before
        return borders

    def _find_learned(self) -> set[int]:
        """The values whose gradient somebody asks for: behind them, or in what makes them, something is learned."""
        return {stage.value for stage in self.stages if stage.learned or stage.learns}

    def _gradient_slot(self, value: int) -> Slot:
        """A place for a gradient, with the border that the backward of what makes the value expects."""
        stage = self.making[value]
        border = NO_BORDER if stage.passes or stage.pooled else stage.layer.gradient_border(stage.shape)
        self.gradients[value] = Slot(stage.output, border, stage.path)
        return self.gradients[value]

    def _place_gradients(self) -> None:
        left = Counter(v for stage in self.stages if stage.value in self._learned for v in stage.reads)
        readers, gated = left.copy(), set()
        for i, stage in reversed(list(enumerate(self.stages))):
            if stage.value not in self._learned:
                continue
            time, own = self.end - i, self.gradients[stage.value]
            # what pools clears it by itself, and touches a quarter of the elements
            step = Backward(stage, stage.relu and stage.value not in gated and not stage.pooled)
            self.values[stage.value].use(time)
            own.use(time)
            if stage.added is not None:
                self._move(step, stage.added, own, time)
            for number, value in enumerate(stage.node.inputs):
                self.values[value].use(time)
                if number < stage.layer.constants:
                    step.parts.append(None)
                elif stage.passes:
                    self._move(step, value, own, time)
                else:
                    gates = self._gated(value, readers) if left[value] == 1 and stage.layer.gate else None
                    step.parts.append(self._part(step, value, gates is not None, time))
                    gated |= {gates} if step.parts[-1] and step.parts[-1].gated else set()
            left.subtract(stage.reads)
            self.backward.append(step)

    def _move(self, step: Backward, value: int, own: Slot, time: int) -> None:
        """The gradient of the output is also that of `value`: the same memory if it comes first, else another pass.

        Whoever reads it as the output's has run before anybody adds to it: the stage's own backward comes first.
        """
        if value not in self._learned:
            return
        first = value not in self.gradients
        if first:
            slot = self._gradient_slot(value)
            same = slot.layout == own.layout or (slot.border == own.border == NO_BORDER)
            same = same and step.stage.reads.count(value) == 1
            taken = any(other.within is own for other in self.gradients.values())
            # a layer that also makes a part of it must not write over what it reads
            if same and not taken and value not in step.parted:
                slot.within = own
                slot.use(time)
                return
        step.moves.append((self.gradients[value].use(time), not first))

    def _gated(self, value: int, readers: Counter) -> int | None:
        """The value whose relu clears the gradient of `value`: its own, or that of what it is a view of."""
        stage = self.making.get(value)
        while stage and stage.view and readers[stage.node.inputs[0]] == 1:
            value = stage.node.inputs[0]
            stage = self.making.get(value)
        return value if stage and stage.relu and not stage.pooled else None

    def _part(self, step: Backward, value: int, gates: bool, time: int) -> Share | None:
        if value not in self._learned:
            return None
        adds = value in self.gradients
        into = (self.gradients[value] if adds else self._gradient_slot(value)).use(time)
        if adds and not step.stage.layer.accumulate:
            return Share(value, into, adds, False, Slot(into.shape, into.border, into.owner).use(time))
        return Share(value, into, adds, gates, None)

    def _share(self) -> None:
        """Give each slot an array: one that is free at its time and of its layout, else a new one."""
        through = [part.through for step in self.backward for part in step.parts if part and part.through]
        own = [s for s in (*self.values.values(), *self.gradients.values(), *through) if s.within is None]
        free: dict[tuple, list[tuple[int, int]]] = {}  # layout -> (last time of use, array)
        for slot in sorted(own, key=lambda slot: slot.first):
            known = free.setdefault(slot.layout, [])
            usable = [entry for entry in known if entry[0] < slot.first]
            if usable:
                latest = max(usable)  # most likely still in a cache
                known.remove(latest)
                slot.array = latest[1]
            else:
                slot.array = len(self.arrays)
                self.arrays.append(slot)
            known.append((slot.last, slot.array))


def _wider(a: Border, b: Border) -> Border:
    return tuple((max(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True))
