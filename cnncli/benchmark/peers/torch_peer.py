"""PyTorch as a peer: a worker process, run as a script with a memory layout as its argument (eager, channels_last)."""

import math
import sys
import time
from functools import partial, reduce

import torch
from serving import PARTS, first_training, serve
from torch import nn
from torch.nn import functional

LAYOUT = sys.argv[1]


class Join(nn.Module):
    """Several values become one."""

    def __init__(self, layer):
        super().__init__()
        self.way, self.zeros = layer["way"], layer["zeros"]

    def forward(self, *values):
        if self.way == "concat":
            empty = [values[0].new_zeros(len(values[0]), self.zeros, *values[0].shape[2:])] if self.zeros else []
            return torch.cat([*values, *empty], 1)
        return reduce({"add": torch.add, "multiply": torch.mul, "max": torch.maximum}[self.way], values)


class Graph(nn.Module):
    """Layers that read each other's values, which are forgotten behind their last reader."""

    def __init__(self, layers):
        super().__init__()
        names = [f"join {i}" if of["kind"] == "join" else called(of["owner"]) for i, of in enumerate(layers)]
        self.order = [(name, layer["inputs"]) for name, layer in zip(names, layers, strict=True)]
        last = {value: i for i, (_, inputs) in enumerate(self.order) for value in inputs}
        self.done = [[value for value in set(inputs) if last[value] == i] for i, (_, inputs) in enumerate(self.order)]
        for layer, (name, _) in zip(layers, self.order, strict=True):
            if name not in self._modules:
                self.add_module(name, MODULES[layer["kind"]](layer))

    def forward(self, x):
        values = {0: x}
        for i, ((name, inputs), done) in enumerate(zip(self.order, self.done, strict=True), 1):
            values[i] = self._modules[name](*(values[value] for value in inputs))
            for value in done:
                del values[value]
        return values[len(self.order)]


def called(path: str) -> str:
    """A path as the name of a module, which has no dots."""
    return path.replace(".", "/")


def symmetric(layer) -> bool:
    """Whether padding both sides by what is before gives the same: what no window reaches does no harm."""
    sizes, axes = zip(layer["input"][1:], layer["output"][1:], strict=True), ("kernel", "stride", "dilation", "pads")
    for (size, out), k, s, d, (before, after) in zip(sizes, *(layer[name] for name in axes), strict=True):
        if after > before or (size + 2 * before - (k - 1) * d - 1) // s + 1 != out:
            return False
    return True


def windowed(make, layer, most, fill=0.0):
    """`make(padding=...)`, or behind a layer that pads where the sides differ or there is more than torch allows."""
    pads = layer["pads"]
    if symmetric(layer) and all(before <= limit for (before, _), limit in zip(pads, most, strict=True)):
        return make(padding=[before for before, _ in pads])
    around = [n for pair in reversed(pads) for n in pair]
    return nn.Sequential(getattr(nn, f"ConstantPad{len(pads)}d")(around, fill), make(padding=0))


def conv(layer, groups=None):
    kind, any_padding = getattr(nn, f"Conv{len(layer['pads'])}d"), [float("inf")] * len(layer["pads"])
    options = {name: layer[name] for name in ("stride", "dilation", "bias")} | {"groups": groups or layer["groups"]}
    make = partial(kind, layer["input"][0], layer["output"][0], layer["kernel"], **options)
    return windowed(make, layer, any_padding)


def transposed_conv(layer):
    kind, pads = getattr(nn, f"ConvTranspose{len(layer['pads'])}d"), layer["pads"]
    options = {name: layer[name] for name in ("stride", "dilation", "bias", "groups", "output_padding")}
    make = partial(kind, layer["input"][0], layer["output"][0], layer["kernel"], **options)
    if all(before == after for before, after in pads):
        return make(padding=[before for before, _ in pads])
    cut = [-n for pair in reversed(pads) for n in pair]
    return nn.Sequential(make(), getattr(nn, f"ConstantPad{len(pads)}d")(cut, 0.0))


def pool(layer, name, fill, **options):
    kind = getattr(nn, f"{name}{len(layer['pads'])}d")
    make = partial(kind, layer["kernel"], layer["stride"], **options)
    return windowed(make, layer, [size // 2 for size in layer["kernel"]], fill)


def avg_pool(layer):
    if not layer["count_padding"] and not symmetric(layer):
        raise ValueError("torch has no average over the inside with unequal padding")
    if set(layer["dilation"]) != {1}:
        raise ValueError("torch has no dilated average")
    return pool(layer, "AvgPool", 0.0, count_include_pad=layer["count_padding"])


class Subsampling(nn.Module):
    """A sum over each window, which is the mean with the padding times its size, with a learned scale and shift."""

    def __init__(self, layer):
        super().__init__()
        channels, self.size = layer["input"][0], math.prod(layer["kernel"])
        self.pool, self.by_channel = avg_pool(layer | {"count_padding": True}), [-1, *[1] * len(layer["pads"])]
        self.weight = nn.Parameter(torch.full((channels,), 1 / self.size))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        scale, shift = self.weight.view(self.by_channel), self.bias.view(self.by_channel)
        return self.pool(x) * self.size * scale + shift


class Rbf(nn.Module):
    """Minus the squared distances to codes of 1 and -1."""

    def __init__(self, layer):
        super().__init__()
        codes = torch.randint(0, 2, (layer["units"], layer["input"][0])) * 2.0 - 1
        self.weight = nn.Parameter(codes) if layer["trainable"] else nn.Buffer(codes)

    def forward(self, x):
        return -(x[:, None] - self.weight).square().sum(2)


def batch_norm(layer):
    kind = getattr(nn, f"BatchNorm{max(1, len(layer['input']) - 1)}d")
    return kind(layer["input"][0], layer["eps"], layer["momentum"])


def global_pool(layer, name):
    pooled = getattr(nn, f"{name}{len(layer['input']) - 1}d")(1)
    return nn.Sequential(pooled, nn.Flatten()) if len(layer["output"]) == 1 else pooled


class Function(nn.Module):
    """A function of the input, without parameters."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


def swish(layer):
    return nn.SiLU() if layer["beta"] == 1 else Function(lambda x: x * torch.sigmoid(layer["beta"] * x))


def channel_max_pool(layer):
    size, stride = layer["size"], layer["stride"] or layer["size"]
    return Function(lambda x: x.unfold(1, size, stride).max(-1).values)  # amax shares gradients among equals


def upsample(layer):
    rank = len(layer["input"]) - 1
    scale = layer["scale"] if isinstance(layer["scale"], list) else [layer["scale"]] * rank
    linear = ["linear", "bilinear", "trilinear"][rank - 1]
    return nn.Upsample(scale_factor=tuple(scale), mode=linear if layer["mode"] == "linear" else "nearest")


def pad(layer):
    around = [n for pair in reversed(layer["pads"]) for n in pair]
    mode = {"zero": "constant", "edge": "replicate"}.get(layer["mode"], layer["mode"])
    value = layer["value"] if mode == "constant" else None
    return Function(lambda x: functional.pad(x, around, mode, value))


def crop(layer):
    inside = [slice(before, n - after) for n, (before, after) in zip(layer["input"][1:], layer["pads"], strict=True)]
    return Function(lambda x: x[(..., *inside)])


def prelu(layer):
    return nn.PReLU(1 if layer["shared"] else layer["input"][0], layer["slope"])


def group_norm(layer):
    channels = layer["input"][0]
    return nn.GroupNorm(channels if layer["groups"] == "channels" else layer["groups"], channels, layer["eps"])


def dropout(layer):
    kind = f"Dropout{len(layer['input']) - 1}d" if layer["spatial"] else "Dropout"
    return getattr(nn, kind)(layer["rate"])


MODULES = {
    "conv": conv,
    "depthwise_conv": lambda layer: conv(layer, groups=layer["input"][0]),
    "transposed_conv": transposed_conv,
    "dense": lambda layer: nn.Linear(layer["input"][0], layer["output"][0], layer["bias"]),
    "flatten": lambda layer: nn.Flatten(),
    "max_pool": lambda layer: pool(layer, "MaxPool", float("-inf"), dilation=layer["dilation"]),
    "avg_pool": lambda layer: Subsampling(layer) if layer["trainable"] else avg_pool(layer),
    "global_avg_pool": lambda layer: global_pool(layer, "AdaptiveAvgPool"),
    "global_max_pool": lambda layer: global_pool(layer, "AdaptiveMaxPool"),
    "channel_max_pool": channel_max_pool,
    "upsample": upsample,
    "pad": pad,
    "crop": crop,
    "batch_norm": batch_norm,
    "rbf": Rbf,
    "join": Join,
    "group_norm": group_norm,
    "lrn": lambda layer: nn.LocalResponseNorm(*(layer[name] for name in ("size", "alpha", "beta", "k"))),
    "dropout": dropout,
    "relu": lambda layer: nn.ReLU(),
    "leaky_relu": lambda layer: nn.LeakyReLU(layer["alpha"]),
    "elu": lambda layer: nn.ELU(layer["alpha"]),
    "gelu": lambda layer: nn.GELU(),
    "sigmoid": lambda layer: nn.Sigmoid(),
    "tanh": lambda layer: nn.Tanh(),
    "relu6": lambda layer: nn.ReLU6(),
    "softplus": lambda layer: nn.Softplus(),
    "swish": swish,
    "scaled_tanh": lambda layer: Function(lambda x: 1.7159 * torch.tanh(x * (2 / 3))),
    "prelu": prelu,
    "softmax": lambda layer: nn.Softmax(1),
    "log_softmax": lambda layer: nn.LogSoftmax(1),
}
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, ("momentum", "nesterov", "weight_decay")),
    "adam": (torch.optim.Adam, ("betas", "eps", "weight_decay")),
    "adamw": (torch.optim.AdamW, ("betas", "eps", "weight_decay")),
    "rmsprop": (torch.optim.RMSprop, ("alpha", "eps", "momentum", "weight_decay")),
}


def laid_out(item):
    """A module or a tensor in the layout of this process."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if LAYOUT == "eager":
        return item
    if isinstance(item, torch.Tensor):
        return item.contiguous(memory_format=formats[item.dim()]) if item.dim() in formats else item
    ranks = {parameter.dim() for parameter in item.parameters()} & set(formats)
    return item.to(memory_format=formats[ranks.pop()]) if len(ranks) == 1 else item


def network(request):
    torch.manual_seed(0)
    torch.set_num_threads(request["threads"])
    started = time.perf_counter()
    program, batch = request["program"], request["batch"]
    net, x = laid_out(Graph(program["layers"])), laid_out(torch.randn(batch, *program["input"]))
    target = torch.randint(0, program["classes"], (batch,))
    kind, taken = OPTIMIZERS[program["optimizer"]["kind"]]
    options = {name: program["optimizer"][name] for name in taken}
    optimizer = kind(net.parameters(), lr=request["lr"], **options)

    def loss():
        if program["loss"] == "mean_squared_error":
            return functional.mse_loss(net(x), functional.one_hot(target, program["classes"]).float())
        return functional.cross_entropy(net(x), target, label_smoothing=program["label_smoothing"])

    def train():
        if not net.training:
            net.train()
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    def forward(samples):
        if net.training:
            net.eval()
        with torch.inference_mode():
            net(samples)

    one = laid_out(x[:1].clone())
    known = first_training(train, started)
    tasks = {"train": train, "infer": lambda: forward(x), "latency": lambda: forward(one)}
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return tasks, {"parameters": parameters, **known}


def losses(request):
    """The losses of steps of SGD with momentum 0.9 on one batch, from given parameters: no time, only the same work.

    `file` holds x, labels and the parameters by our names; torch has no running averages of a step's own.
    """
    import numpy as np

    arrays, kind = dict(np.load(request["file"])), getattr(torch, request["dtype"])
    torch.set_num_threads(request["threads"])
    x, target = torch.from_numpy(arrays.pop("x")).to(kind), torch.from_numpy(arrays.pop("labels"))
    net = Graph(request["program"]["layers"]).to(kind)
    parts = {name: name.rpartition(".") for name in arrays if "@" not in name}
    names = {name: f"{called(path)}.{last}" for name, (path, _, last) in parts.items()}
    missing, unknown = net.load_state_dict({names[n]: torch.from_numpy(arrays[n]) for n in names}, strict=False)
    wrong = [*unknown, *(name for name in missing if not name.endswith("num_batches_tracked"))]
    if wrong:
        raise ValueError(f"parameters that only one side has: {wrong}")
    optimizer, found = torch.optim.SGD(net.parameters(), lr=request["lr"], momentum=0.9), []
    for _ in range(request["steps"]):
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return {}, {"losses": found}


def convolution(request):
    """Forward and each gradient of one convolution without a bias, as autograd calls them."""
    torch.set_num_threads(request["threads"])
    layer = request["layer"]
    padding, rank = [before for before, _ in layer["pads"]], len(layer["pads"])
    options = [layer["stride"], padding, layer["dilation"], False, [0] * rank, layer["groups"]]
    x = laid_out(torch.randn(request["batch"], *layer["input"]))
    w = laid_out(torch.randn(layer["output"][0], layer["input"][0] // layer["groups"], *layer["kernel"]))
    dy = laid_out(torch.randn_like(torch.convolution(x, w, None, *options)))

    def gradient(*mask):
        return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, *options, [*mask, False])

    tasks = (lambda: torch.convolution(x, w, None, *options), gradient(True, False), gradient(False, True))
    return dict(zip(PARTS, tasks, strict=True)), {}


serve(torch.__version__, {"network": network, "convolution": convolution, "losses": losses})
