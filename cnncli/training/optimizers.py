"""Optimisers: the rules of `kernels.optimizers` with their slots, flat arrays laid out as the parameters are."""

import numpy as np

from cnncli.kernels import optimizers as kernels


class Optimizer:
    """`options` is the specification's train.optimizer. `steps` counts the updates made so far."""

    def __init__(self, options, parameters, arena):
        self.options, self.parameters, self.steps = options, parameters, 0
        self.slots = {name: arena.take(parameters.values.shape) for name in kernels.SLOTS[options.kind]}

    def update(self, lr: float) -> None:
        """Move every parameter by its gradient."""
        self.parameters.changed()
        self.steps += 1
        o, p, slots = self.options, self.parameters, self.slots.values()
        arrays = (p.values, p.gradients, *slots)
        if o.kind == "sgd":
            kernels.sgd(*arrays, lr, o.momentum, o.nesterov, o.weight_decay, o.decoupled, p.decayed)
        elif o.kind == "rmsprop":
            kernels.rmsprop(*arrays, lr, o.alpha, o.momentum, o.eps, o.weight_decay, p.decayed)
        else:
            decoupled = o.kind == "adamw"
            kernels.adam(*arrays, lr, *o.betas, o.eps, self.steps, o.weight_decay, decoupled, p.decayed)

    def save(self) -> dict[str, np.ndarray]:
        """The slots as tensors in the files' order, SLOT/PATH.weight."""
        return {f"{slot}/{k}": v for slot, flat in self.slots.items() for k, v in self.parameters.save(flat).items()}

    def load(self, tensors: dict[str, np.ndarray], steps: int) -> None:
        """Go on from what `save` gave after `steps` updates."""
        self.steps = steps
        for slot, flat in self.slots.items():
            self.parameters.load({name: tensors[f"{slot}/{name}"] for name in self.parameters.declared}, flat)
