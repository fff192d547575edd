"""JAX as a peer: a worker process, run as a script with a layout as its argument (NCHW, NHWC).

All is jit-compiled. A training step leaves out the running averages of batch normalisation, to its favour.
"""

import math
import os
import sys
import time
from functools import partial, reduce

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from serving import PARTS, first_training, serve

FIRST = sys.argv[1] == "NCHW"  # channels before the axes
CHANNELS = 1 if FIRST else -1  # their axis
if hasattr(os, "sched_setaffinity"):  # before XLA makes its threads: there is no other way to say how many
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["OMP_NUM_THREADS"])])
RANDOM = np.random.default_rng(0)


def normal(*shape, scale=1.0):
    return jnp.asarray(RANDOM.standard_normal(shape, np.float32) * np.float32(scale))


def images(shape):
    """Random images of (batch, channels, axes...)."""
    return normal(*shape) if FIRST else normal(shape[0], *shape[2:], shape[1])


def numbers(rank):
    axes = "DHW"[-rank:]
    return (f"NC{axes}", f"OI{axes}", f"NC{axes}") if FIRST else (f"N{axes}C", f"{axes}IO", f"N{axes}C")


def conv_weight(layer, groups):
    shape = (layer["output"][0], layer["input"][0] // groups, *layer["kernel"])
    scale = 1 / math.sqrt(math.prod(shape[1:]))
    return normal(*shape, scale=scale) if FIRST else normal(*shape[2:], shape[1], shape[0], scale=scale)


def correlate(layer, x, weight, groups):
    return lax.conv_general_dilated(
        x, weight, layer["stride"], layer["pads"], rhs_dilation=layer["dilation"], feature_group_count=groups,
        lhs_dilation=layer.get("spread"), dimension_numbers=numbers(len(layer["pads"])),
    )  # fmt: skip


def per_channel(vector, x):
    return vector.reshape(1, -1, *[1] * (x.ndim - 2)) if FIRST else vector


def conv(layer, groups=None):
    groups = groups or layer["groups"]
    weights = {"weight": conv_weight(layer, groups)}
    if layer["bias"]:
        weights["bias"] = jnp.zeros(layer["output"][0])

    def apply(p, x, key):
        y = correlate(layer, x, p["weight"], groups)
        return y + per_channel(p["bias"], y) if "bias" in p else y

    return weights, apply


def transposed_conv(layer):
    """A convolution of the input with its pixels `stride` apart, by the kernels turned round: all are random here."""
    pads = []
    for k, d, (before, after), more in zip(
        *(layer[name] for name in ("kernel", "dilation", "pads", "output_padding")), strict=True
    ):
        pads.append(((k - 1) * d - before, (k - 1) * d - after + more))
    return conv(layer | {"pads": pads, "spread": layer["stride"], "stride": [1] * len(pads)})


def dense(layer):
    c_in, c_out = layer["input"][0], layer["output"][0]
    weights = {"weight": normal(c_in, c_out, scale=1 / math.sqrt(c_in))}
    if layer["bias"]:
        weights["bias"] = jnp.zeros(c_out)
    return weights, lambda p, x, key: x @ p["weight"] + p["bias"] if "bias" in p else x @ p["weight"]


def around(one, axes):
    """A tuple for each axis of images: `axes` along depth, height, width, `one` for batch and channels."""
    return (one, one, *axes) if FIRST else (one, *axes, one)


def reduced(layer, x, start, combine):
    pads = around((0, 0), [tuple(pair) for pair in layer["pads"]])
    size, stride, dilation = (around(1, layer[name]) for name in ("kernel", "stride", "dilation"))
    return lax.reduce_window(x, start, combine, size, stride, pads, window_dilation=dilation)


def rbf(layer):
    codes = jnp.sign(normal(layer["units"], layer["input"][0]))
    weights = {"weight": codes} if layer["trainable"] else {}
    return weights, lambda p, x, key: -jnp.square(x[:, None] - p.get("weight", codes)).sum(2)


def subsampling(layer):
    channels = layer["input"][0]

    def apply(p, x, key):
        return reduced(layer, x, 0.0, lax.add) * per_channel(p["weight"], x) + per_channel(p["bias"], x)

    return {"weight": jnp.full(channels, 1 / math.prod(layer["kernel"])), "bias": jnp.zeros(channels)}, apply


def avg_pool(layer):
    if layer["trainable"]:
        return subsampling(layer)

    def apply(p, x, key):
        if layer["count_padding"]:
            return reduced(layer, x, 0.0, lax.add) / math.prod(layer["kernel"])
        return reduced(layer, x, 0.0, lax.add) / reduced(layer, jnp.ones_like(x), 0.0, lax.add)

    return {}, apply


def channel_max_pool(layer, x):
    size, stride = ([1] * x.ndim for _ in range(2))
    size[CHANNELS], stride[CHANNELS] = layer["size"], layer["stride"] or layer["size"]
    return lax.reduce_window(x, -jnp.inf, lax.max, size, stride, "VALID")


def upsample(layer, x):
    return jax.image.resize(x, around_shape(x, layer["output"]), layer["mode"])


def around_shape(x, output):
    """The shape of `output`, channels first, in the layout of x."""
    channels, *axes = output
    return (len(x), channels, *axes) if FIRST else (len(x), *axes, channels)


def pad(layer, x):
    pads = around((0, 0), [tuple(pair) for pair in layer["pads"]])
    if layer["mode"] in ("reflect", "edge"):
        return jnp.pad(x, pads, layer["mode"])
    return jnp.pad(x, pads, constant_values=layer["value"])


def crop(layer, x):
    sides = zip(layer["input"][1:], layer["pads"], strict=True)
    return x[around(slice(None), [slice(before, n - after) for n, (before, after) in sides])]


def inner_axes(x):
    return tuple(range(2, x.ndim)) if FIRST else tuple(range(1, x.ndim - 1))


def batch_norm(layer):
    channels = layer["input"][0]

    def apply(p, x, key):
        shift, scale, axes = per_channel(p["bias"], x), per_channel(p["weight"], x), (0, *inner_axes(x))
        if key is None:  # inference: averages of 0 and 1
            return x * scale + shift
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) * (lax.rsqrt(variance + layer["eps"]) * scale) + shift

    return {"weight": jnp.ones(channels), "bias": jnp.zeros(channels)}, apply


def join(layer, values):
    """Several values as one."""
    if layer["way"] == "concat":
        axis = 1 if FIRST else -1
        shape = list(values[0].shape)
        shape[axis] = layer["zeros"]
        return jnp.concatenate([*values, jnp.zeros(shape, values[0].dtype)], axis)
    return reduce({"add": jnp.add, "multiply": jnp.multiply, "max": jnp.maximum}[layer["way"]], values)


def group_norm(layer):
    channels = layer["input"][0]
    groups = channels if layer["groups"] == "channels" else layer["groups"]

    def apply(p, x, key):
        axis = CHANNELS % x.ndim
        parts = x.reshape(*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
        axes = tuple(a for a in range(1, parts.ndim) if a != axis)
        mean, variance = parts.mean(axes, keepdims=True), parts.var(axes, keepdims=True)
        shares = ((parts - mean) * lax.rsqrt(variance + layer["eps"])).reshape(x.shape)
        return shares * per_channel(p["weight"], x) + per_channel(p["bias"], x)

    return {"weight": jnp.ones(channels), "bias": jnp.zeros(channels)}, apply


def lrn(layer, x):
    size, reach = [1] * x.ndim, layer["size"] // 2
    size[CHANNELS] = layer["size"]
    pads = [(reach, reach) if n > 1 else (0, 0) for n in size]
    sums = lax.reduce_window(x * x, 0.0, lax.add, size, [1] * x.ndim, pads)
    return x * (layer["k"] + layer["alpha"] / layer["size"] * sums) ** -layer["beta"]


def dropout(layer):
    def apply(p, x, key):
        kept, drawn = 1 - layer["rate"], list(x.shape)
        if layer["spatial"]:
            drawn = [n if axis in (0, CHANNELS % x.ndim) else 1 for axis, n in enumerate(x.shape)]
        return x if key is None else jnp.where(jax.random.bernoulli(key, kept, drawn), x / kept, 0.0)

    return {}, apply


def prelu(layer):
    slopes = jnp.full(1 if layer["shared"] else layer["input"][0], layer["slope"])

    def apply(p, x, key):
        return jnp.where(x > 0, x, x * (p["weight"] if layer["shared"] else per_channel(p["weight"], x)))

    return {"weight": slopes}, apply


def plain(function):
    """A layer without weights."""
    return lambda layer: ({}, lambda p, x, key: function(layer, x))


LAYERS = {
    "conv": conv,
    "depthwise_conv": lambda layer: conv(layer, groups=layer["input"][0]),
    "transposed_conv": transposed_conv,
    "dense": dense,
    "flatten": plain(lambda layer, x: x.reshape(x.shape[0], -1)),
    "max_pool": plain(lambda layer, x: reduced(layer, x, -jnp.inf, lax.max)),
    "avg_pool": avg_pool,
    "global_avg_pool": plain(lambda layer, x: x.mean(inner_axes(x), keepdims=len(layer["output"]) > 1)),
    "global_max_pool": plain(lambda layer, x: x.max(inner_axes(x), keepdims=len(layer["output"]) > 1)),
    "channel_max_pool": plain(channel_max_pool),
    "upsample": plain(upsample),
    "pad": plain(pad),
    "crop": plain(crop),
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "lrn": plain(lrn),
    "rbf": rbf,
    "dropout": dropout,
    "relu": plain(lambda layer, x: jax.nn.relu(x)),
    "leaky_relu": plain(lambda layer, x: jax.nn.leaky_relu(x, layer["alpha"])),
    "elu": plain(lambda layer, x: jax.nn.elu(x, layer["alpha"])),
    "gelu": plain(lambda layer, x: jax.nn.gelu(x, approximate=False)),
    "sigmoid": plain(lambda layer, x: jax.nn.sigmoid(x)),
    "tanh": plain(lambda layer, x: jnp.tanh(x)),
    "relu6": plain(lambda layer, x: jax.nn.relu6(x)),
    "softplus": plain(lambda layer, x: jax.nn.softplus(x)),
    "swish": plain(lambda layer, x: x * jax.nn.sigmoid(layer["beta"] * x)),
    "scaled_tanh": plain(lambda layer, x: 1.7159 * jnp.tanh(x * (2 / 3))),
    "prelu": prelu,
    "softmax": plain(lambda layer, x: jax.nn.softmax(x, CHANNELS)),
    "log_softmax": plain(lambda layer, x: jax.nn.log_softmax(x, CHANNELS)),
}


def graph(layers):
    """(weights, apply(weights, x, key)) of layers that read each other's values; a key of None means inference."""
    made = {layer["owner"]: LAYERS[layer["kind"]](layer) for layer in layers if layer["kind"] != "join"}

    def apply(weights, x, key):
        values = [x]
        for i, layer in enumerate(layers):
            read, owner = [values[value] for value in layer["inputs"]], layer["owner"]
            if owner in made:
                used = key if key is None else jax.random.fold_in(key, i)
                values.append(made[owner][1](weights[owner], *read, used))
            else:
                values.append(join(layer, read))
        return values[-1]

    return {owner: weights for owner, (weights, _) in made.items()}, apply


def training(program, apply, x, target):
    """A step of SGD with momentum, weights and velocity taken and given."""
    options, smoothing = program["optimizer"], program["label_smoothing"]
    if options["kind"] != "sgd":
        raise ValueError(f"only SGD is compared, not {options['kind']}")
    wanted = jax.nn.one_hot(target, program["classes"]) * (1 - smoothing) + smoothing / program["classes"]

    def loss(weights, key):
        logits = apply(weights, x, key)
        if program["loss"] == "mean_squared_error":
            return jnp.square(logits - wanted).mean()
        return -(wanted * jax.nn.log_softmax(logits)).sum(1).mean()

    def step(weights, velocity, key, lr):
        key, used = jax.random.split(key)
        gradients = jax.grad(loss)(weights, used)
        decayed = jax.tree.map(lambda g, w: g + options["weight_decay"] * w, gradients, weights)
        velocity = jax.tree.map(lambda v, g: options["momentum"] * v + g, velocity, decayed)
        return jax.tree.map(lambda w, v: w - lr * v, weights, velocity), velocity, key

    return jax.jit(step, donate_argnums=(0, 1))


def network(request):
    started, program = time.perf_counter(), request["program"]
    weights, apply = graph(program["layers"])
    x = images((request["batch"], *program["input"]))
    target = jnp.asarray(RANDOM.integers(program["classes"], size=request["batch"]))
    step = training(program, apply, x, target)
    state = [weights, jax.tree.map(jnp.zeros_like, weights), jax.random.key(0)]

    def train():
        state[:] = step(*state, request["lr"])
        jax.block_until_ready(state)

    infer = jax.jit(lambda weights, x: apply(weights, x, None))
    known = first_training(train, started) | {"parameters": sum(leaf.size for leaf in jax.tree.leaves(weights))}
    tasks = {"infer": lambda: infer(state[0], x).block_until_ready()}
    one = x[:1]
    return {"train": train, **tasks, "latency": lambda: infer(state[0], one).block_until_ready()}, known


def convolution(request):
    layer = request["layer"]
    x, weight = images((request["batch"], *layer["input"])), conv_weight(layer, layer["groups"])
    forward = jax.jit(lambda x, w: correlate(layer, x, w, layer["groups"]))
    dy = jnp.ones_like(forward(x, weight))
    of_x = jax.jit(lambda x, w, dy: jax.vjp(lambda x: correlate(layer, x, w, layer["groups"]), x)[1](dy))
    of_w = jax.jit(lambda x, w, dy: jax.vjp(lambda w: correlate(layer, x, w, layer["groups"]), w)[1](dy))
    calls = (lambda: forward(x, weight), lambda: of_x(x, weight, dy), lambda: of_w(x, weight, dy))
    return {part: partial(finished, call) for part, call in zip(PARTS, calls, strict=True)}, {}


def finished(call):
    jax.block_until_ready(call())


serve(jax.__version__, {"network": network, "convolution": convolution})
