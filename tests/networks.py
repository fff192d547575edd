"""Small networks that the tests of whole networks share, and the way to a plan that is ready to step."""

import numpy as np

from cnncli import spec
from cnncli.network import Network

# name -> (input channels, input size, layers in YAML)
NETWORKS = {
    "lenet": (
        1,
        [12, 12],
        "conv: {filters: 3, kernel: 5, padding: same}|relu|max_pool: 2|conv: {filters: 8, kernel: 3}|relu|max_pool: 2|"
        "flatten|dense: 9|relu|dense: 4",
    ),
    "unfused": (2, [6, 7], "relu|conv: 4|relu|relu|max_pool: 2|relu|flatten|relu|dense: 5|relu|relu"),
    "relu_last": (3, [5, 5], "conv: {filters: 6, stride: 2, padding: same}|max_pool: 3|flatten|dense: 3|relu"),
    "relu_alone_last": (3, [4, 4], "conv: {filters: 4}|avg_pool: 2|flatten|dense: 3|tanh|relu"),
    "relu_then_average": (
        2,
        [6, 6],
        "conv: {filters: 5, padding: 1}|relu|avg_pool: 2|conv: {filters: 3, kernel: 2}|relu|"
        "avg_pool: {size: 2, stride: 1}|flatten|dense: 4",
    ),
    "relu_then_conv": (
        2,
        [7, 7],
        "conv: {filters: 17, padding: same}|relu|conv: {filters: 6, stride: 2, padding: same}|relu|"
        "conv: {filters: 4, groups: 2, dilation: 2, padding: same}|relu|max_pool: 4|flatten|dense: 3",
    ),
    "relu_then_flatten": (2, [4, 4], "conv: {filters: 3, kernel: 1}|relu|flatten|dense: 4|relu|dense: 3"),
    "relu_then_others": (
        2,
        [4, 4],
        "conv: {filters: 3}|relu|dropout|sigmoid|flatten|dense: 6|relu|dropout: 0.3|dense: 3",
    ),
    "dropout": (
        2,
        [5, 5],
        "dropout: 0.2|conv: {filters: 6, padding: same}|relu|dropout|max_pool: 3|flatten|dense: 4|dropout: 0",
    ),
    "activations": (
        2,
        [6, 6],
        "conv: {filters: 4}|gelu|conv: {filters: 4, kernel: 2}|elu|avg_pool: 3|flatten|dense: 6|tanh|dense: 5|"
        "leaky_relu: 0.2|dense: 5|sigmoid|dense: 3",
    ),
    "one_axis": (
        2,
        [17],
        "conv: {filters: 5, padding: same}|relu|max_pool: 2|conv: {filters: 4, dilation: 2}|relu|max_pool: 4|flatten|"
        "dense: 3",
    ),
    "three_axes": (
        1,
        [4, 5, 6],
        "conv: {filters: 4, kernel: 2, padding: same}|relu|max_pool: 2|conv: {filters: 3, kernel: [1, 2, 2]}|relu|"
        "max_pool: [2, 1, 2]|flatten|dense: 3",
    ),
    "no_bias": (2, [5, 5], "conv: {filters: 4, bias: false}|relu|max_pool: 3|flatten|dense: {units: 3, bias: false}"),
    "mlp": (1, [3, 4], "flatten|dense: 7|relu|dense: 5|tanh|dense: 3"),
    "conv_flatten": (2, [4, 5], "conv: {filters: 3, padding: same}|flatten|dense: 3"),
    "conv_relu_flatten": (2, [4, 5], "conv: {filters: 3}|relu|flatten|dense: 3"),
    "conv_relu_flatten_dropout": (2, [4, 5], "conv: {filters: 3}|relu|flatten|dropout|dense: 3"),
    "conv_dropout_flatten": (2, [4, 4], "conv: {filters: 3}|dropout: 0.0|flatten|dense: 3"),
    "conv_last": (2, [4, 4], "conv: {filters: 3}|flatten"),
    "conv_relu_last": (2, [4, 4], "conv: {filters: 3}|relu|flatten"),
    # one pixel: flattened it has the same size, but not the border of a convolution's gradient
    "conv_to_one_pixel": (2, [4, 4], "conv: {filters: 6, kernel: 4}|relu|flatten|dense: 3"),
    "conv_to_classes": (2, [3, 3], "conv: {filters: 4}|flatten"),
    "depthwise": (
        3,
        [9, 9],
        "conv: {filters: 8, stride: 2, padding: same}|relu|depthwise_conv|relu|conv: {filters: 20, kernel: 1}|relu|"
        "depthwise_conv: {multiplier: 2, stride: 2, padding: same}|relu|global_avg_pool|dense: 3",
    ),
    "residual": (2, [5, 5], "residual: {main: [conv: {filters: 2, padding: same}, relu]}|flatten|dense: 3"),
    "flatten_last": (2, [4, 4], "conv: {filters: 3, kernel: 4}|relu|max_pool: 1|flatten"),
}


def specification(channels, size, layers, **options):
    """A specification from layers that are separated by bars."""
    lines = [
        f"input: {{channels: {channels}, size: {size}}}",
        "layers:",
        *(f"  - {layer}" for layer in layers.split("|")),
    ]
    train = {"label_smoothing": 0.0, **options}
    loss = train.pop("loss", "softmax_cross_entropy")
    lines += [f"loss: {loss}", "train:", *(f"  {key}: {value}" for key, value in train.items())]
    return spec.parse("\n".join(lines), "network.yaml")


def network(name, dtype=np.float32, seed=0, **options):
    """One of `NETWORKS` by name."""
    return Network(specification(*NETWORKS[name], **options), dtype, seed)


def filled(plan, seed=1):
    """The plan with a random batch in it: x, labels, numbers of the samples, and the keys of one epoch."""
    generator = np.random.default_rng(seed)
    plan.x.interior[...] = generator.normal(size=plan.x.interior.shape)
    plan.labels[:] = generator.integers(0, plan.output.shape[1], plan.images)
    plan.samples[:] = generator.permutation(1000)[: plan.images]
    plan.draw(2024)
    return plan
