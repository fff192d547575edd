"""A network: the checked specification with its parameters, from which plans are made for any batch size."""

from dataclasses import dataclass

import numpy as np

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.kernels.buffer import Arena
from cnncli.layers.base import Layer, Shape
from cnncli.network.parameters import Parameters
from cnncli.network.plan import Plan


@dataclass(frozen=True)
class Node:
    """A layer at its place: its path in the specification and the shapes before and after it."""

    path: str
    layer: Layer
    shape: Shape
    output: Shape


class Network:
    """`dtype` is float32, or float64 for gradient checks."""

    def __init__(self, specification: "spec.Specification", dtype=np.float32, seed: int = 0):
        self.specification = specification
        shapes = spec.shapes(specification)
        self.nodes = [
            Node(entry.path, entry.layer, before, after)
            for entry, before, after in zip(specification.layers, shapes[:-1], shapes[1:], strict=True)
        ]
        self.input, self.output = shapes[0], shapes[-1]
        if self.output.rank:
            last = specification.layers[-1]
            message = f"layer {last.path} ({last.kind}): the network must end in a flat output, one number a class"
            raise SpecificationError(f"{last.location}: {message}, not {self.output}: add `flatten` and `dense`")
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
        """The plan for batches of `images`; made once. Plans of one kind share the memory of the largest."""
        found = self._plans.get((images, training))
        if found is None:
            larger = [p for (n, t), p in self._plans.items() if t == training and n >= images]
            found = Plan(self, images, training, larger[0].memory if larger else None)
            self._plans[images, training] = found
        return found
