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
from cnncli.layers.unpool import Unpooling


class NotOurs(Exception):
    """Why no layer computes a node."""


def shape_of(x) -> Shape:
    """The shape of a sample of x (images, channels, *axes)."""
    axes = x.shape[2:]
    if len(axes) > 3:
        raise NotOurs(f"it has {len(axes)} spatial axes")
    return Shape((1,) * (3 - len(axes)) + axes, x.shape[1], len(axes))


def layer_of(kind: str, options: dict):
    try:
        return LAYERS[kind](**options)
    except ValueError as error:
        raise NotOurs(f"{kind} {options}: {error.errors()[0]['msg'] if hasattr(error, 'errors') else error}") from None


def buffer_of(arena, x, border=NO_BORDER) -> Buffer:
    """A buffer that holds x."""
    shape = shape_of(x)
    buffer = new_buffer(arena, len(x), shape, border)
    buffer.interior[...] = np.moveaxis(x.reshape(len(x), shape.channels, *shape.size), 1, -1)
    return buffer


def held(buffer: Buffer, shape: Shape):
    """A copy of what a buffer holds, (images, channels, *axes)."""
    return np.moveaxis(buffer.interior, -1, 1).reshape(len(buffer.array), shape.channels, *shape.axes).copy()


def run(kind: str, options: dict, x, parameters=None, others=(), training=False):
    """The output of a layer in an inference, or of its forward pass while `training`; `others` are further inputs.

    Parameters are in files' order; those that are not given stay zero.
    """
    return run_layer(layer_of(kind, options), x, parameters, others, training)


def run_layer(layer, x, parameters=None, others=(), training=False):
    inputs = [x, *others]
    shapes, arena = [shape_of(each) for each in inputs], Arena(x.dtype)
    output = layer.output_shape(*shapes)
    if layer.view(training):
        return x
    buffers = [buffer_of(arena, each, layer.border(shape)) for each, shape in zip(inputs, shapes, strict=True)]
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
    found = held(y, output)
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


def pool_options(attributes, x):
    found = window(attributes, x)
    return {"size": found.pop("kernel"), **found}


def max_pool(attributes, x):
    options = pool_options(attributes, x)
    numbers = np.arange(x.size).reshape(x.shape)
    if attributes.get("storage_order"):  # column by column
        numbers = numbers.reshape(*x.shape[:2], *x.shape[:1:-1]).transpose(0, 1, *range(x.ndim - 1, 1, -1))
    return [run("max_pool", options, x), at_maxima(options, x, numbers)]


def at_maxima(options, x, numbers):
    """The `numbers` at the places of the maxima that a max_pool of x takes: what an unpooling does backward."""
    layer, shape, arena = Unpooling(pooling=layer_of("max_pool", options)), shape_of(x), Arena(np.float64)
    small = layer.pooling.output_shape(shape)
    before, dy, y = buffer_of(arena, x), buffer_of(arena, numbers), new_buffer(arena, len(x), shape, NO_BORDER)
    values, dvalues = (new_buffer(arena, len(x), small, NO_BORDER) for _ in range(2))
    joined = Joined(before, None, False, False), Joined(values, dvalues, False, False)
    arrays = {}, {}, arena, np.arange(len(x)), np.array([1], np.uint64), joined
    forward, ((_, backward),) = layer.bind(Binding(shape, before, y, None, dy, *arrays))
    Program([*forward, *backward])()
    return held(dvalues, small).astype(numbers.dtype)


def max_unpool(attributes, x, indices, shape=None):
    """Ones at the indices are what the pooling is told to have seen; an output that is larger is padded."""
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1] * (x.ndim - 2))
    pads = np.reshape(attributes.get("pads", [0] * 2 * len(kernel)), (2, -1)).tolist()
    options = {"size": kernel, "stride": strides, "padding": sides(*pads)}
    axes = [
        (n - 1) * s + k - sum(both)
        for n, s, k, both in zip(x.shape[2:], strides, kernel, options["padding"], strict=True)
    ]
    seen = np.zeros((*x.shape[:2], *axes), x.dtype)
    seen.reshape(-1)[indices.reshape(-1)] = 1
    numbers = np.arange(seen.size).reshape(seen.shape)
    if not np.array_equal(at_maxima(options, seen, numbers), indices):
        raise NotOurs("its indices are not those of a max_pool")
    y = run_layer(Unpooling(pooling=layer_of("max_pool", options)), seen, others=[x])
    return [y if shape is None else framed(y, [(0, to - n) for n, to in zip(y.shape, shape.tolist(), strict=True)])]


def avg_pool(attributes, x):
    if attributes.get("count_include_pad") and attributes.get("ceil_mode"):
        raise NotOurs("avg_pool counts all padding or none")
    counts = bool(attributes.get("count_include_pad"))
    return [run("avg_pool", {**pool_options(attributes, x), "count_padding": counts}, x)]


def gemm(attributes, a, b, c=None):
    a = a.T if attributes.get("transA") else a
    b = b if attributes.get("transB") else b.T  # ours is (out, in)
    scaled = attributes.get("alpha", 1.0) * b
    bias = None if c is None else attributes.get("beta", 1.0) * np.asarray(c, a.dtype)
    parameters = {"weight": scaled}
    of_samples = bias is not None and bias.ndim == 2 and len(bias) > 1  # a bias for each
    if bias is not None and not of_samples:
        parameters["bias"] = np.broadcast_to(bias.reshape(-1), (len(b),))
    y = run("dense", {"units": len(b), "bias": "bias" in parameters}, np.ascontiguousarray(a), parameters)
    return joining("add")({}, bias, y) if of_samples else [y]


def matmul(attributes, a, b):
    """A dense layer for each matrix in b."""
    rows = a[None] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    lead = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows, columns = (
        np.broadcast_to(each, (*lead, *each.shape[-2:])).reshape(-1, *each.shape[-2:]) for each in (rows, columns)
    )
    options = {"units": columns.shape[-1], "bias": False}
    found = [run("dense", options, x, {"weight": w.T}) for x, w in zip(rows, columns, strict=True)]
    return [np.reshape(found, (*lead, *a.shape[-2:-1], *b.shape[-2 + (b.ndim == 1) :][1:]))]


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


def framed(x, around, **options):
    """x with (before, after) more elements along each axis, or fewer: cropped, then padded.

    Only axes behind the first two have sides, so an array of up to three axes is one image of one channel.
    """
    first = 0 if x.ndim > 2 and not any(map(any, around[:2])) else 2
    if first and x.ndim > 3:
        raise NotOurs("it changes images or channels")
    found = x[None, None] if first else x
    around = around if first else around[2:]
    fewer, more = ([[max(0, sign * n) for n in both] for both in around] for sign in (-1, 1))
    if any(map(any, fewer)):
        found = run("crop", {"pixels": fewer}, found)
    if any(map(any, more)):
        found = run("pad", {"padding": more, **options}, found)
    return found.reshape(found.shape[first:])


def pad(attributes, x, pads=None, value=None, axes=None):
    pads = np.asarray(attributes.get("pads", pads)).tolist()
    axes = list(range(x.ndim)) if axes is None else [int(axis) % x.ndim for axis in axes]
    both = {axis: (pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes)}
    mode = attributes.get("mode", "constant")
    if mode == "wrap":
        raise NotOurs("pad has no wrap")
    value = float(attributes.get("value", 0.0) if value is None else value)
    options = {"mode": mode, "value": value} if mode == "constant" else {"mode": mode}
    return [framed(x, [both.get(axis, (0, 0)) for axis in range(x.ndim)], **options)]


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
    return [framed(x, [(-start, end - n) for (start, end), n in zip(bounds, x.shape, strict=True)])]


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


def center_crop_pad(attributes, x, shape):
    """The odd element that is padded is the last, and so is the one that is cropped."""
    around = [(0, 0)] * x.ndim
    for axis, wanted in zip(attributes.get("axes", range(x.ndim)), shape.tolist(), strict=True):
        more = abs(wanted - x.shape[axis])
        sign = 1 if wanted > x.shape[axis] else -1
        around[axis] = sign * (more // 2), sign * (more - more // 2)
    return [framed(x, around)]


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
    "CenterCropPad": center_crop_pad,
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
    "MaxUnpool": max_unpool,
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
