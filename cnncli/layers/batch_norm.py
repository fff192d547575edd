"""Batch normalisation (Ioffe and Szegedy 2015)."""

from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.kernels import normalize
from cnncli.layers.base import DATA, WEIGHT, Binding, Constant, Layer, Parameter, register


@register("batch_norm")
class BatchNorm(Layer):
    """Gives each channel mean 0 and variance 1 over the batch, then a learned scale and shift.

    Inference uses running averages, which move by `momentum` in each step (PyTorch's meaning of the word), and costs
    nothing behind a convolution or dense layer: it is folded into the weights.
    """

    fuse_relu = True
    fuse_add = True

    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5

    def parameters(self, shape):
        def of(value, **options):
            c = shape.channels
            return Parameter((c,), (c,), (1, 1), Constant(constant=value), decays=False, **options)

        learned = {"weight": of(1.0), "bias": of(0.0)}
        return learned | {"running_mean": of(0.0, learned=False), "running_var": of(1.0, learned=False)}

    def fold(self, values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(scale, shift) of each channel in an inference, float64, from the layer's parameters."""
        mean, variance = (values[name].astype(np.float64) for name in ("running_mean", "running_var"))
        scale = values["weight"] / np.sqrt(variance + self.eps)
        return scale, values["bias"] - mean * scale

    def bind(self, b: Binding):
        channels, length, real = b.x.channels, b.x.size[2] * b.x.channels, b.x.array.dtype
        weight, bias, *running = (b.parameters[name] for name in ("weight", "bias", "running_mean", "running_var"))
        period = b.arena.take((3, normalize.period(channels, length)))
        other, eps, momentum = b.added or b.x, self.eps, self.momentum
        x, y, rows = b.x.array, b.y.array, np.stack([b.y.row_starts, b.x.row_starts, other.row_starts])
        apply = (y, x, other.array, rows, length, period, b.added is not None, b.relu)
        if b.dy is None:

            def infer():
                normalize.fixed_statistics(period, weight, bias, *running, eps)
                normalize.normalize(*apply)

            return infer, []
        starts, images = b.x.row_starts, x.shape[0]
        count = float(images * np.prod(b.x.size))
        partial = b.arena.take((normalize.chunks(images, len(starts)), 2, period.shape[1]))
        saved = np.zeros(channels, real)

        def forward():
            normalize.moments(partial, period[0], x, starts, length, channels)
            normalize.statistics(period, saved, partial, weight, bias, *running, count, eps, momentum)
            normalize.normalize(*apply)

        dy, dweight, dbias = b.dy.array, b.gradients["weight"], b.gradients["bias"]
        terms, back_rows = np.zeros_like(period), np.stack([b.dy.row_starts, b.x.row_starts])

        def sums():
            normalize.products(partial, period[0], dy, x, back_rows, length)
            normalize.gradient_terms(terms, dweight, dbias, partial, weight, saved, count)

        if b.dx is None:
            return forward, [(WEIGHT, sums)]
        dx, dx_rows = b.dx.array, np.stack([b.dx.row_starts, b.dy.row_starts, b.x.row_starts])

        def data_gradient():
            normalize.normalize_gradient(dx, dy, x, dx_rows, length, terms, period[0])

        return forward, [(WEIGHT, sums), (DATA, data_gradient)]
