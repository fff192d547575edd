"""A network: the checked specification with its parameters, from which plans are made for any batch size."""

from functools import lru_cache

import numpy as np

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.kernels.buffer import Arena
from cnncli.network.parameters import Parameters
from cnncli.network.plan import Plan
from cnncli.network.schedule import Schedule
from cnncli.network.stages import stages


def nodes(specification: "spec.Specification") -> list[spec.Node]:
    """The layers with their shapes. Raises SpecificationError where an input does not fit, or the end is not flat."""
    found = spec.nodes(specification)
    if found[-1].output.rank:
        last = specification.layers[-1]
        message = f"layer {last.path} ({last.kind}): the network must end in a flat output, one number a class"
        raise SpecificationError(f"{last.location}: {message}, not {found[-1].output}: add `flatten` and `dense`")
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

    def _take(self, images: int, slot) -> np.ndarray:
        return self.arena.take((images, slot.elements))
