"""Batch normalisation (Ioffe and Szegedy 2015)."""

from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.kernels import normalize
from cnncli.layers.base import DATA, WEIGHT, Binding, Layer, Parameter, register
from cnncli.layers.dense import in_field_order
from cnncli.layers.initializers import Constant

LEARNED = "weight", "bias"


@register("batch_norm")
class BatchNorm(Layer):
    """Gives each channel mean 0 and variance 1 over the batch, then, if `affine`, a learned scale and shift.

    Inference uses running averages, which move by `momentum` in each step (PyTorch's meaning of the word), and costs
    nothing behind a convolution or dense layer: it is folded into the weights.
    """

    fuse_relu = True
    fuse_add = True

    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    affine: bool = True

    def parameters(self, shape):
        order = in_field_order(shape)

        def of(value, **options):
            c = shape.channels
            return Parameter((c,), (c,), (1, 1), Constant(constant=value), decays=False, **order, **options)

        learned = {"weight": of(1.0), "bias": of(0.0)} if self.affine else {}
        return learned | {"running_mean": of(0.0, learned=False), "running_var": of(1.0, learned=False)}

    def fold(self, values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(scale, shift) of each channel in an inference, float64, from the layer's parameters."""
        mean, variance = (values[name].astype(np.float64) for name in ("running_mean", "running_var"))
        scale = values.get("weight", 1.0) / np.sqrt(variance + self.eps)
        return scale, values.get("bias", 0.0) - mean * scale

    def bind(self, b: Binding):
        channels, length, real = b.x.channels, b.x.size[2] * b.x.channels, b.x.array.dtype
        weight, bias = (
            (b.parameters[n] for n in LEARNED) if self.affine else (np.ones(channels, real), np.zeros(channels, real))
        )
        running = b.parameters["running_mean"], b.parameters["running_var"]
        period = b.arena.take((3, normalize.period(channels, length)))
        other, starts = b.added or b.x, b.x.row_starts
        x, y, rows = b.x.array, b.y.array, np.stack([b.y.row_starts, starts, other.row_starts])
        many = len(x) * len(starts)
        adds = b.added is not None
        apply = normalize.normalize.step(many, y, x, other.array, rows, length, period, adds, b.relu)
        if b.prepared is not None:
            return [normalize.fixed_statistics.step(channels, period, weight, bias, *running, self.eps), apply], []
        count, tasks = float(len(x) * np.prod(b.x.size)), normalize.chunks(many, length)
        partial, saved = b.arena.take((tasks, 2, period.shape[1])), np.zeros(channels, real)
        statistics = partial, weight, bias, *running, count, self.eps, self.momentum
        forward = [
            normalize.origins.step(channels, period[0], x, starts, length, channels),
            normalize.moments.step(tasks, partial, period[0], x, starts, length),
            normalize.statistics.step(channels, period, saved, *statistics),
            apply,
        ]
        if b.dy is None or not (self.affine or b.dx):  # nothing is learned here, nor before it
            return forward, []
        dweight, dbias = (b.gradients[n] if self.affine else np.empty(channels, real) for n in LEARNED)
        dy = b.dy.array
        terms, back_rows = np.zeros_like(period), np.stack([b.dy.row_starts, starts])
        sums = [
            normalize.products.step(tasks, partial, period[0], dy, x, back_rows, length),
            normalize.gradient_terms.step(channels, terms, dweight, dbias, partial, weight, saved, count),
        ]
        if b.dx is None:
            return forward, [(WEIGHT, sums)]
        dx, dx_rows = b.dx.array, np.stack([b.dx.row_starts, b.dy.row_starts, starts])
        data = normalize.normalize_gradient.step(many, dx, dy, x, dx_rows, length, terms, period[0])
        return forward, [(WEIGHT if self.affine else DATA, sums), (DATA, [data])]
