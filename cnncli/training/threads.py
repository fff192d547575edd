"""How many threads a network is trained with, when nobody says: as many as make its steps faster."""

import time

from cnncli import kernels

ROUNDS = 5
LONG_STEP = 0.1  # seconds: so much work is shared by all threads in any case
WORTH = 0.95  # more threads must take less than this share of the time


def choose_threads(plan, parameters) -> dict[int, float]:
    """Measure steps of a plan with 1, 2, 4 ... threads, and use the fewest of those that are fastest.

    Returns the seconds of a step for each number that was tried. Counted values, such as running averages, are put
    back; what a step computes does not depend on the threads.
    """
    most, kept = kernels.most_threads(), parameters.state.copy()
    counts = sorted({min(2**i, most) for i in range(most.bit_length() + 1)})
    kernels.set_threads(most)
    _seconds(plan)  # compiles, or loads
    best = {most: _seconds(plan)}
    if best[most] < LONG_STEP and most > 1:
        for _ in range(ROUNDS):
            for count in counts:
                kernels.set_threads(count)
                best[count] = min(best.get(count, float("inf")), _seconds(plan))
    chosen = counts[0] if len(best) > 1 else most
    for count in counts:
        if count in best and count > chosen and best[count] < WORTH * best[chosen]:
            chosen = count
    kernels.set_threads(chosen)
    parameters.state[:] = kept
    return dict(sorted(best.items()))


def _seconds(plan) -> float:
    start = time.perf_counter()
    plan.forward()
    plan.backward()
    return time.perf_counter() - start
