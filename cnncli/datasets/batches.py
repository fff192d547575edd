"""Batches: the order of the samples in an epoch, and the program that fills a plan's input with them."""

from dataclasses import dataclass

import numpy as np

from cnncli.datasets.base import IGNORED, Split
from cnncli.kernels import batch as kernels
from cnncli.kernels.program import Program

FLOAT32 = np.finfo(np.float32)
PART, PART_NUMBERS = 1024, 2**23  # the most images, and numbers, that are made float64 at a time


@dataclass(frozen=True)
class Normalization:
    """What is done to each channel before the first layer: (value / unit - mean) / deviation.

    `unit` is 255 for uint8 images and 1 for floats, so `mean` and `deviation` (channels,) are in the field's usual
    units.
    """

    unit: float
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, split: Split, kind: str) -> "Normalization":
        """`mean_std`: to mean 0 and deviation 1 over the split; `none`: uint8 to 0..1, floats as they are."""
        channels, unit = split.images.shape[-1], 255.0 if split.images.dtype == np.uint8 else 1.0
        if kind == "none":
            return cls(unit, np.zeros(channels), np.ones(channels))
        mean, deviation = _moments(split.images)
        # a channel that never changes, or by less than float32 can tell, carries nothing: leave its scale alone
        return cls(unit, mean / unit, np.where(deviation / unit >= FLOAT32.tiny, deviation / unit, 1.0))


def _moments(images):
    """Mean and standard deviation of each channel, in float64, part by part, without a float copy of all of them."""
    channels, count = images.shape[-1], images.size // images.shape[-1]
    step = max(1, min(PART, PART_NUMBERS * len(images) // images.size))
    parts = [images[start : start + step].reshape(-1, channels) for start in range(0, len(images), step)]
    if images.dtype == np.uint8:  # from how often each value occurs: CIFAR-10 in 0.5 s instead of 5.5
        seen, values = sum(_histogram(part) for part in parts), np.arange(256.0)
        mean = seen @ values / count
        return mean, np.sqrt((seen * (values - mean[:, None]) ** 2).sum(1) / count)
    mean = sum(part.sum(0, dtype=np.float64) for part in parts) / count
    squares = sum(((part - mean) ** 2).sum(0) for part in parts)
    return mean, np.sqrt(squares / count)


def _histogram(part: np.ndarray) -> np.ndarray:
    """How often each channel of (N, channels) uint8 has each value: (channels, 256)."""
    return np.stack([np.bincount(channel, minlength=256) for channel in part.T])


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` samples in an epoch: a permutation that (seed, epoch) alone decides."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).permutation(count)


def epoch_key(seed: int, epoch: int) -> int:
    """The 64-bit key of the random numbers of an epoch: augmentation, dropout."""
    return int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint64)[0])


class Feeder:
    """Fills the input of plans from one split. `augment` is a tuple of the specification's augmentations.

    Pixels of the class `ignore` become unlabelled.
    """

    def __init__(self, split: Split, normalization: Normalization, dtype, augment=(), ignore: int | None = None):
        self.labels, self._ignore = split.labels, -1 if ignore is None else ignore
        count, depth, height, width, channels = split.images.shape
        self._images = split.images.reshape(count, depth, height, width * channels)
        scale = 1 / (normalization.unit * normalization.deviation)
        shift = -normalization.mean / normalization.deviation
        self._scale = np.ascontiguousarray(np.broadcast_to(scale, (width, channels)).astype(dtype))
        self._offset = np.ascontiguousarray(np.broadcast_to(shift, (width, channels)).astype(dtype))
        self._shift = max((getattr(a, "pixels", 0) for a in augment), default=0)
        self._flip = any(a.kind == "flip" for a in augment)
        self._key = np.zeros(1, np.uint64)
        self._gathers = {}  # by plan, which it keeps alive

    def __len__(self) -> int:
        return len(self.labels)

    def fill(self, plan, samples: np.ndarray, key: int) -> None:
        """Gather, augment and normalise `samples` (N,) into the plan's input, with their labels and numbers."""
        self._key[0] = key
        plan.samples[:] = samples
        if self.labels.ndim == 1:
            np.take(self.labels, samples, out=plan.labels)
        if id(plan) not in self._gathers:
            self._gathers[id(plan)] = plan, Program(self._gather(plan))
        self._gathers[id(plan)][1]()

    def _gather(self, plan):
        scales, moves = (self._scale, self._offset), (self._key, self._shift, self._flip)
        x, samples = plan.x.array, plan.samples
        steps = [kernels.gather.step(len(samples), x, self._images, samples, plan.x_rows, *scales, *moves)]
        if self.labels[0].size * len(samples) == plan.labels.size and self.labels.ndim > 1:
            labels = plan.labels.reshape(len(samples), *self.labels.shape[1:])
            given = labels, self.labels, samples, *moves, IGNORED, self._ignore
            steps.append(kernels.gather_labels.step(len(samples), *given))
        return steps
