"""Small networks that the tests of whole networks share, and the way to a plan that is ready to step."""

import numpy as np
from graphs import GRAPHS

from cnncli import spec
from cnncli.network import Network

CONV, CONV3 = "conv: {filters: 4, padding: same}", "conv: {filters: 3, padding: same}"
HALF = "conv: {filters: 6, stride: 2, padding: 1, bias: false}, batch_norm"
BLOCK = f"{CONV}, batch_norm, relu, {CONV}, batch_norm"

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
    "activations_of_channels": (
        2,
        [6, 6],
        "conv: {filters: 4}|prelu|conv: {filters: 6, kernel: 2}|channel_max_pool: 2|flatten|prelu: 0.1|dense: 7|relu6|"
        "dense: 6|softmax|dense: 6|swish|channel_max_pool: {size: 3, stride: 1}|dense: 5|scaled_tanh|dense: 3|"
        "log_softmax",
    ),
    "pooled_globally": (
        2,
        [6, 7],
        "conv: {filters: 4}|softplus|softmax|conv: {filters: 5, padding: same}|relu|global_max_pool|dense: 3",
    ),
    "of_another_size": (
        2,
        [5, 6],
        "pad: {padding: 2, mode: reflect}|conv: {filters: 4}|relu|upsample|conv: {filters: 3, kernel: 2, stride: 3}|"
        "upsample: {scale: [3, 2], mode: linear}|crop: 1|pad: {padding: [[1, 0], 2], mode: edge}|"
        "conv: {filters: 3, stride: 2, padding: same}|crop: {size: [2, 3]}|flatten|dense: 3",
    ),
    "norm_of_groups_of_channels": (
        2,
        [5, 6],
        f"conv: {{filters: 4}}|group_norm: 2|relu|residual: {{main: [{CONV}, group_norm: channels]}}|relu|"
        "lrn: 3|conv: {filters: 3, kernel: 2}|group_norm: {groups: 1, eps: 0.1}|flatten|group_norm: 1|dense: 3",
    ),
    "lenet5": (  # as it was: trainable sub-sampling, scaled tanh, distances to codes
        1,
        [8, 8],
        "conv: {filters: 3}|avg_pool: {size: 2, trainable: true}|scaled_tanh|conv: {filters: 6, kernel: 2}|"
        "avg_pool: {size: 2, trainable: true}|scaled_tanh|flatten|dense: 9|scaled_tanh|rbf: 4",
    ),
    "distances_of_an_image": (3, [2, 3], "conv: {filters: 4, kernel: 1}|flatten|rbf: {units: 5, trainable: true}"),
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
    "residual_of_depthwise": (
        2,
        [6, 6],
        "conv: {filters: 6, kernel: 1}|relu|residual: {main: [depthwise_conv: {padding: 1, bias: false}, batch_norm, "
        "relu, conv: {filters: 6, kernel: 1}]}|relu|depthwise_conv|batch_norm|relu|global_avg_pool|dense: 3",
    ),
    "local": (
        2,
        [7, 6],
        "local_conv: {filters: 4, padding: same}|batch_norm|relu|local_conv: {filters: 4, bias: tied, stride: 2}|relu|"
        "residual: {main: [local_conv: {filters: 4, padding: same, bias: false}, batch_norm]}|relu|flatten|dense: 3",
    ),
    "tiled": (
        2,
        [7, 8],
        "conv: {filters: 3, kernel: 2}|relu|tiled_conv: {filters: 5, tiles: 2, padding: 1}|batch_norm|relu|max_pool: 2|"
        "residual: {main: [tiled_conv: {filters: 5, tiles: [1, 2], padding: same}, relu, tiled_conv: {filters: 5, "
        "kernel: 1, tiles: 2}]}|relu|global_avg_pool|dense: 3",
    ),
    "local_of_one_axis": (
        2,
        [9],
        "local_conv: {filters: 3, kernel: 4}|relu|tiled_conv: {filters: 4, tiles: 3}|flatten",
    ),
    "untied": (
        2,
        [6, 6],
        "conv: {filters: 4, bias: untied}|batch_norm|relu|conv: {filters: 4, bias: untied, padding: same, flip: true}|"
        "relu|residual: {main: [conv: {filters: 4, padding: 1, bias: untied}]}|relu|max_pool: 2|flatten|dense: 3",
    ),
    "connected": (
        1,
        [12, 12],
        "conv: {filters: 6, bias: untied}|relu|max_pool: 2|conv: {filters: 16, connections: lenet5}|batch_norm|relu|"
        "conv: {filters: 2, connections: [[0, 15], [1, 2, 3]], flip: true}|flatten|dense: 3",
    ),
    "transposed": (
        2,
        [6, 6],
        "conv: {filters: 6, stride: 2, padding: same}|batch_norm|relu|transposed_conv: {filters: 5, stride: 2, "
        "padding: same}|batch_norm|relu|transposed_conv: {filters: 3, kernel: 2, stride: 2, bias: false}|relu|"
        "avg_pool: 3|flatten|dense: 3",
    ),
    "residual_of_transposed": (
        2,
        [4, 4],
        "conv: {filters: 4, kernel: 2, stride: 2}|relu|residual: {main: [transposed_conv: {filters: 4, padding: same}, "
        "relu, transposed_conv: {filters: 4, padding: 1}]}|relu|transposed_conv: {filters: 3, groups: 1}|flatten|"
        "dense: 3",
    ),
    "residual_of_depthwise_alone": (
        2,
        [5, 5],
        "conv: {filters: 4, kernel: 1}|relu|residual: {main: [depthwise_conv: {padding: same}], "
        "shortcut: [depthwise_conv: {padding: same, kernel: 5}]}|flatten|dense: 3",
    ),
    "flatten_last": (2, [4, 4], "conv: {filters: 3, kernel: 4}|relu|max_pool: 1|flatten"),
    # the first convolution can pool what it makes
    "pooled": (1, [14, 14], "conv: {filters: 6, kernel: 5, padding: same}|max_pool: 2|relu|conv: 4|flatten|dense: 3"),
    "pooled_without_relu": (
        1,
        [13, 12],
        "conv: {filters: 7, kernel: 3}|max_pool: 2|conv: {filters: 3}|flatten|dense: 3",
    ),
    "pooled_then_flat": (1, [12, 12], "conv: {filters: 6, kernel: 5}|relu|max_pool: 2|flatten|dense: 3"),
    "pooled_then_residual": (
        1,
        [12, 12],
        f"conv: {{filters: 4, kernel: 5, padding: same}}|relu|max_pool: 2|residual: {{main: [{CONV}, relu, {CONV}]}}|"
        "relu|flatten|dense: 3",
    ),
    "pooled_in_residual": (
        1,
        [8, 8],
        "residual: {main: [conv: {filters: 4, padding: same}, relu, max_pool: 2], shortcut: [conv: {filters: 4, "
        "padding: same}, max_pool: 2]}|relu|flatten|dense: 3",
    ),
    "pooled_norm": (1, [12, 12], "conv: {filters: 6, kernel: 5}|batch_norm|relu|max_pool: 2|flatten|dense: 3"),
    "pooled_twice": (1, [12, 12], "conv: {filters: 6, padding: same}|max_pool: 2|max_pool: 2|relu|flatten|dense: 3"),
    # batch normalisation at every place
    "norm": (2, [5, 5], f"{CONV}|batch_norm|relu|{CONV}|batch_norm|flatten|dense: 3"),
    "norm_first": (3, [4, 5], "batch_norm|conv: {filters: 4}|relu|flatten|dense: 3"),
    "norm_last": (2, [4, 4], "conv: {filters: 3}|flatten|dense: 4|batch_norm: {eps: 0.1}"),
    "norm_after_relu": (2, [5, 5], "conv: {filters: 4}|relu|batch_norm|conv: {filters: 5, kernel: 2}|flatten|dense: 3"),
    "norm_without_affine": (
        2,
        [7, 6],
        "conv: 3|batch_norm: {affine: false}|tanh|conv: {filters: 4, freeze: true}|batch_norm: {affine: false}|relu|"
        "flatten|dense: 3",
    ),
    "norm_after_pool": (
        2,
        [6, 7],
        "conv: {filters: 4, padding: 1}|max_pool: 2|batch_norm: {momentum: 0.3}|relu|avg_pool: 3|batch_norm|flatten|"
        "dense: 3",
    ),
    "norm_of_pool_of_input": (2, [6, 6], "avg_pool: 2|batch_norm|max_pool: 3|flatten|dense: 3"),
    "norm_twice": (2, [4, 4], "conv: {filters: 3, kernel: 2}|batch_norm|batch_norm: {eps: 0.1}|flatten|dense: 3"),
    "norm_of_flat": (2, [3, 4], "conv: {filters: 3, kernel: 2}|flatten|batch_norm|relu|dense: 4"),
    "norm_of_dense": (
        2,
        [3, 3],
        "flatten|dense: {units: 7, bias: false}|batch_norm|relu|dense: 5|batch_norm|tanh|dropout: 0.0|dense: 3",
    ),
    "norm_of_groups": (
        4,
        [5],
        "conv: {filters: 6, groups: 2, padding: same}|batch_norm|relu|conv: {filters: 6, kernel: 2, groups: 3}|"
        "batch_norm|flatten|dense: 3",
    ),
    "norm_of_volumes": (1, [3, 4, 3], "conv: {filters: 4, kernel: 2, padding: same}|batch_norm|relu|flatten|dense: 3"),
    "norm_with_bias": (2, [5, 5], "conv: {filters: 4}|batch_norm|relu|flatten|dense: 5|batch_norm|dense: 3"),
    # residual blocks
    "residual_identity": (2, [5, 5], f"{CONV}|relu|residual: {{main: [{CONV}, relu, {CONV}]}}|relu|flatten|dense: 3"),
    "residual_projection": (
        2,
        [6, 6],
        "conv: {filters: 3, padding: same}|relu|residual: {main: [conv: {filters: 5, stride: 2, padding: same}, relu, "
        "conv: {filters: 5, padding: same}], shortcut: [conv: {filters: 5, kernel: 1, stride: 2}]}|relu|max_pool: 3|"
        "flatten|dense: 3",
    ),
    "residual_without_relu": (2, [4, 4], f"{CONV}|residual: {{main: [{CONV}, relu, {CONV}]}}|flatten|dense: 3"),
    "residual_ends_in_relu": (
        2,
        [4, 4],
        f"{CONV}|residual: {{main: [{CONV}, relu]}}|residual: {{main: [{CONV}, relu], shortcut: [relu]}}|relu|flatten|"
        "dense: 3",
    ),
    "residual_of_one_conv": (
        2,
        [4, 4],
        f"{CONV}|relu|residual: {{main: [{CONV}]}}|relu|residual: {{main: [{CONV}]}}|flatten|dense: 3",
    ),
    "residual_nested": (
        2,
        [4, 4],
        f"{CONV}|relu|residual: {{main: [{CONV}, relu, residual: {{main: [{CONV}, relu, {CONV}]}}, relu, {CONV}]}}|"
        "relu|flatten|dense: 3",
    ),
    "residual_of_residuals": (
        2,
        [4, 4],
        f"{CONV}|residual: {{main: [residual: {{main: [{CONV}]}}], shortcut: [residual: {{main: [{CONV}, relu]}}, relu]"
        f"}}|relu|residual: {{main: [residual: {{main: [residual: {{main: [{CONV}]}}]}}]}}|flatten|dense: 3",
    ),
    "residual_at_input": (4, [4, 4], f"residual: {{main: [{CONV}, relu, {CONV}]}}|relu|flatten|dense: 3"),
    "residual_of_residual_at_input": (
        4,
        [4, 4],
        f"residual: {{main: [residual: {{main: [{CONV}]}}, relu]}}|residual: {{main: [avg_pool: {{size: 3, stride: 1, "
        "padding: 1}]}|flatten|dense: 3",
    ),
    "residual_learns_nothing": (
        2,
        [4, 4],
        "residual: {main: [sigmoid]}|residual: {main: [relu, max_pool: 2], shortcut: [avg_pool: 2]}|flatten|dense: 3",
    ),
    "residual_of_dropout": (2, [4, 4], f"{CONV}|relu|residual: {{main: [dropout: 0.4]}}|{CONV}|flatten|dense: 3"),
    "residual_of_nothing": (2, [4, 4], f"{CONV}|relu|residual: {{main: [dropout: 0]}}|{CONV}|flatten|dense: 3"),
    "residual_of_view": (  # the relu's output is read as it is, too: the gradient of its view is not all of its own
        2,
        [4, 4],
        f"{CONV}|relu|residual: {{main: [dropout: 0, {CONV}]}}|relu|residual: {{main: [dropout: 0, "
        f"max_pool: {{size: 3, stride: 1, padding: 1}}]}}|flatten|dense: 3",
    ),
    "residual_of_max_pool": (
        2,
        [4, 5],
        f"{CONV}|relu|residual: {{main: [max_pool: {{size: 3, stride: 1, padding: 1}}]}}|relu|{CONV}|flatten|dense: 3",
    ),
    "residual_of_avg_pool": (
        2,
        [4, 5],
        f"{CONV}|residual: {{main: [avg_pool: {{size: 2, stride: 1, padding: same}}]}}|{CONV}|relu|flatten|dense: 3",
    ),
    "residual_shortcut_pools": (
        2,
        [6, 6],
        f"{CONV}|relu|residual: {{main: [conv: {{filters: 4, stride: 2, padding: 1}}, batch_norm], "
        "shortcut: [avg_pool: 2, conv: {filters: 4, kernel: 1}]}|relu|max_pool: 3|flatten|dense: 3",
    ),
    "residual_wide_border": (
        2,
        [6],
        f"{CONV}|relu|residual: {{main: [conv: {{filters: 4, kernel: 5, padding: same}}, gelu], shortcut: [{CONV}]}}|"
        "dropout: 0|conv: {filters: 3, dilation: 2, padding: same}|flatten|dense: 3",
    ),
    "residual_read_flat_and_not": (
        3,
        [3, 3],
        f"{CONV}|relu|residual: {{main: [{CONV}, relu, flatten, dense: 5], shortcut: [flatten, dense: 5]}}|relu|"
        "dense: 3",
    ),
    "residual_of_dense": (
        2,
        [2, 3],
        "flatten|dense: 6|relu|residual: {main: [dense: 6]}|relu|residual: {main: [dense: 4, tanh, dense: 6]}|"
        "residual: {main: [dense: 8, relu], shortcut: [dense: {units: 8, bias: false}]}|relu|dense: 3",
    ),
    "residual_of_dense_last": (
        2,
        [2, 3],
        "flatten|dense: 4|relu|residual: {main: [dense: 4]}",
    ),
    "residual_of_flat": (2, [3, 3], f"{CONV}|flatten|residual: {{main: [batch_norm, relu]}}|dense: 3"),
    "normalized_windows": (
        2,
        [6, 5],
        "normalized_conv: {filters: 4, eps: 0.1}|relu|normalized_conv: {filters: 5, padding: same, center: false}|"
        f"relu|{CONV}|tanh|normalized_conv: {{filters: 3, kernel: 2, bias: false, eps: 0.1}}|flatten|dense: 3",
    ),
    "residual_last": (2, [2, 2], f"conv: {{filters: 3, kernel: 2}}|residual: {{main: [{CONV3}]}}|relu|flatten"),
    "residual_then_dropout": (
        2,
        [4, 4],
        f"{CONV}|relu|residual: {{main: [{CONV}, dropout: 0.3]}}|relu|dropout|flatten|dense: 3",
    ),
    "residual_norm": (
        2,
        [5, 5],
        f"{CONV}|batch_norm|relu|residual: {{main: [{BLOCK}]}}|relu|residual: {{main: [{BLOCK}]}}|relu|"
        f"residual: {{main: [{HALF}, relu, conv: {{filters: 6, padding: 1}}, batch_norm], shortcut: [{HALF}]}}|relu|"
        "flatten|dense: 3",
    ),
    "residual_norm_first": (  # He et al. 2016, "Identity Mappings in Deep Residual Networks"
        2,
        [4, 4],
        f"{CONV}|residual: {{main: [batch_norm, relu, {CONV}, batch_norm, relu, {CONV}]}}|residual: {{main: "
        f"[batch_norm, relu, {CONV}]}}|batch_norm|relu|flatten|dense: 3",
    ),
    # a label for each pixel: the output's gradient has a border, has none, is gated
    "pixels_conv_last": (2, [5, 4], f"{CONV}|relu|conv: {{filters: 3, kernel: 3, padding: same}}"),
    "pixels_relu_last": (1, [6], "conv: {filters: 3, padding: same}|relu|conv: {filters: 4, kernel: 1}|relu"),
    "pixels_residual_last": (3, [2, 3, 3], "conv: {filters: 3, padding: same}|residual: {main: [batch_norm, relu]}"),
    "residual_norm_alone": (2, [4, 4], f"{CONV}|relu|residual: {{main: [batch_norm]}}|relu|flatten|dense: 3"),
    **GRAPHS,
}


def specification(channels, size, layers, **options):
    """A specification from layers that are separated by bars."""
    lines = [
        f"input: {{channels: {channels}, size: {size}}}",
        "layers:",
        *(f"  - {layer}" for layer in layers.split("|")),
    ]
    train = {"label_smoothing": 0.0, **options}
    loss, data = train.pop("loss", "softmax_cross_entropy"), train.pop("data", "{}")
    lines += [f"loss: {loss}", f"data: {data}", "train:", *(f"  {key}: {value}" for key, value in train.items())]
    return spec.parse("\n".join(lines), "network.yaml")


def network(name, dtype=np.float32, seed=0, **options):
    """One of `NETWORKS` by name."""
    return Network(specification(*NETWORKS[name], **options), dtype, seed)


def filled(plan, seed=1):
    """The plan with a random batch in it: x, labels, numbers of the samples, and the keys of one epoch."""
    generator = np.random.default_rng(seed)
    plan.x.interior[...] = generator.normal(size=plan.x.interior.shape)
    plan.labels[:] = generator.integers(0, plan.stages[-1].output.channels, plan.labels.size)
    plan.samples[:] = generator.permutation(1000)[: plan.images]
    plan.draw(2024)
    return plan


def saved(parameters, of=None):
    """Copies of all parameters, or of another flat array's spans, in the files' order and shapes, by their names."""
    names = parameters.declared if of is not None else parameters.declared | parameters.counted
    return {name: parameters.tensor(name, of).copy() for name in names}
