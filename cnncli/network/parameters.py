"""All parameters of a network as views of one flat array, their gradients of another."""

import numpy as np

from cnncli.kernels.buffer import Arena
from cnncli.layers.base import Parameter
from cnncli.layers.initializers import initial

ALIGNED = 16  # elements: each parameter begins on a cache line


class Parameters:
    """`values` and `gradients` are flat; those that weight decay applies to come first, `decayed` elements of them.

    `declared` maps a tensor's name, PATH.weight, to its declaration. What is not learned, such as running averages, is
    in `counted`, and in a flat array of its own, `state`. The gaps that align the parameters stay 0. `version` grows
    with every change that `changed` tells of: what is made from parameters is made again.
    """

    def __init__(self, declared: dict[str, Parameter], arena: Arena):
        self.declared = {name: parameter for name, parameter in declared.items() if parameter.learned}
        self.counted = {name: parameter for name, parameter in declared.items() if not parameter.learned}
        order = sorted(self.declared, key=lambda name: not declared[name].decays)
        self._span, end = _spans(order, declared)
        self.decayed = _spans([name for name in order if declared[name].decays], declared)[1]
        self.values, self.gradients = arena.take((end,)), arena.take((end,))
        spans, end = _spans(list(self.counted), declared)
        self._span |= spans
        self.state, self.version = arena.take((end,)), 0
        self._arena, self._spare = arena, {}

    @property
    def count(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.count for parameter in self.declared.values())

    def changed(self) -> None:
        """To be called when a value was changed."""
        self.version += 1

    def value(self, name: str) -> np.ndarray:
        """A parameter, flat, in the kernels' layout: a view."""
        return (self.state if name in self.counted else self.values)[self._span[name]]

    def gradient(self, name: str) -> np.ndarray:
        """The gradient of a learned parameter, flat, in the kernels' layout: a view."""
        return self.gradients[self._span[name]]

    def spare(self, name: str) -> np.ndarray:
        """An array like a parameter's gradient, for what is to be added to it."""
        if name not in self._spare:
            self._spare[name] = self._arena.take((self.declared[name].size,))
        return self._spare[name]

    def initialize(self, seed: int) -> None:
        """Draw every parameter's first value."""
        for name, parameter in (self.declared | self.counted).items():
            of = initial(parameter, seed, name, self.values.dtype)
            self.value(name)[:] = parameter.from_file(of).reshape(-1)
        self.changed()

    def load(self, tensors: dict[str, np.ndarray], into: np.ndarray | None = None) -> None:
        """Take values in the files' order and shapes; `into` is another flat array, such as an optimiser's."""
        for name, parameter in (self.declared if into is not None else self.declared | self.counted).items():
            to = self.value(name) if into is None else into[self._span[name]]
            to[:] = parameter.from_file(tensors[name]).reshape(-1)
        self.changed()

    def tensor(self, name: str, of: np.ndarray | None = None) -> np.ndarray:
        """A parameter, or its span of another flat array, in the files' order and shape; it may be a view."""
        parameter = self.declared.get(name) or self.counted[name]
        flat = self.value(name) if of is None else of[self._span[name]]
        return np.ascontiguousarray(parameter.to_file(flat.reshape(parameter.shape)))


def _spans(names: list[str], declared: dict[str, Parameter]) -> tuple[dict[str, slice], int]:
    """Where each parameter lies in a flat array, and the array's size."""
    spans, end = {}, 0
    for name in names:
        spans[name] = slice(end, end + declared[name].size)
        end = -(-(end + declared[name].size) // ALIGNED) * ALIGNED
    return spans, end
