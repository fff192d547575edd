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


def dense(graph, layer, x):
    weight = graph.learned(layer["output"][0], layer["input"][0])
    inputs = [x, weight] + ([graph.learned(layer["output"][0])] if layer["bias"] else [])
    return graph.node("Gemm", inputs, transB=1)


def avg_pool(graph, layer, x):
    if set(layer["dilation"]) != {1}:
        raise ValueError(f"ONNX has no dilated average in opset {OPSET}")
    return graph.node("AveragePool", [x], count_include_pad=int(layer["count_padding"]), **window(layer))


def global_avg_pool(graph, layer, x):
    y = graph.node("GlobalAveragePool", [x])
    return graph.node("Flatten", [y]) if len(layer["output"]) == 1 else y


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


def gelu(graph, layer, x):
    """x / 2 * (1 + erf(x / sqrt(2))), as nodes: the operator Gelu is of a later opset."""
    half, one, root = (graph.fixed(np.float32(value)) for value in (0.5, 1, math.sqrt(0.5)))
    error = graph.node("Erf", [graph.node("Mul", [x, root])])
    return graph.node("Mul", [graph.node("Mul", [x, half]), graph.node("Add", [error, one])])


def plain(kind, *taken):
    """An operator of one input, with attributes of the same name as the layer's options."""
    return lambda graph, layer, x: graph.node(kind, [x], **{name: layer[name] for name in taken})


OPERATORS = {
    "conv": conv,
    "depthwise_conv": lambda graph, layer, x: conv(graph, layer, x, groups=layer["input"][0]),
    "dense": dense,
    "flatten": plain("Flatten"),
    "max_pool": lambda graph, layer, x: graph.node("MaxPool", [x], dilations=layer["dilation"], **window(layer)),
    "avg_pool": avg_pool,
    "global_avg_pool": global_avg_pool,
    "batch_norm": batch_norm,
    "join": join,
    "dropout": lambda graph, layer, x: x,
    "relu": plain("Relu"),
    "leaky_relu": plain("LeakyRelu", "alpha"),
    "elu": plain("Elu", "alpha"),
    "gelu": gelu,
    "sigmoid": plain("Sigmoid"),
    "tanh": plain("Tanh"),
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
