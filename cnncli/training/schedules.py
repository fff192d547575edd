"""The learning rate of each step: a function of the step's number alone, so that a resumed run goes on exactly."""

import math


def learning_rate(train, step: int, steps_per_epoch: int, total: int) -> float:
    """The rate of `step` (from 0) of a run of `total` steps; `train` is the specification's train section.

    After `warmup` epochs of linear rise the schedule runs over the steps that are left. one_cycle is PyTorch's
    OneCycleLR without its cycle of the momentum: from peak / start to the peak and to peak / start / end, in half
    cosines (Smith 2018).
    """
    peak, schedule = train.optimizer.lr, train.schedule
    warmup = min(round(train.warmup * steps_per_epoch), total)
    if step < warmup:
        return peak * (step + 1) / warmup
    step, total = step - warmup, max(1, total - warmup)
    if schedule.kind == "constant":
        return peak
    if schedule.kind == "step":
        return peak * schedule.factor ** (step // (schedule.every * steps_per_epoch))
    if schedule.kind == "cosine":
        return _half_cosine(peak, peak * schedule.final, step / total)
    first, last = peak / schedule.start, peak / schedule.start / schedule.end
    rise = max(schedule.rise * total - 1, 0.0)
    if step <= rise and rise > 0:
        return _half_cosine(first, peak, step / rise)
    return _half_cosine(peak, last, min(1.0, (step - rise) / max(1.0, total - 1 - rise)))


def _half_cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
