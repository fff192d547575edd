"""How fast a network trains and runs on this machine: synthetic data, already in memory, so that no reader is timed."""

import resource
import sys
import time
from collections.abc import Callable, Iterable

import numpy as np

from cnncli import kernels
from cnncli.network import Network
from cnncli.training.optimizers import Optimizer


def best_ms(call: Callable[[], None], budget_s: float) -> float:
    """The best milliseconds of `call` over repeats of at least 50 ms that together take about `budget_s` seconds.

    The best, because what a shared machine adds is only ever added; the repeats, because one call is too short to time.
    """
    for _ in range(3):
        call()
    start = time.perf_counter()
    call()
    inner = max(1, int(0.05 / (time.perf_counter() - start)))
    best, until = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < until:
        start = time.perf_counter()
        for _ in range(inner):
            call()
        best = min(best, (time.perf_counter() - start) / inner)
    return best * 1e3


def measure(specification, batch: int, threads: Iterable[int | None], seconds: float, by_layer: bool) -> list[dict]:
    """One result for each number of threads (None: as many as are set): what `benchmark --json` prints.

    A training step is forward, backward and the optimiser's update; inference is forward alone. `first_step_seconds` is
    until the first of each is done: planning, and compiling or loading the kernels, included. Half of `seconds` goes
    to the step, a quarter to inference.
    """
    network, started = Network(specification), time.perf_counter()
    train, infer = network.plan(batch, training=True), network.plan(batch, training=False)
    generator = np.random.default_rng(0)
    for plan in (train, infer):
        plan.x.interior[...] = generator.normal(size=plan.x.interior.shape)
    train.labels[:] = generator.integers(network.output.channels, size=batch)
    optimizer = Optimizer(specification.train.optimizer, network.parameters, network.arena)

    def step():
        train.forward()
        train.backward()
        optimizer.update(1e-3)  # small: the benchmark must not diverge

    step()
    infer.infer()
    first = time.perf_counter() - started
    results = []
    for count in threads:
        if count is not None:
            kernels.set_threads(count)
        train_ms, infer_ms = best_ms(step, seconds / 2), best_ms(infer.infer, seconds / 4)
        results.append(
            {
                "net": specification.name,
                "batch": batch,
                "threads": kernels.threads(),
                "train_ms": round(train_ms, 3),
                "train_images_s": round(batch / train_ms * 1e3, 1),
                "infer_ms": round(infer_ms, 3),
                "infer_images_s": round(batch / infer_ms * 1e3, 1),
                "compile_seconds": round(kernels.compile_seconds(), 3),
                "first_step_seconds": round(first, 3),
                "peak_rss_mib": _peak_mib(),
                "layers": _layers(network, train, seconds / 40) if by_layer else None,
            }
        )
    return results


def _layers(network, plan, budget_s: float) -> list[dict]:
    """Milliseconds of each layer's forward and backward, a fused relu with the layer before it."""
    rows = {stage.path: {"layer": stage.path, "forward_ms": 0.0, "backward_ms": 0.0} for stage in plan.stages}
    for key, calls in (("forward_ms", plan.forward_calls), ("backward_ms", plan.backward_calls)):
        for step in calls:
            rows[step.path][key] += round(best_ms(step.call, budget_s), 4)
    for stage in plan.stages:
        rows[stage.path]["multiply_adds"] = stage.layer.multiply_adds(stage.shape)
    return [row for row in rows.values() if row["forward_ms"] or row["backward_ms"]]


def _peak_mib() -> int:
    """The most memory that this process had resident, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
