"""A network: the checked specification with its parameters, from which plans are made for any batch size."""

import copy
from functools import lru_cache

import numpy as np

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.layers.base import NO_BORDER
from cnncli.network.parameters import Parameters
from cnncli.network.plan import Images, Plan
from cnncli.network.schedule import Schedule
from cnncli.network.stages import stages
from cnncli.network.task import task_of


def nodes(specification: "spec.Specification") -> list[spec.Node]:
    """The layers with their shapes. Raises SpecificationError where an input does not fit, or the end not the loss."""
    found = spec.nodes(specification)
    try:
        task_of(specification, found[0].shape, found[-1].output)
    except ValueError as error:
        last = specification.layers[-1]
        raise SpecificationError(f"{last.location}: layer {last.path} ({last.kind}): {error}") from None
    return found


def schedule(of: list[spec.Node], training: bool) -> Schedule:
    """What a plan of these nodes will do, and the memory that it needs."""
    return Schedule(of, stages(of, training), training)


class Network:
    """`dtype` is float32, or float64 for gradient checks."""

    def __init__(self, specification: "spec.Specification", dtype=np.float32, seed: int = 0):
        self.specification = specification
        self.nodes = nodes(specification)
        self.input, self.output = self.nodes[0].shape, self.nodes[-1].output
        self.task = task_of(specification, self.input, self.output)
        self.arena = Arena(dtype)
        declared = {name: parameter for node in self.nodes for name, parameter in node.parameters.items()}
        self.parameters = Parameters(declared, self.arena)
        self.parameters.initialize(seed)
        self._plans: dict[tuple[int, bool], Plan] = {}
        self._schedule = lru_cache(lambda training: schedule(self.nodes, training))

    def plan(self, images: int, training: bool) -> Plan:
        """The plan for batches of `images`; made once. It shares the memory of one for more images, if there is one."""
        found = self._plans.get((images, training))
        if found is None:
            made = self._schedule(training)
            larger = [p for (n, t), p in self._plans.items() if t == training and n >= images]
            arrays = larger[0].arrays if larger else [self._take(images, slot) for slot in made.arrays]
            found = self._plans[images, training] = Plan(self, made, images, arrays)
        return found

    def before(self, node: spec.Node, images: int) -> tuple[Plan | Images, Buffer]:
        """A plan for the inference of what `node` reads; where that will lie. It has no loss, and memory of its own."""
        value, own = node.inputs[0], copy.copy(self)
        own.arena = Arena(self.arena.dtype)
        if value == 0:
            found = Images(new_buffer(own.arena, images, self.input, NO_BORDER))
            return found, found.x
        made = schedule(self.nodes[:value], training=False)
        plan = Plan(own, made, images, [own._take(images, slot) for slot in made.arrays], measures=False)
        return plan, plan.value(value)

    def _take(self, images: int, slot) -> np.ndarray:
        return self.arena.take((images, slot.elements))
