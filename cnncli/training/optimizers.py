"""Optimisers: the rules of `kernels.optimizers` with their slots, flat arrays laid out as the parameters are."""

import numpy as np

from cnncli.kernels import optimizers as kernels
from cnncli.kernels.program import Program


class Optimizer:
    """`options` is the specification's train.optimizer. `steps` counts the updates made so far."""

    def __init__(self, options, parameters, arena):
        self.options, self.parameters, self.steps = options, parameters, 0
        self.slots = {name: arena.take(parameters.values.shape) for name in kernels.SLOTS[options.kind]}
        self._rates = np.zeros(3)
        self._finite = arena.take((kernels.tasks(parameters.values.size),))
        self._update = Program([self._step()])

    def _step(self):
        o, p = self.options, self.parameters
        arrays, decayed = (p.values, p.gradients, *self.slots.values(), self._finite, self._rates), p.decayed
        count = kernels.tasks(p.values.size)
        if o.kind == "sgd":
            return kernels.sgd.step(count, *arrays, o.momentum, o.nesterov, o.weight_decay, o.decoupled, decayed)
        if o.kind == "rmsprop":
            return kernels.rmsprop.step(count, *arrays, o.alpha, o.momentum, o.eps, o.weight_decay, decayed)
        return kernels.adam.step(count, *arrays, *o.betas, o.eps, o.weight_decay, o.kind == "adamw", decayed)

    def update(self, lr: float) -> bool:
        """Move every parameter by its gradient. Returns whether all gradients are finite."""
        self.steps += 1
        self._rates[0] = lr
        if self.options.kind in ("adam", "adamw"):
            self._rates[1:] = kernels.corrections(self.options.betas, self.steps)
        self._update()
        self.parameters.changed()
        return not self._finite.any()  # NaN is true

    def load(self, tensors: dict[str, np.ndarray], steps: int) -> None:
        """Go on after `steps` updates from the slots of a checkpoint, SLOT/PATH.weight."""
        self.steps = steps
        for slot, flat in self.slots.items():
            self.parameters.load({name: tensors[f"{slot}/{name}"] for name in self.parameters.declared}, flat)
