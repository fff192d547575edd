"""ONNX operators computed by our layers: what the conformance suite's nodes are run with.

Arrays are ONNX's, (images, channels, *axes). An operator of any rank goes to a layer as images, channels and up to
three axes; where its meaning depends on none of them, as one image. `NotOurs` says what a layer cannot do.
"""

import math

import numpy as np

from cnncli.kernels.buffer import Arena, new_buffer
from cnncli.kernels.program import Program
from cnncli.layers import LAYERS, Shape
from cnncli.layers.base import NO_BORDER, Binding


class NotOurs(Exception):
    """Why no layer computes a node."""


def shape_of(x) -> Shape:
    """The shape of a sample of x (images, channels, *axes)."""
    axes = x.shape[2:]
    if len(axes) > 3:
        raise NotOurs(f"it has {len(axes)} spatial axes")
    return Shape((1,) * (3 - len(axes)) + axes, x.shape[1], len(axes))


def run(kind: str, options: dict, x, parameters=None, others=(), training=False):
    """The output of a layer in an inference, or of its forward pass while `training`; `others` are further inputs.

    Parameters are in files' order; those that are not given stay zero.
    """
    try:
        layer = LAYERS[kind](**options)
    except ValueError as error:
        raise NotOurs(f"{kind} {options}: {error.errors()[0]['msg'] if hasattr(error, 'errors') else error}") from None
    inputs = [x, *others]
    shapes, arena = [shape_of(each) for each in inputs], Arena(x.dtype)
    output = layer.output_shape(*shapes)
    if layer.view(training):
        return x
    buffers = [
        new_buffer(arena, len(each), shape, layer.border(shape)) for each, shape in zip(inputs, shapes, strict=True)
    ]
    for buffer, each, shape in zip(buffers, inputs, shapes, strict=True):
        buffer.interior[...] = np.moveaxis(each.reshape(len(each), shape.channels, *shape.size), 1, -1)
    y = new_buffer(arena, len(x), output, NO_BORDER)
    y.interior[...] = np.nan
    declared, values = layer.parameters(shapes[0]), {}
    for name, parameter in declared.items():
        values[name] = arena.take((parameter.size,))
        if parameters and name in parameters:
            given = np.asarray(parameters[name], x.dtype).reshape(parameter.file_shape)
            values[name][:] = parameter.from_file(given).reshape(-1)
    dy = new_buffer(arena, len(x), output, layer.gradient_border(shapes[0])) if training else None
    gradients = {name: np.zeros_like(values[name]) for name, p in declared.items() if p.learned} if training else {}
    numbers, key = np.arange(len(x)), np.array([1], np.uint64)
    prepared = None if training else []
    binding = Binding(shapes[0], buffers[0], y, None, dy, values, gradients, arena, numbers, key, tuple(buffers[1:]),
                      prepared=prepared)  # fmt: skip
    forward, _ = layer.bind(binding)
    Program([*(prepared or []), *forward])()
    found = np.moveaxis(y.interior, -1, 1).reshape(len(x), output.channels, *output.axes).copy()
    statistics = {name: p.to_file(values[name].reshape(p.shape)) for name, p in declared.items() if not p.learned}
    return (found, statistics) if training else found


def elementwise(kind, **options):
    """An operator of one element: of any rank, as one image of one channel."""

    def compute(attributes, x):
        given = {ours: attributes[theirs] for ours, theirs in options.items() if theirs in attributes}
        return [run(kind, given, x.reshape(1, 1, -1)).reshape(x.shape)]

    return compute


def padding(attributes, sizes, kernel, stride, dilation, ceil=False):
    """[before, after] of each axis, from `pads` or `auto_pad`; with `ceil`, as much more as a last window takes."""
    rank, auto = len(sizes), attributes.get("auto_pad", "NOTSET")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = [
        list(both) for both in zip(*np.reshape(attributes.get("pads", [0] * 2 * rank), (2, rank)).tolist(), strict=True)
    ]
    if auto.startswith("SAME"):
        totals = [max(0, (-(-n // s) - 1) * s + span - n) for n, s, span in zip(sizes, stride, spans, strict=True)]
        pads = [[total // 2, total - total // 2] for total in totals]
        if auto == "SAME_LOWER":
            pads = [both[::-1] for both in pads]
    if ceil:
        for both, n, s, span in zip(pads, sizes, stride, spans, strict=True):
            short = -(n + sum(both) - span) % s
            windows = (n + sum(both) - span + short) // s
            if windows * s < n + both[0]:  # a window that begins behind the input is left out
                both[1] += short
    return pads


def window(attributes, x, weights=None):
    """The options that windows share: kernel, stride, dilation, padding."""
    rank = x.ndim - 2
    kernel = attributes.get("kernel_shape") or list(weights.shape[2:])
    stride, dilation = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    pads = padding(attributes, x.shape[2:], kernel, stride, dilation, bool(attributes.get("ceil_mode")))
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": pads}


def conv(attributes, x, w, b=None):
    options = {"filters": len(w), "bias": b is not None, "groups": attributes.get("group", 1)}
    parameters = {"weight": w} if b is None else {"weight": w, "bias": b}
    return [run("conv", {**options, **window(attributes, x, w)}, x, parameters)]


def pool(kind, attributes, x, **options):
    found = window(attributes, x)
    return [run(kind, {"size": found.pop("kernel"), **found, **options}, x)]


def max_pool(attributes, x):
    return pool("max_pool", attributes, x)


def avg_pool(attributes, x):
    if attributes.get("count_include_pad") and attributes.get("ceil_mode"):
        raise NotOurs("avg_pool counts all padding or none")
    return pool("avg_pool", attributes, x, count_padding=bool(attributes.get("count_include_pad")))


def gemm(attributes, a, b, c=None):
    a = a.T if attributes.get("transA") else a
    b = b if attributes.get("transB") else b.T  # ours is (out, in)
    scaled = attributes.get("alpha", 1.0) * b
    bias = None if c is None else attributes.get("beta", 1.0) * np.asarray(c, a.dtype)
    if bias is not None and bias.size > 1 and (bias.ndim == 2 and len(bias) > 1):
        raise NotOurs("a bias for each sample")
    parameters = {"weight": scaled}
    if bias is not None:
        parameters["bias"] = np.broadcast_to(bias.reshape(-1), (len(b),))
    return [run("dense", {"units": len(b), "bias": bias is not None}, np.ascontiguousarray(a), parameters)]


def matmul(attributes, a, b):
    if b.ndim != 2:
        raise NotOurs("a matrix for each sample")
    return [run("dense", {"units": b.shape[1], "bias": False}, a.reshape(-1, a.shape[-1]), {"weight": b.T})
            .reshape(*a.shape[:-1], b.shape[1])]  # fmt: skip


def flatten(attributes, x):
    axis = attributes.get("axis", 1)
    lead = math.prod(x.shape[: axis if axis >= 0 else x.ndim + axis])
    return [x.reshape(lead, -1)]


def batch_norm(attributes, x, scale, bias, mean, variance):
    spread = x if x.ndim > 1 else x[:, None]
    parameters = {"weight": scale, "bias": bias, "running_mean": mean, "running_var": variance}
    options = {"eps": attributes.get("epsilon", 1e-5)}
    if not attributes.get("training_mode"):
        return [run("batch_norm", options, spread, parameters).reshape(x.shape)]
    share = 1 - attributes.get("momentum", 0.9)
    y, moved = run("batch_norm", {**options, "momentum": share}, spread, parameters, training=True)
    # ONNX moves the running variance by the biased one, batch_norm as PyTorch by the unbiased
    count = spread.size / len(mean)
    biased = (moved["running_var"] - (1 - share) * variance) * ((count - 1) / count) + (1 - share) * variance
    return [y.reshape(x.shape), moved["running_mean"], biased.astype(x.dtype)]


def global_pool(kind):
    """ONNX keeps axes of one element."""

    def compute(attributes, x):
        return [run(kind, {}, x).reshape(*x.shape[:2], *[1] * (x.ndim - 2))]

    return compute


def gelu(attributes, x):
    if attributes.get("approximate", "none") != "none":
        raise NotOurs("gelu is exact")
    return elementwise("gelu")(attributes, x)


OPERATORS = {
    "AveragePool": avg_pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "Elu": elementwise("elu", alpha="alpha"),
    "Flatten": flatten,
    "Gelu": gelu,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool("global_avg_pool"),
    "LeakyRelu": elementwise("leaky_relu", alpha="alpha"),
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Relu": elementwise("relu"),
    "Sigmoid": elementwise("sigmoid"),
    "Tanh": elementwise("tanh"),
}


def _reshape(attributes, x, shape):
    return [x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])]


# what carries values between operators and computes nothing
PLUMBING = {
    "Constant": lambda attributes: [attributes["value"]],
    "Identity": lambda attributes, x: [x],
    "Reshape": _reshape,
    "Squeeze": lambda attributes, x, axes=None: [np.squeeze(x, tuple(attributes.get("axes", axes)))],
    "Transpose": lambda attributes, x: [np.transpose(x, attributes.get("perm"))],
    "Unsqueeze": lambda attributes, x, axes=None: [np.expand_dims(x, tuple(attributes.get("axes", axes)))],
}
