"""ONNX operators computed by our layers: what the conformance suite's nodes are run with.

Arrays are ONNX's, (images, channels, *axes). An operator of any rank goes to a layer as images, channels and up to
three axes; where its meaning depends on none of them, as one image. `NotOurs` says what a layer cannot do.
"""

import math

import numpy as np

from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.kernels.program import Program
from cnncli.layers import LAYERS, Shape
from cnncli.layers.base import NO_BORDER, Binding, Joined
from cnncli.layers.losses import SOFTMAX, bind_labels


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
    joined = tuple(Joined(buffer, None, False, False) for buffer in buffers)
    arrays = values, gradients, arena, numbers, key, joined
    binding = Binding(shapes[0], buffers[0], y, None, dy, *arrays, prepared=prepared)
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


def conv_transpose(attributes, x, w, b=None):
    rank, groups = x.ndim - 2, attributes.get("group", 1)
    kernel = attributes.get("kernel_shape") or list(w.shape[2:])
    stride, dilation = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    more = list(attributes.get("output_padding", [0] * rank))
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    auto, wanted = attributes.get("auto_pad", "NOTSET"), attributes.get("output_shape")
    if auto.startswith("SAME") and not wanted:
        wanted = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    pads = [
        list(both) for both in zip(*np.reshape(attributes.get("pads", [0] * 2 * rank), (2, rank)).tolist(), strict=True)
    ]
    if wanted:
        for i, (n, out) in enumerate(zip(whole, wanted, strict=True)):
            total = n + more[i] - out
            more[i], total = (more[i] - total, 0) if total < 0 else (more[i], total)
            pads[i] = [total // 2, total - total // 2] if auto == "SAME_UPPER" else [total - total // 2, total // 2]
    options = {
        "filters": w.shape[1] * groups,
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "padding": pads,
    }
    options |= {"output_padding": more, "groups": groups, "bias": b is not None}
    parameters = {"weight": w} if b is None else {"weight": w, "bias": b}
    return [run("transposed_conv", options, x, parameters)]


def over_channels(kind):
    """A function of all channels, whatever axis they lie on."""

    def compute(attributes, x, opset=13):
        axis = attributes.get("axis", -1) % x.ndim
        last = np.moveaxis(x, axis, -1)
        found = run(kind, {}, last.reshape(-1, last.shape[-1])).reshape(last.shape)
        return [np.moveaxis(found, -1, axis)]

    return compute


def prelu(attributes, x, slope):
    if slope.size == 1:
        return [run("prelu", {"shared": True}, x.reshape(len(x), 1, -1), {"weight": slope.reshape(1)}).reshape(x.shape)]
    if slope.shape in {(x.shape[1],), (x.shape[1], *[1] * (x.ndim - 2))}:  # of each channel; alone before opset 7
        return [run("prelu", {}, x, {"weight": slope.reshape(-1)})]
    every = np.broadcast_to(slope, x.shape).reshape(-1)
    return [run("prelu", {}, x.reshape(1, -1), {"weight": every}).reshape(x.shape)]


def lrn(attributes, x):
    options = {name: attributes[name] for name in ("size", "alpha", "beta") if name in attributes}
    return [run("lrn", {"alpha": 1e-4, "beta": 0.75, **options, "k": attributes.get("bias", 1.0)}, x)]


def group_norm(attributes, x, scale, bias):
    options = {"groups": attributes["num_groups"], "eps": attributes.get("epsilon", 1e-5)}
    return [run("group_norm", options, x, {"weight": scale, "bias": bias})]


def instance_norm(attributes, x, scale, bias):
    options = {"groups": "channels", "eps": attributes.get("epsilon", 1e-5)}
    return [run("group_norm", options, x, {"weight": scale, "bias": bias})]


def sides(before, after):
    return [[int(b), int(a)] for b, a in zip(before, after, strict=True)]


def pad(attributes, x, pads=None, value=None, axes=None):
    pads = np.asarray(attributes.get("pads", pads)).tolist()
    axes = list(range(x.ndim)) if axes is None else [int(axis) % x.ndim for axis in axes]
    both = {axis: (pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes)}
    if min(pads) < 0:
        raise NotOurs("it crops")
    if any(any(both.get(axis, (0, 0))) for axis in (0, 1)):
        raise NotOurs("it pads images or channels")
    mode = attributes.get("mode", "constant")
    if mode == "wrap":
        raise NotOurs("pad has no wrap")
    padding = [list(both.get(axis, (0, 0))) for axis in range(2, x.ndim)]
    value = float(attributes.get("value", 0.0) if value is None else value)
    options = {"mode": mode, "value": value} if mode == "constant" else {"mode": mode}
    return [run("pad", {"padding": padding, **options}, x)]


def crop_to(x, starts, ends):
    """x between starts and ends, one for each axis."""
    spread = x if x.ndim > 2 else x[None, None]
    shift = spread.ndim - x.ndim
    starts, ends = [0] * shift + starts, [1] * shift + ends
    if any(starts[axis] or ends[axis] != spread.shape[axis] for axis in (0, 1)):
        raise NotOurs("it crops images or channels")
    after = [n - end for n, end in zip(spread.shape[2:], ends[2:], strict=True)]
    found = run("crop", {"pixels": sides(starts[2:], after)}, spread)
    return [found.reshape(found.shape[shift:])]


def slice_(attributes, x, starts=None, ends=None, axes=None, steps=None):
    starts, ends = (np.asarray(attributes.get(n, v)).tolist() for n, v in (("starts", starts), ("ends", ends)))
    axes = attributes.get("axes", range(len(starts)) if axes is None else axes)
    if steps is not None and set(np.asarray(steps).tolist()) != {1}:
        raise NotOurs("crop has no steps")
    bounds = [slice(0, n).indices(n)[:2] for n in x.shape]
    for axis, start, end in zip(axes, starts, ends, strict=True):
        bounds[axis % x.ndim] = slice(start, end).indices(x.shape[axis % x.ndim])[:2]
    if any(end <= start for start, end in bounds):
        raise NotOurs("nothing is left")
    return crop_to(x, [start for start, _ in bounds], [end for _, end in bounds])


def resize(attributes, x, *inputs):
    """Upsample, or Resize by whole numbers."""
    arrays = [each for each in inputs if each is not None and each.size]
    if x.ndim != 4 or not arrays:
        raise NotOurs("it is not about an image")
    if arrays[-1].dtype == np.int64:
        if attributes.get("axes") or attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise NotOurs("it resizes to a size")
        scales = [to / n for to, n in zip(arrays[-1], x.shape, strict=True)]
    else:
        scales = arrays[-1].tolist()
        if attributes.get("axes"):
            raise NotOurs("it resizes some axes")
    if scales[:2] != [1, 1] or any(scale != int(scale) or scale < 1 for scale in scales[2:]):
        raise NotOurs("upsample is by whole numbers")
    scale, mode = [int(n) for n in scales[2:]], attributes.get("mode", "nearest")
    centres = attributes.get("coordinate_transformation_mode", "half_pixel")
    if attributes.get("antialias") or attributes.get("exclude_outside"):
        raise NotOurs("upsample has no antialiasing")
    if mode == "nearest":
        near = attributes.get("nearest_mode", "round_prefer_floor")
        same = centres == "asymmetric" and near == "floor"
        if not (same or (centres == "half_pixel" and near.startswith("round")) or len(inputs) == 1):
            raise NotOurs(f"upsample repeats pixels, not {centres} {near}")
        return [run("upsample", {"scale": scale}, x)]
    if mode != "linear" or centres != "half_pixel":
        raise NotOurs(f"upsample is nearest or linear between half-pixel centres, not {mode} {centres}")
    return [run("upsample", {"scale": scale, "mode": "linear"}, x)]


def center_crop(attributes, x, shape):
    axes = attributes.get("axes", range(x.ndim))
    starts, ends = [0] * x.ndim, list(x.shape)
    for axis, wanted in zip(axes, shape.tolist(), strict=True):
        left = x.shape[axis] - wanted
        if left < 0:
            raise NotOurs("it pads")
        starts[axis], ends[axis] = left // 2, left // 2 + wanted
    return crop_to(x, starts, ends)


def joining(way):
    """Elements of several arrays, one by one; each as an image of one channel."""

    def compute(attributes, *arrays):
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        flat = [np.ascontiguousarray(np.broadcast_to(a, shape)).reshape(1, 1, -1) for a in arrays]
        if len(flat) == 1:
            return [arrays[0]]
        options = {"with": [f"v{i}" for i in range(len(flat) - 1)], "by": way}
        return [run("merge", options, flat[0], others=flat[1:]).reshape(shape)]

    return compute


def concat(attributes, *arrays):
    axis = attributes["axis"] % arrays[0].ndim
    moved = [np.moveaxis(a, axis, -1) for a in arrays]
    flat = [a.reshape(-1, a.shape[-1]) for a in moved]
    if len(flat) == 1:
        return [arrays[0]]
    options = {"with": [f"v{i}" for i in range(len(flat) - 1)], "by": "concat"}
    found = run("merge", options, flat[0], others=flat[1:])
    return [np.moveaxis(found.reshape(*moved[0].shape[:-1], -1), -1, axis)]


def dropout(attributes, x, ratio=None, training=None):
    drops = training is not None and bool(training) and (ratio is None or float(ratio) > 0)
    if drops:
        raise NotOurs("its random numbers are others")
    return [run("dropout", {"rate": 0.0}, x.reshape(1, 1, -1)).reshape(x.shape), np.ones(x.shape, bool)]


def clip(attributes, x, low=None, high=None):
    bounds = [attributes.get(n, v) for n, v in (("min", low), ("max", high))]
    bounds = [None if bound is None else float(bound) for bound in bounds]
    kind = {(0.0, None): "relu", (0.0, 6.0): "relu6"}.get(tuple(bounds))
    if kind is None:
        raise NotOurs(f"there is no activation between {bounds[0]} and {bounds[1]}")
    return elementwise(kind)({}, x)


def cross_entropy(attributes, scores, labels, weights=None):
    """Losses by our kernel, (reduced); and the log-probabilities."""
    classes = scores.shape[1]
    rows = np.ascontiguousarray(np.moveaxis(scores, 1, -1)).reshape(-1, classes)
    flat = labels.reshape(-1).astype(np.int64)
    ignored = flat == attributes.get("ignore_index", -(2**62))
    flat = np.where(ignored, -1, flat)
    if np.any((flat < 0) & ~ignored):
        raise NotOurs("labels count from 0")
    losses, total, doutput = np.zeros(len(flat)), np.zeros(1), np.zeros_like(rows)
    into = Buffer(doutput, (1, 1, 1), classes, NO_BORDER)
    weights = np.ones(classes) if weights is None else weights
    Program(bind_labels(SOFTMAX, losses, into, rows, flat, total, weights=weights))()
    reduction = attributes.get("reduction", "mean")
    reduced = {"none": losses.reshape(labels.shape), "sum": losses.sum(), "mean": losses.sum() / total[0]}[reduction]
    logs = run("log_softmax", {}, rows).reshape(np.moveaxis(scores, 1, -1).shape)
    return [np.asarray(reduced, scores.dtype), np.moveaxis(logs, -1, 1)]


OPERATORS = {
    "Add": joining("add"),
    "CenterCropPad": center_crop,
    "Clip": clip,
    "Concat": concat,
    "ConvTranspose": conv_transpose,
    "Dropout": dropout,
    "GlobalMaxPool": global_pool("global_max_pool"),
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": lrn,
    "LogSoftmax": over_channels("log_softmax"),
    "Max": joining("max"),
    "Mul": joining("multiply"),
    "PRelu": prelu,
    "Pad": pad,
    "Resize": resize,
    "Slice": slice_,
    "Softmax": over_channels("softmax"),
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "Softplus": elementwise("softplus"),
    "Sum": joining("add"),
    "Swish": elementwise("swish", beta="alpha"),
    "Upsample": resize,
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
