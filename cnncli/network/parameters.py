"""All parameters of a network as views of one flat array, their gradients of another."""

import numpy as np

from cnncli.kernels.buffer import Arena
from cnncli.layers.base import Parameter
from cnncli.layers.initializers import initial

ALIGNED = 16  # elements: each parameter begins on a cache line


class Parameters:
    """`values` and `gradients` are flat; those that weight decay applies to come first, `decayed` elements of them.

    `declared` maps a tensor's name, PATH.weight, to its declaration. The gaps that align the parameters stay 0.
    """

    def __init__(self, declared: dict[str, Parameter], arena: Arena):
        self.declared = declared
        order = sorted(declared, key=lambda name: not declared[name].decays)
        self._span, end, self.decayed = {}, 0, 0
        for name in order:
            size = declared[name].size
            self._span[name] = slice(end, end + size)
            end = -(-(end + size) // ALIGNED) * ALIGNED
            if declared[name].decays:
                self.decayed = end
        self.values, self.gradients = arena.take((end,)), arena.take((end,))

    @property
    def count(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.declared.values())

    def value(self, name: str) -> np.ndarray:
        """A parameter, flat, in the kernels' layout: a view."""
        return self.values[self._span[name]]

    def gradient(self, name: str) -> np.ndarray:
        """The gradient of a parameter, flat, in the kernels' layout: a view."""
        return self.gradients[self._span[name]]

    def initialize(self, seed: int) -> None:
        """Draw every parameter's first value."""
        self.load({name: initial(parameter, seed, name) for name, parameter in self.declared.items()})

    def load(self, tensors: dict[str, np.ndarray], into: np.ndarray | None = None) -> None:
        """Take values in the files' order and shapes; `into` is another flat array, such as an optimiser's."""
        flat = self.values if into is None else into
        for name, parameter in self.declared.items():
            flat[self._span[name]] = parameter.from_file(tensors[name]).reshape(-1)

    def save(self, flat: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Copies of all parameters, or of another flat array's spans, in the files' order and shapes."""
        flat = self.values if flat is None else flat
        return {
            name: np.ascontiguousarray(parameter.to_file(flat[self._span[name]].reshape(parameter.shape))).copy()
            for name, parameter in self.declared.items()
        }
