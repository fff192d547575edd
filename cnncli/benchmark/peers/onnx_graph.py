"""A network for inference as an ONNX model, with random weights: for the peers that read nothing else."""

import math
from functools import partial, reduce

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8  # what every version of the last years reads


class Graph:
    """Nodes and weights, layer by layer; `parameters` counts what a training would learn."""

    def __init__(self):
        self.nodes, self.weights, self.parameters = [], [], 0
        self._random, self._names = np.random.default_rng(0), 0
        self._learned: dict[tuple[str, int], str] = {}  # by owner and number

    def name(self) -> str:
        self._names += 1
        return f"t{self._names}"

    def node(self, kind: str, inputs: list[str], **attributes) -> str:
        output = self.name()
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def begin(self, owner: str) -> None:
        """What is learned from here on belongs to `owner`, the first time it is."""
        self._owner, self._number = owner, 0

    def learned(self, *shape: int) -> str:
        known = self._owner, self._number
        self._number += 1
        if known not in self._learned:
            self.parameters += math.prod(shape)
            array = self._random.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
            self._learned[known] = self.fixed(array.astype(np.float32))
        return self._learned[known]

    def fixed(self, array: np.ndarray) -> str:
        name = self.name()
        self.weights.append(numpy_helper.from_array(array, name))
        return name


def window(layer) -> dict:
    pads = [n for side in zip(*layer["pads"], strict=True) for n in side]
    return {"kernel_shape": layer["kernel"], "strides": layer["stride"], "pads": pads}


def conv(graph, layer, x, groups=None):
    groups = groups or layer["groups"]
    weight = graph.learned(layer["output"][0], layer["input"][0] // groups, *layer["kernel"])
    inputs = [x, weight] + ([graph.learned(layer["output"][0])] if layer["bias"] else [])
    return graph.node("Conv", inputs, group=groups, dilations=layer["dilation"], **window(layer))


def transposed_conv(graph, layer, x):
    weight = graph.learned(layer["input"][0], layer["output"][0] // layer["groups"], *layer["kernel"])
    inputs = [x, weight] + ([graph.learned(layer["output"][0])] if layer["bias"] else [])
    options = {"group": layer["groups"], "dilations": layer["dilation"], "output_padding": layer["output_padding"]}
    return graph.node("ConvTranspose", inputs, **options, **window(layer))


def dense(graph, layer, x):
    weight = graph.learned(layer["output"][0], layer["input"][0])
    inputs = [x, weight] + ([graph.learned(layer["output"][0])] if layer["bias"] else [])
    return graph.node("Gemm", inputs, transB=1)


def global_pool(kind):
    def apply(graph, layer, x):
        y = graph.node(kind, [x])
        return graph.node("Flatten", [y]) if len(layer["output"]) == 1 else y

    return apply


def channel_max_pool(graph, layer, x):
    first = np.arange(layer["output"][0]) * (layer["stride"] or layer["size"])
    groups = graph.node("Gather", [x, graph.fixed(first[:, None] + np.arange(layer["size"]))], axis=1)
    return graph.node("ReduceMax", [groups], axes=[2], keepdims=0)


def avg_pool(graph, layer, x):
    if set(layer["dilation"]) != {1}:
        raise ValueError(f"ONNX has no dilated average in opset {OPSET}")
    counted = layer["count_padding"] or layer["trainable"]
    y = graph.node("AveragePool", [x], count_include_pad=int(counted), **window(layer))
    if not layer["trainable"]:
        return y
    sums, axes = graph.node("Mul", [y, number(graph, math.prod(layer["kernel"]))]), [1] * len(layer["pads"])
    scaled = graph.node("Mul", [sums, graph.learned(layer["input"][0], *axes)])
    return graph.node("Add", [scaled, graph.learned(layer["input"][0], *axes)])


def rbf(graph, layer, x):
    shape = layer["units"], layer["input"][0]
    codes = graph.learned(*shape) if layer["trainable"] else graph.fixed(np.ones(shape, np.float32))
    rows = graph.node("Unsqueeze", [x, graph.fixed(np.array([1], np.int64))])
    apart = graph.node("Sub", [rows, codes])
    distances = graph.node("ReduceSumSquare", [apart], axes=[2], keepdims=0)
    return graph.node("Neg", [distances])


def upsample(graph, layer, x):
    axes = zip(layer["output"][1:], layer["input"][1:], strict=True)
    scales = graph.fixed(np.array([1, 1, *(after / before for after, before in axes)], np.float32))
    if layer["mode"] == "linear":
        return graph.node("Resize", [x, "", scales], mode="linear")  # by half-pixel centres unless told otherwise
    options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", [x, "", scales], mode="nearest", **options)


def pad(graph, layer, x):
    befores, afters = zip(*layer["pads"], strict=True)
    pads = graph.fixed(np.array([0, 0, *befores, 0, 0, *afters], np.int64))
    mode = "constant" if layer["mode"] == "zero" else layer["mode"]
    return graph.node("Pad", [x, pads, number(graph, layer["value"])], mode=mode)


def crop(graph, layer, x):
    befores, afters = zip(*layer["pads"], strict=True)
    ends = [size - after for size, after in zip(layer["input"][1:], afters, strict=True)]
    axes = range(2, 2 + len(ends))
    return graph.node("Slice", [x, *(graph.fixed(np.array(of, np.int64)) for of in (befores, ends, axes))])


def batch_norm(graph, layer, x):
    channels = layer["input"][0]
    moments = [graph.fixed(np.full(channels, value, np.float32)) for value in (0, 1)]
    inputs = [x, graph.learned(channels), graph.learned(channels), *moments]
    return graph.node("BatchNormalization", inputs, epsilon=layer["eps"])


def join(graph, layer, *values):
    if layer["way"] == "concat":
        axes = len(layer["output"])
        pads = [0] * (axes + 1) + [0, layer["zeros"]] + [0] * (axes - 1)
        y = graph.node("Concat", list(values), axis=1)
        return graph.node("Pad", [y, graph.fixed(np.array(pads))]) if layer["zeros"] else y
    kind = {"add": "Add", "multiply": "Mul", "max": "Max"}[layer["way"]]
    return reduce(lambda one, other: graph.node(kind, [one, other]), values)


def group_norm(graph, layer, x):
    """As instance normalisation of what has a channel a group: the operator GroupNormalization is of a later opset."""
    channels, axes = layer["input"][0], [1] * (len(layer["input"]) - 1)
    groups = channels if layer["groups"] == "channels" else layer["groups"]
    parts = graph.node("Reshape", [x, graph.fixed(np.array([0, groups, -1], np.int64))])
    plain = [graph.fixed(np.full(groups, value, np.float32)) for value in (1, 0)]
    normal = graph.node("InstanceNormalization", [parts, *plain], epsilon=layer["eps"])
    shares = graph.node("Reshape", [normal, graph.fixed(np.array([0, *layer["input"]], np.int64))])
    scaled = graph.node("Mul", [shares, graph.learned(channels, *axes)])
    return graph.node("Add", [scaled, graph.learned(channels, *axes)])


def lrn(graph, layer, x):
    """Of images of two axes, which is all that ONNX Runtime takes."""
    square = graph.node("Reshape", [x, graph.fixed(np.array([0, layer["input"][0], -1, 1], np.int64))])
    options = {name: layer[name] for name in ("size", "alpha", "beta")}
    y = graph.node("LRN", [square], bias=layer["k"], **options)
    return graph.node("Reshape", [y, graph.fixed(np.array([0, *layer["input"]], np.int64))])


def gelu(graph, layer, x):
    """x / 2 * (1 + erf(x / sqrt(2))), as nodes: the operator Gelu is of a later opset."""
    half, one, root = (number(graph, value) for value in (0.5, 1, math.sqrt(0.5)))
    error = graph.node("Erf", [graph.node("Mul", [x, root])])
    return graph.node("Mul", [graph.node("Mul", [x, half]), graph.node("Add", [error, one])])


def number(graph, value):
    return graph.fixed(np.float32(value))


def relu6(graph, layer, x):
    return graph.node("Clip", [x, number(graph, 0), number(graph, 6)])


def swish(graph, layer, x):
    return graph.node("Mul", [x, graph.node("Sigmoid", [graph.node("Mul", [x, number(graph, layer["beta"])])])])


def scaled_tanh(graph, layer, x):
    inner = graph.node("Tanh", [graph.node("Mul", [x, number(graph, 2 / 3)])])
    return graph.node("Mul", [inner, number(graph, 1.7159)])


def prelu(graph, layer, x):
    axes = [1] * (len(layer["input"]) - 1)
    return graph.node("PRelu", [x, graph.learned(1 if layer["shared"] else layer["input"][0], *axes)])


def plain(kind, *taken):
    """An operator of one input, with attributes of the same name as the layer's options."""
    return lambda graph, layer, x: graph.node(kind, [x], **{name: layer[name] for name in taken})


OPERATORS = {
    "conv": conv,
    "depthwise_conv": lambda graph, layer, x: conv(graph, layer, x, groups=layer["input"][0]),
    "transposed_conv": transposed_conv,
    "dense": dense,
    "flatten": plain("Flatten"),
    "max_pool": lambda graph, layer, x: graph.node("MaxPool", [x], dilations=layer["dilation"], **window(layer)),
    "avg_pool": avg_pool,
    "global_avg_pool": global_pool("GlobalAveragePool"),
    "global_max_pool": global_pool("GlobalMaxPool"),
    "channel_max_pool": channel_max_pool,
    "upsample": upsample,
    "pad": pad,
    "crop": crop,
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "lrn": lrn,
    "rbf": rbf,
    "join": join,
    "dropout": lambda graph, layer, x: x,
    "relu": plain("Relu"),
    "leaky_relu": plain("LeakyRelu", "alpha"),
    "elu": plain("Elu", "alpha"),
    "gelu": gelu,
    "sigmoid": plain("Sigmoid"),
    "tanh": plain("Tanh"),
    "relu6": relu6,
    "softplus": plain("Softplus"),
    "swish": swish,
    "scaled_tanh": scaled_tanh,
    "prelu": prelu,
    "softmax": lambda graph, layer, x: graph.node("Softmax", [x], axis=1),
    "log_softmax": lambda graph, layer, x: graph.node("LogSoftmax", [x], axis=1),
}


def followed(graph: Graph, layers: list[dict], x: str) -> str:
    """Append layers, each behind those that it reads; the name of the last one's output."""
    values = [x]
    for layer in layers:
        graph.begin(layer["owner"])
        values.append(OPERATORS[layer["kind"]](graph, layer, *(values[value] for value in layer["inputs"])))
    return values[-1]


def model(program: dict, batch: int) -> tuple[bytes, int]:
    """A serialised ONNX model for batches of one size, with input "x", and how many numbers it has learned."""
    graph, tensor = Graph(), partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    last = followed(graph, program["layers"], "x")
    inputs = [tensor("x", shape=[batch, *program["input"]])]
    outputs = [tensor(last, shape=[batch, program["classes"]])]
    whole = helper.make_graph(graph.nodes, "network", inputs, outputs, graph.weights)
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return made.SerializeToString(), graph.parameters
