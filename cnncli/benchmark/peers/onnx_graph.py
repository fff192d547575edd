"""A network for inference as an ONNX model, with random weights: for the peers that read nothing else."""

import math
from functools import partial

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8  # what every version of the last years reads


class Graph:
    """Nodes and weights, layer by layer; `parameters` counts what a training would learn."""

    def __init__(self):
        self.nodes, self.weights, self.parameters = [], [], 0
        self._random, self._names = np.random.default_rng(0), 0

    def name(self) -> str:
        self._names += 1
        return f"t{self._names}"

    def node(self, kind: str, inputs: list[str], **attributes) -> str:
        output = self.name()
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def learned(self, *shape: int) -> str:
        self.parameters += math.prod(shape)
        return self.fixed((self._random.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32))

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


def global_avg_pool(graph, layer, x):
    y = graph.node("GlobalAveragePool", [x])
    return graph.node("Flatten", [y]) if len(layer["output"]) == 1 else y


def batch_norm(graph, layer, x):
    channels = layer["input"][0]
    moments = [graph.fixed(np.full(channels, value, np.float32)) for value in (0, 1)]
    inputs = [x, graph.learned(channels), graph.learned(channels), *moments]
    return graph.node("BatchNormalization", inputs, epsilon=layer["eps"])


def residual(graph, layer, x):
    return graph.node("Add", [sequence(graph, layer["main"], x), sequence(graph, layer["shortcut"], x)])


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
    "transposed_conv": transposed_conv,
    "dense": dense,
    "flatten": plain("Flatten"),
    "max_pool": lambda graph, layer, x: graph.node("MaxPool", [x], **window(layer)),
    "avg_pool": lambda graph, layer, x: graph.node(
        "AveragePool", [x], count_include_pad=int(layer["count_padding"]), **window(layer)
    ),
    "global_avg_pool": global_avg_pool,
    "batch_norm": batch_norm,
    "residual": residual,
    "dropout": lambda graph, layer, x: x,
    "relu": plain("Relu"),
    "leaky_relu": plain("LeakyRelu", "alpha"),
    "elu": plain("Elu", "alpha"),
    "gelu": gelu,
    "sigmoid": plain("Sigmoid"),
    "tanh": plain("Tanh"),
}


def sequence(graph: Graph, layers: list[dict], x: str) -> str:
    """Append layers one after the other; the name of the last one's output."""
    for layer in layers:
        x = OPERATORS[layer["kind"]](graph, layer, x)
    return x


def model(program: dict, batch: int) -> tuple[bytes, int]:
    """A serialised ONNX model for batches of one size, with input "x", and how many numbers it has learned."""
    graph, tensor = Graph(), partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    last = sequence(graph, program["layers"], "x")
    inputs = [tensor("x", shape=[batch, *program["input"]])]
    outputs = [tensor(last, shape=[batch, program["classes"]])]
    whole = helper.make_graph(graph.nodes, "network", inputs, outputs, graph.weights)
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return made.SerializeToString(), graph.parameters
