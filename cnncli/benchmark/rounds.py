"""Turns: each task is run by one contestant after the other, round after round, and compared within the round.

What slows a shared machine lasts longer than a turn, so it meets both sides of a pair; the median over the rounds drops
what does not.
"""

import statistics
import time
from collections.abc import Callable

from cnncli.benchmark.workers import Worker

PAUSE_S = 0.02  # between turns: the threads of the one before have stopped spinning (libgomp: some 10 ms)

Times = dict[str, dict[str, list[float]]]  # label -> task -> milliseconds of each round


def alternate(
    workers: list[Worker], tasks: list[str], rounds: int, seconds: float, tell: Callable[[str], None]
) -> Times:
    """The times of `rounds` rounds of `seconds` for each task that a worker has; `tell` hears of each turn."""
    times: Times = {worker.label: {} for worker in workers}
    for number in range(rounds):
        for task in tasks:
            for worker in workers:
                if task in worker.tasks:
                    tell(f"round {number + 1} of {rounds}: {task}, {worker.label}")
                    time.sleep(PAUSE_S)
                    times[worker.label].setdefault(task, []).append(worker.run(task, seconds))
    return times


def middle(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    first, second, third = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else values * 3
    return {"median": second, "q1": first, "q3": third}


def best_mode(times: Times, peer: str, task: str) -> str | None:
    """The label of the mode of `peer` with the lowest median: the one that is compared."""
    able = {label: tasks[task] for label, tasks in times.items() if label.split()[0] == peer and task in tasks}
    return min(able, key=lambda label: statistics.median(able[label]), default=None)


def ratio(times: Times, label: str, task: str) -> dict[str, float]:
    """How many times longer `label` takes than cnncli: median and quartiles over the pairs."""
    pairs = zip(times[label][task], times["cnncli"][task], strict=True)
    return middle([theirs / ours for theirs, ours in pairs])
