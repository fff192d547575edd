"""A network: the checked specification with its parameters, from which plans are made for any batch size."""

import numpy as np

from cnncli import spec
from cnncli.kernels.buffer import Arena
from cnncli.network.nodes import nodes
from cnncli.network.parameters import Parameters
from cnncli.network.plan import Plan


class Network:
    """`dtype` is float32, or float64 for gradient checks."""

    def __init__(self, specification: "spec.Specification", dtype=np.float32, seed: int = 0):
        self.specification = specification
        self.nodes = nodes(specification)
        self.input, self.output = self.nodes[0].shape, self.nodes[-1].output
        self.arena = Arena(dtype)
        declared = {
            f"{node.path}.{name}": parameter
            for node in self.nodes
            for name, parameter in node.layer.parameters(node.shape).items()
        }
        self.parameters = Parameters(declared, self.arena)
        self.parameters.initialize(seed)
        self._plans: dict[tuple[int, bool], Plan] = {}

    def plan(self, images: int, training: bool) -> Plan:
        """The plan for batches of `images`; made once. It shares the memory of one for more images, if there is one."""
        found = self._plans.get((images, training))
        if found is None:
            larger = [p for (n, t), p in self._plans.items() if t == training and n >= images]
            found = Plan(self, images, training, larger[0].memory if larger else None)
            self._plans[images, training] = found
        return found
