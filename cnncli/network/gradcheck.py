"""A network's gradients against central differences, in float64: in float32 the differences drown in rounding."""

from dataclasses import dataclass

import numpy as np

from cnncli.network.network import Network

EPSILON, ABSOLUTE, RELATIVE = 1e-6, 1e-5, 1e-3  # PyTorch's gradcheck
IMAGES = 2


@dataclass(frozen=True)
class Row:
    """One parameter: how many elements were checked, and the worst error as a share of what is allowed."""

    name: str
    checked: int
    worst: float

    @property
    def passed(self) -> bool:
        return self.worst <= 1


def check_gradients(specification, samples: int, seed: int = 0) -> list[Row]:
    """Compare `samples` elements of each parameter's gradient, drawn at random, on a random batch of two images.

    The error is |analytic - numeric| / (1e-5 + 1e-3 |numeric|).
    """
    network, generator = Network(specification, np.float64, seed), np.random.default_rng(seed)
    for name, parameter in network.parameters.declared.items():
        if (
            not parameter.decays
        ):  # biases of 0 put a relu behind an all-zero window on its kink, where no slope is right
            network.parameters.value(name)[:] += generator.normal(0, 0.1, parameter.size)
    plan = network.plan(IMAGES, training=True)
    plan.x.interior[...] = generator.normal(size=plan.x.interior.shape)
    plan.labels[:] = generator.integers(network.output.channels, size=plan.labels.size)
    plan.draw(seed)

    def loss() -> float:
        plan.forward()
        return plan.losses.sum() / plan.total[0]

    loss()
    plan.backward()
    rows = []
    for name, parameter in network.parameters.declared.items():
        values, gradient = network.parameters.value(name), network.parameters.gradient(name).copy()
        moving = np.arange(values.size) if parameter.connected is None else np.flatnonzero(parameter.connected())
        chosen = generator.choice(moving, min(samples, moving.size), replace=False)
        worst = 0.0
        for i in chosen:
            kept = values[i]
            values[i] = kept + EPSILON
            above = loss()
            values[i] = kept - EPSILON
            numeric = (above - loss()) / (2 * EPSILON)
            values[i] = kept
            worst = max(worst, abs(gradient[i] - numeric) / (ABSOLUTE + RELATIVE * abs(numeric)))
        rows.append(Row(name, len(chosen), float(worst)))
    return rows
