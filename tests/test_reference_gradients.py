"""Every layer forward and backward against PyTorch's autograd, on random shapes, in float64: the same to rounding.

Layers that join several values are compared in whole networks (`test_agreement`), `unpool` in `test_unpool`.
"""

import math

import numpy as np
import pytest
from bound import Bound
from cases import Case, connected, window_options
from test_layers import GRAPHS
from test_reference import CONVOLUTIONS, random_case, torch_function

from cnncli.layers import LAYERS

MOST = 50, 12, 6  # the longest axis of one, two and three
CHANCE = ["dropout"]  # PyTorch's random numbers are others


def numbers(generator, low, high, many):
    return generator.integers(low, high + 1, many).tolist()


def shaped(generator):
    """Channels and axes of one to three dimensions."""
    rank = int(generator.integers(1, 4))
    return int(generator.integers(1, 13)), tuple(numbers(generator, 2, MOST[rank - 1], rank))


def plain(options=lambda generator, channels, axes: {}, shape=shaped):
    def draw(generator):
        channels, axes = shape(generator)
        return channels, axes, options(generator, channels, axes)

    return draw


def flat(generator):
    return int(generator.integers(1, 40)), ()


def windows(size, dilated=True, **more):
    """Windows of any size, stride, dilation and padding; `more` are functions of the generator and the axes."""

    def options(generator, channels, axes):
        rank = len(axes)
        kernel, stride = numbers(generator, 1, 4, rank), numbers(generator, 1, 3, rank)
        limit = [k + 1 if size == "kernel" else max(1, k // 2) for k in kernel]
        found = {size: kernel, "stride": stride, "padding": [numbers(generator, 0, n - 1, 2) for n in limit]}
        if dilated:
            found["dilation"] = numbers(generator, 1, 2, rank)
        return found | {name: draw(generator, axes) for name, draw in more.items()}

    return plain(options)


def filters(generator, axes):
    return int(generator.integers(1, 10))


def chosen(*values):
    return lambda generator, *of: values[generator.integers(len(values))]


def divisor(generator, channels, axes):
    return {"groups": int(generator.choice([n for n in range(1, channels + 1) if channels % n == 0]))}


def around(pairs):
    """(before, after) of each axis as torch takes them, the last axis first."""
    return [n for pair in reversed(pairs) for n in pair]


def per_channel(values, x):
    return values.reshape(-1, *[1] * (x.ndim - 2))


def unfolded(torch, case, x, size, fill=0.0):
    """The windows of x: (N, C, *outputs, *kernel)."""
    kernel, stride, dilation, padding = window_options(case, size)
    found = torch.nn.functional.pad(x, around(padding), value=fill)
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), 2):
        found = found.unfold(axis, (k - 1) * d + 1, s)[..., ::d]
    return found


def unshared(torch, case, x, p):
    """Windows by the weights of their place: those of `tiles` cycle along each axis."""
    rank, taken = len(case.axes), unfolded(torch, case, x, "kernel")
    weight, bias = p["weight"], p["bias"]
    for axis, places in enumerate(taken.shape[2 : 2 + rank], 1):
        cycle = torch.arange(places) % weight.shape[axis]
        weight = weight.index_select(axis, cycle)
        bias = bias.index_select(axis, cycle) if case.options["bias"] is True else bias
    places, taps = "xyz"[:rank], "uvw"[:rank]
    y = torch.einsum(f"nc{places}{taps},o{places}c{taps}->no{places}", taken, weight)
    return y + (bias if case.options["bias"] is True else per_channel(bias, y))


def normalized_conv(torch, case, x, p):
    """Windows of mean 0, if asked, and of one variance, by the weights."""
    rank, taken = len(case.axes), unfolded(torch, case, x, "kernel")
    within = 1, *range(2 + rank, 2 + 2 * rank)
    if case.options["center"]:
        taken = taken - taken.mean(within, keepdim=True)
    taken = taken / (taken.square().mean(within, keepdim=True) + case.options["eps"]).sqrt()
    places, taps = "xyz"[:rank], "uvw"[:rank]
    y = torch.einsum(f"nc{places}{taps},oc{taps}->no{places}", taken, p["weight"])
    return y + per_channel(p["bias"], y)


def max_pool(torch, case, x, p):
    taken = unfolded(torch, case, x, "size", -math.inf)
    return taken.flatten(2 + len(case.axes)).max(-1).values


def avg_pool(torch, case, x, p):
    rank = len(case.axes)
    sums = unfolded(torch, case, x, "size").flatten(2 + rank).sum(-1)
    if case.options.get("trainable"):
        return sums * per_channel(p["weight"], x) + per_channel(p["bias"], x)
    if case.options.get("count_padding"):
        return sums / math.prod(case.options["size"])
    return sums / unfolded(torch, case, torch.ones_like(x), "size").flatten(2 + rank).sum(-1)


def convolution(torch, case, x, p):
    """What a `conv` can do beside PyTorch's."""
    weight = p["weight"] * torch.tensor(connected(case), dtype=x.dtype)
    weight = weight.flip(tuple(range(2, weight.ndim))) if case.options.get("flip") else weight
    _, stride, dilation, padding = window_options(case, "kernel")
    convolve = getattr(torch.nn.functional, f"conv{len(case.axes)}d")
    y = convolve(torch.nn.functional.pad(x, around(padding)), weight, None, stride, 0, dilation)
    return y + (p["bias"] if case.options.get("bias") == "untied" else per_channel(p["bias"], y))


def connections(generator, channels, axes):
    rows = [sorted(generator.choice(channels, int(generator.integers(1, channels + 1)), False)) for _ in range(5)]
    return {"filters": 5, "kernel": 1, "connections": [[int(n) for n in row] for row in rows]}


def batch_norm(torch, case, x, p):
    return torch.nn.functional.batch_norm(x, None, None, p["weight"], p["bias"], training=True)


def group_norm(torch, case, x, p):
    return torch.nn.functional.group_norm(x, case.options["groups"], p["weight"], p["bias"])


def upsample(torch, case, x, p):
    linear = ["linear", "bilinear", "trilinear"][len(case.axes) - 1]
    mode, scale = (linear if case.options["mode"] == "linear" else "nearest"), tuple(case.options["scale"])
    return torch.nn.functional.interpolate(x, scale_factor=scale, mode=mode)


def pad(torch, case, x, p):
    mode = {"zero": "constant", "edge": "replicate"}.get(case.options["mode"], case.options["mode"])
    value = case.options.get("value", 0.0) if mode == "constant" else None
    return torch.nn.functional.pad(x, around(case.options["padding"]), mode, value)


def padded(generator, channels, axes):
    mode = chosen("zero", "constant", "reflect", "edge")(generator)
    found = {"mode": mode, "padding": [numbers(generator, 0, n - 1, 2) for n in axes]}
    return found | ({"value": 1.5} if mode == "constant" else {})


def crop(torch, case, x, p):
    return torch.nn.functional.pad(x, [-n for n in around(case.options["pixels"])])


def cropped(generator, channels, axes):
    return {"pixels": [numbers(generator, 0, (n - 1) // 2, 2) for n in axes]}


def lrn(torch, case, x, p):
    of = case.options
    return torch.nn.functional.local_response_norm(x, of["size"], of["alpha"], of["beta"], of["k"])


def channel_max_pool(torch, case, x, p):
    return x.unfold(1, case.options["size"], case.options["stride"]).max(-1).values


def channel_groups(generator, channels, axes):
    return {"size": int(generator.integers(1, channels + 1)), "stride": int(generator.integers(1, 4))}


def calls(name, **options):
    """A function of torch.nn.functional; `options` are ours by its names."""

    def function(torch, case, x, p):
        given = {theirs: case.options[ours] for theirs, ours in options.items()}
        return getattr(torch.nn.functional, name)(x, **given)

    return function


def lines(torch, case, x, p):
    return torch_function(torch, case)(x, p)


def of(kind):
    """A case of `test_reference`."""

    def draw(generator):
        case = random_case(int(generator.integers(10**6)), kind)
        return case.channels, case.axes, case.options

    return draw


SLOPE = plain(chosen({"shared": True}, {"shared": False}))
ALPHA, BETA = plain(chosen({"alpha": 0.25}, {"alpha": 0.5})), plain(chosen({"beta": 0.5}, {"beta": 2.0}))
ANY_BIAS = chosen(True, "tied")

# (layer, how a case of it is drawn, its function in PyTorch)
TABLE = [
    *((kind, of(kind), lines) for kind in (*CONVOLUTIONS, "dense")),
    ("conv", windows("kernel", filters=filters, flip=chosen(True), bias=chosen(True, "untied")), convolution),
    ("conv", plain(connections), convolution),
    ("local_conv", windows("kernel", filters=filters, bias=ANY_BIAS), unshared),
    ("tiled_conv", windows("kernel", filters=filters, bias=ANY_BIAS, tiles=lambda g, axes: numbers(g, 1, 3, len(axes))),
     unshared),
    ("normalized_conv", windows("kernel", filters=filters, center=chosen(True, False), eps=chosen(0.01)),
     normalized_conv),
    ("max_pool", windows("size"), max_pool),
    ("avg_pool", windows("size", count_padding=chosen(True, False)), avg_pool),
    ("avg_pool", windows("size", trainable=chosen(True)), avg_pool),
    ("global_avg_pool", plain(), lambda torch, case, x, p: x.flatten(2).mean(2)),
    ("global_max_pool", plain(), lambda torch, case, x, p: x.flatten(2).max(2).values),
    ("channel_max_pool", plain(channel_groups), channel_max_pool),
    ("flatten", plain(), lambda torch, case, x, p: x.flatten(1)),
    ("upsample", plain(lambda g, channels, axes: {"scale": numbers(g, 1, 3, len(axes)),
                                                  "mode": chosen("nearest", "linear")(g)}), upsample),
    ("pad", plain(padded), pad),
    ("crop", plain(cropped), crop),
    ("batch_norm", plain(), batch_norm),
    ("group_norm", plain(divisor), group_norm),
    ("lrn", plain(lambda g, channels, axes: {"size": chosen(1, 3, 5)(g), "alpha": 2.0, "beta": 0.75, "k": 2.0}), lrn),
    ("prelu", SLOPE, lambda torch, case, x, p: torch.nn.functional.prelu(x, p["weight"])),
    ("rbf", plain(lambda g, channels, axes: {"units": filters(g, axes), "trainable": True}, flat),
     lambda torch, case, x, p: -(x[:, None] - p["weight"]).square().sum(2)),
    *((kind, plain(), calls(kind)) for kind in ("relu", "relu6", "gelu", "sigmoid", "tanh", "softplus")),
    ("leaky_relu", ALPHA, calls("leaky_relu", negative_slope="alpha")),
    ("elu", ALPHA, calls("elu", alpha="alpha")),
    ("swish", BETA, lambda torch, case, x, p: x * torch.sigmoid(case.options["beta"] * x)),
    ("scaled_tanh", plain(), lambda torch, case, x, p: 1.7159 * torch.tanh(x * (2 / 3))),
    ("softmax", plain(), lambda torch, case, x, p: torch.softmax(x, 1)),
    ("log_softmax", plain(), lambda torch, case, x, p: torch.log_softmax(x, 1)),
]  # fmt: skip


def drawn(kind, draw, seed):
    """A case that fits; a window larger than its input, or in the padding alone, is drawn anew."""
    generator = np.random.default_rng(seed)
    while True:
        channels, axes, options = draw(generator)
        case = Case(kind, channels, axes, options, int(generator.integers(2, 5)))
        try:
            case.layer.output_shape(case.shape)
        except ValueError:
            continue
        return case


def normals(generator, shape):
    return generator.normal(size=shape)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_gradients_are_pytorchs(row, seed):
    torch = pytest.importorskip("torch", reason="needs torch")
    kind, draw, function = row
    case = drawn(kind, draw, seed)
    bound, generator = Bound(case, np.float64, wider=1 + seed), np.random.default_rng(seed)
    x, parameters, dy = bound.random(generator, normals)
    bound.set(x, parameters)
    tensors = {name: torch.tensor(a, requires_grad=True) for name, a in {"x": x, **parameters}.items()}
    y = function(torch, case, tensors["x"], tensors)
    y.backward(torch.tensor(dy))
    np.testing.assert_allclose(bound.forward(), y.detach().numpy(), rtol=1e-10, atol=1e-10)
    dx, gradients = bound.backward(dy)
    for name, gradient in {"x": dx, **gradients}.items():
        wanted = tensors[name].grad.numpy()
        np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-10 * (1 + abs(wanted).max()))


def test_every_layer_is_compared():
    assert {kind for kind, *_ in TABLE} == set(LAYERS) - {*GRAPHS, *CHANCE}
