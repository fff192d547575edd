"""PyTorch as a peer: a worker process, run as a script with a memory layout as its argument (eager, channels_last)."""

import re
import sys
import time
from functools import partial

import torch
from serving import PARTS, first_training, serve
from torch import nn
from torch.nn import functional

LAYOUT = sys.argv[1]


class Residual(nn.Module):
    """main(x) + shortcut(x)."""

    def __init__(self, layer):
        super().__init__()
        self.main, self.shortcut = sequence(layer["main"]), sequence(layer["shortcut"])

    def forward(self, x):
        return self.main(x) + self.shortcut(x)


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
    return pool(layer, "AvgPool", 0.0, count_include_pad=layer["count_padding"])


def batch_norm(layer):
    kind = getattr(nn, f"BatchNorm{max(1, len(layer['input']) - 1)}d")
    return kind(layer["input"][0], layer["eps"], layer["momentum"])


def global_avg_pool(layer):
    average = getattr(nn, f"AdaptiveAvgPool{len(layer['input']) - 1}d")(1)
    return nn.Sequential(average, nn.Flatten()) if len(layer["output"]) == 1 else average


MODULES = {
    "conv": conv,
    "depthwise_conv": lambda layer: conv(layer, groups=layer["input"][0]),
    "transposed_conv": transposed_conv,
    "dense": lambda layer: nn.Linear(layer["input"][0], layer["output"][0], layer["bias"]),
    "flatten": lambda layer: nn.Flatten(),
    "max_pool": lambda layer: pool(layer, "MaxPool", float("-inf")),
    "avg_pool": avg_pool,
    "global_avg_pool": global_avg_pool,
    "batch_norm": batch_norm,
    "residual": Residual,
    "dropout": lambda layer: nn.Dropout(layer["rate"]),
    "relu": lambda layer: nn.ReLU(),
    "leaky_relu": lambda layer: nn.LeakyReLU(layer["alpha"]),
    "elu": lambda layer: nn.ELU(layer["alpha"]),
    "gelu": lambda layer: nn.GELU(),
    "sigmoid": lambda layer: nn.Sigmoid(),
    "tanh": lambda layer: nn.Tanh(),
}
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, ("momentum", "nesterov", "weight_decay")),
    "adam": (torch.optim.Adam, ("betas", "eps", "weight_decay")),
    "adamw": (torch.optim.AdamW, ("betas", "eps", "weight_decay")),
    "rmsprop": (torch.optim.RMSprop, ("alpha", "eps", "momentum", "weight_decay")),
}


def sequence(layers) -> nn.Module:
    return nn.Sequential(*(MODULES[layer["kind"]](layer) for layer in layers))


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
    net, x = laid_out(sequence(program["layers"])), laid_out(torch.randn(batch, *program["input"]))
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

    `file` holds x, labels and the parameters by our names, whose last part but for its number is only for reading.
    """
    import numpy as np

    arrays, kind = dict(np.load(request["file"])), getattr(torch, request["dtype"])
    torch.set_num_threads(request["threads"])
    x, target = torch.from_numpy(arrays.pop("x")).to(kind), torch.from_numpy(arrays.pop("labels"))
    net = sequence(request["program"]["layers"]).to(kind)
    names = {name: re.sub(r"(\d+)_\w+", r"\1", name) for name in arrays}
    missing, unknown = net.load_state_dict({names[n]: torch.from_numpy(a) for n, a in arrays.items()}, strict=False)
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
