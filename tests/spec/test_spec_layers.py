"""Mistakes in the options and inputs of single layers: one line that names the layer and what to do."""

import pytest

from cnncli import network
from cnncli.errors import SpecificationError
from cnncli.spec import parse

MISTAKES = [  # (layers, the layer at fault, what is said)
    ("depthwise_conv: 0", 0, "depthwise_conv.kernel: expected an integer from 1 to 65536"),
    ("depthwise_conv: {multiplier: 0}", 0, "depthwise_conv.multiplier: expected an integer from 1 to 65536, found 0"),
    ("depthwise_conv: {filters: 8}", 0, 'depthwise_conv: unknown key "filters"'),
    ("depthwise_conv: {groups: 2}", 0, 'depthwise_conv: unknown key "groups"'),
    ("depthwise_conv: [3, 3, 3]", 0, "kernel has 3 numbers, the input has 2 spatial axes"),
    ("depthwise_conv: 9", 0, "its window of 9 is larger than the height 6 with padding 0 + 0"),
    ("flatten|depthwise_conv", 1, "it needs an input with spatial axes, not a flat one"),
    ("conv: {filters: 2, flip: 1}", 0, "conv.flip: expected true or false, found 1"),
    ("conv: {filters: 2, bias: tied}", 0, 'conv.bias: expected true or false, or untied, found "tied"'),
    ("conv: {filters: 2, connections: lenet}", 0, "conv.connections: expected lenet5, or a list, each item a list"),
    ("conv: {filters: 2, connections: [[0], []]}", 0, "connections[1]: expected a list of at least 1, each item an"),
    ("conv: {filters: 2, connections: [[0], [-1]]}", 0, "connections[1][0]: expected an integer from 0 to 65535"),
    ("conv: {filters: 2, connections: [[0]]}", 0, "its connections are those of 1 filters, it has 2"),
    ("conv: {filters: 2, connections: [[0], [1, 4]]}", 0, "connections[1] has 4, its input channels are 0 to 3"),
    ("conv: {filters: 2, connections: [[0, 0], [1]]}", 0, "connections[0] holds an input channel twice"),
    ("conv: {filters: 2, connections: lenet5}", 0, "its connections are those of 16 filters, it has 2"),
    ("conv: {filters: 16, connections: lenet5}", 0, "connections[2] has 4, its input channels are 0 to 3"),
    ("conv: {filters: 2, groups: 2, connections: [[0], [1]]}", 0, "it takes connections or groups, not both"),
    ("local_conv", 0, 'missing key "filters"'),
    ("local_conv: {filters: 2, tiles: 2}", 0, 'local_conv: unknown key "tiles"'),
    ("local_conv: {filters: 2, bias: untied}", 0, 'bias: expected true or false, or tied, found "untied"'),
    ("local_conv: {filters: 2, kernel: 7}", 0, "its window of 7 is larger than the height 6 with padding 0 + 0"),
    ("flatten|local_conv: 2", 1, "it needs an input with spatial axes, not a flat one"),
    ("normalized_conv", 0, 'missing key "filters"'),
    ("normalized_conv: {filters: 2, groups: 2}", 0, 'normalized_conv: unknown key "groups"'),
    ("normalized_conv: {filters: 2, eps: 0}", 0, "normalized_conv.eps: expected a number above 0, found 0"),
    ("normalized_conv: {filters: 2, center: 1}", 0, "normalized_conv.center: expected true or false, found 1"),
    ("normalized_conv: {filters: 2, kernel: 7}", 0, "its window of 7 is larger than the height 6 with padding 0 + 0"),
    ("normalized_conv: {filters: 3, init: {kmeans: {split: true}}}", 0, "its 3 filters are an odd number"),
    ("normalized_conv: {filters: 2, init: {winner_take_all: {threshold: 1}}}", 0, "threshold: expected a number"),
    ("flatten|normalized_conv: 2", 1, "it needs an input with spatial axes, not a flat one"),
    ("batch_norm: {affine: 1}", 0, "batch_norm.affine: expected true or false, found 1"),
    ("tiled_conv: 4", 0, 'missing key "tiles"'),
    ("tiled_conv: {filters: 4, tiles: 0}", 0, "tiled_conv.tiles: expected an integer from 1 to 65536"),
    ("tiled_conv: {filters: 4, tiles: [2]}", 0, "tiles has 1 numbers, the input has 2 spatial axes"),
    ("flatten|tiled_conv: {filters: 2, tiles: 2}", 1, "it needs an input with spatial axes, not a flat one"),
    ("transposed_conv: 0", 0, "transposed_conv.filters: expected an integer from 1 to 65536, found 0"),
    ("transposed_conv", 0, 'missing key "filters"'),
    ("transposed_conv: {filters: 2, padding: full}", 0, "padding: expected one of valid, same, or an integer"),
    ("transposed_conv: {filters: 2, output_padding: -1}", 0, "output_padding: expected an integer from 0 to 65536"),
    (
        "transposed_conv: {filters: 2, stride: 2, output_padding: 2}",
        0,
        "its output_padding 2 is not below its stride 2",
    ),
    ("transposed_conv: {filters: 2, stride: 2, padding: same, output_padding: 1}", 0, "it takes no output_padding"),
    ("transposed_conv: {filters: 2, padding: 4}", 0, "padding 4 + 4 leaves nothing of its height"),
    ("transposed_conv: {filters: 2, padding: [1, 1, 1]}", 0, "padding has 3 entries, the input has 2 spatial axes"),
    ("transposed_conv: {filters: 6, groups: 4}", 0, "its 6 filters do not divide into 4 groups"),
    ("transposed_conv: {filters: 6, groups: 3}", 0, "its 4 input channels do not divide into 3 groups"),
    ("flatten|transposed_conv: 3", 1, "it needs an input with spatial axes, not a flat one"),
    ("global_avg_pool: 2", 0, "global_avg_pool takes no lone value, found 2"),
    ("global_avg_pool: {size: 2}", 0, 'global_avg_pool: unknown key "size"'),
    ("global_avg_pool|global_avg_pool", 1, "it needs an input with spatial axes, not a flat one"),
]


@pytest.mark.parametrize(("layers", "at", "said"), MISTAKES)
def test_mistakes(layers, at, said):
    lines = ["input: {channels: 4, size: [6, 6]}", "layers:", *(f"  - {layer}" for layer in layers.split("|"))]
    with pytest.raises(SpecificationError) as caught:
        network.nodes(parse("\n".join(lines), "f.yaml"))
    message = str(caught.value)
    assert message.startswith(f"f.yaml:{at + 3}: ")
    assert said in message
    assert len(message.splitlines()) == 1
