"""Turns: each task is run by one contestant after the other, round after round, and compared within the round.

What slows a shared machine lasts longer than a turn, so it meets both sides of a pair; the median over the rounds drops
what does not.
"""

import statistics
from collections.abc import Callable

from cnncli.benchmark.workers import Worker

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
                    times[worker.label].setdefault(task, []).append(worker.run(task, seconds))
    return times


def middle(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    first, second, third = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else values * 3
    return {"median": second, "q1": first, "q3": third}


def timing(values: list[float] | None) -> dict:
    """Median and quartiles as results hold them; None where nothing was measured."""
    if values is None:
        return {"ms": None, "spread": None}
    stats = middle(values)
    return {"ms": short(stats["median"]), "spread": [short(stats["q1"]), short(stats["q3"])]}


def compared(times: Times, modes: list[Worker], task: str) -> dict | None:
    """The mode of a peer with the lowest median, and how many times longer than cnncli it takes.

    The ratio is the median over the pairs, its spread their quartiles. None where the peer does not have the task.
    """
    able = [worker for worker in modes if task in times[worker.label]]
    if not able:
        return None
    best = min(able, key=lambda worker: statistics.median(times[worker.label][task]))
    theirs = times[best.label][task]
    pairs = middle([their / our for their, our in zip(theirs, times["cnncli"][task], strict=True)])
    return {
        "mode": best.mode,
        "ms": short(statistics.median(theirs)),
        "ratio": short(pairs["median"]),
        "spread": [short(pairs["q1"]), short(pairs["q3"])],
    }


def summary(rows: list[dict], peer: str) -> dict:
    """Geometric mean and minimum of the ratios of all convolutions, for each part and for all of them."""
    parts = {part: [] for part in ("forward", "data_gradient", "weight_gradient")}
    for row in rows:
        for part, found in parts.items():
            if part in row:
                found.append((row[part]["peers"][peer]["ratio"], row["name"]))
    parts["all"] = [entry for found in parts.values() for entry in found]
    return {
        part: {
            "geometric_mean": short(statistics.geometric_mean([ratio for ratio, _ in found])),
            "minimum": min(found)[0],
            "at": min(found)[1],
        }
        for part, found in parts.items()
        if found
    }


def short(value: float) -> float:
    """Five digits: more than any of these times is worth."""
    return float(f"{value:.5g}")
