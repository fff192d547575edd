"""A whole network of ours: its tasks, on synthetic data in memory, so that no reader is timed."""

import time
from contextlib import suppress

import numpy as np

from cnncli import kernels, spec
from cnncli.benchmark.peers.serving import first_training
from cnncli.errors import CnncliError
from cnncli.kernels.ahead import compile_calls
from cnncli.kernels.native import listing
from cnncli.network import Network, Plan
from cnncli.training.optimizers import Optimizer

LEARNING_RATE = 1e-3  # small: a benchmark must not diverge


def tasks(specification: "spec.Specification", images: int) -> tuple[dict, dict, Plan]:
    """A training step, inference and the inference of one image; what is known of the network; its training plan.

    The peak memory is read before inference has a plan: it is what training takes.
    """
    started = time.perf_counter()
    if not kernels.cached():
        _compile(specification, images)
    network = Network(specification)
    plan = filled(network.plan(images, training=True))
    plan.labels[:] = np.random.default_rng(0).integers(network.output.channels, size=plan.labels.size)
    optimizer = Optimizer(specification.train.optimizer, network.parameters, network.arena)

    def train():
        plan.forward()
        plan.backward()
        optimizer.update(LEARNING_RATE)

    known = first_training(train, started)
    infer, one = (filled(network.plan(count, training=False)) for count in (images, 1))
    infer.infer()
    known |= {"parameters": network.parameters.count, "compile_seconds": kernels.compile_seconds()}
    return {"train": train, "infer": infer.infer, "latency": one.infer}, known, plan


def _compile(specification, images):
    """With an empty cache, compile on every core what a training step needs, as `cnncli train` does."""
    with listing() as calls:
        network = Network(specification)
        network.plan(images, training=True)
        Optimizer(specification.train.optimizer, network.parameters, network.arena)
    with suppress(CnncliError):  # what is missing is compiled where it is used
        compile_calls(calls)


def filled(plan: Plan) -> Plan:
    """A plan with random images in its input."""
    plan.x.interior[...] = np.random.default_rng(0).standard_normal(plan.x.interior.shape, np.float32)
    return plan
