"""The one table of layer cases that drives the generic tests, and each kind's definition in terms of `naive`.

A new layer adds its rows and its definition here; `test_layers` fails while one of them is missing.
"""

import math
from dataclasses import dataclass
from typing import Any

import cases_channels
import cases_images
import naive
import naive_windows
import numpy as np

from cnncli.layers import LAYERS, Layer, Shape


@dataclass(frozen=True)
class Case:
    """A layer with its `options` for `images` samples of `channels` x `axes`, (length), (height, width) or so."""

    kind: str
    channels: int
    axes: tuple[int, ...]
    options: dict[str, Any]
    images: int = 2

    @property
    def layer(self) -> Layer:
        return LAYERS[self.kind](**self.options)

    @property
    def shape(self) -> Shape:
        return Shape((1,) * (3 - len(self.axes)) + self.axes, self.channels, len(self.axes))

    @property
    def id(self) -> str:
        size = "x".join(str(n) for n in (self.images, self.channels, *self.axes))
        chosen = [f"{key}={value}".replace(" ", "") for key, value in self.options.items()]
        return "-".join([self.kind, size, *chosen])


def conv(channels, axes, filters, kernel=3, images=2, **options):
    return Case("conv", channels, axes, {"filters": filters, "kernel": kernel, **options}, images)


def pool(kind, channels, axes, size, images=2, **options):
    return Case(kind, channels, axes, {"size": size, **options}, images)


CONV = [
    # the networks that people train first
    conv(1, (28, 28), 6, 5, padding="same"),
    conv(6, (14, 14), 16, 5),
    conv(3, (9, 13), 32, 3, padding="same"),
    conv(3, (12, 12), 8, 7, stride=2, padding="same"),
    # 1x1 kernels, 1x1 maps, one number
    conv(1, (1, 1), 1, 1, images=1),
    conv(16, (7, 7), 32, 1),
    conv(5, (4, 4), 8, 1, stride=2),
    conv(6, (10, 10), 8, 1, stride=3),
    conv(8, (1, 1), 8, 3, padding="same"),
    conv(17, (1, 1), 5, 3, padding=1, images=5),
    conv(64, (1, 1), 10, 1, images=3, bias=False),
    # channels below, at and above a vector or two, on either side
    conv(5, (3, 4), 6, 3, padding="same"),
    conv(6, (4, 3), 5, 2),
    conv(8, (3, 3), 15, 3, padding=1),
    conv(15, (3, 3), 8, 2, padding="same"),
    conv(16, (3, 5), 17, 3, padding="same"),
    conv(17, (4, 4), 16, 3),
    conv(31, (3, 3), 32, 3, padding="same"),
    conv(32, (3, 4), 31, 2),
    conv(33, (3, 3), 40, 3, padding="same"),
    conv(40, (4, 3), 33, 3, stride=2, padding=1),
    conv(48, (3, 3), 64, 2),
    conv(64, (3, 3), 48, 3, padding="same"),
    # rows of 1, 7, 13, 28 and 29 pixels
    conv(2, (5, 1), 4, [3, 1]),
    conv(3, (4, 1), 7, 3, padding="same"),
    conv(4, (2, 13), 16, [1, 3], padding="same"),
    conv(2, (2, 28), 5, [2, 5], padding="same"),
    conv(7, (2, 29), 8, [1, 4]),
    conv(16, (7, 7), 16, 3, padding="same"),
    conv(4, (7, 7), 12, 7),
    # even kernels, full padding, padding of each side its own, windows that lie in the padding alone
    conv(3, (8, 8), 4, 2, padding="same"),
    conv(5, (7, 7), 6, 4, padding="same"),
    conv(4, (9, 9), 8, 4, stride=2, padding="same"),
    conv(2, (5, 6), 3, 3, padding="full"),
    conv(8, (4, 4), 16, 4, padding="full"),
    conv(3, (5, 4), 4, 3, stride=2, padding="full"),
    conv(4, (6, 5), 6, 3, padding=[[0, 2], [3, 1]]),
    conv(15, (6, 5), 6, 3, padding=[[2, 0], [0, 1]]),
    conv(3, (7, 7), 5, [3, 2], stride=[2, 1], padding=[[1, 0], [0, 2]]),
    conv(2, (4, 4), 3, 2, padding=[[3, 0], [0, 4]]),
    conv(20, (4, 4), 9, 2, padding=[[3, 0], [0, 4]]),
    # strides below and above the kernel, different along the axes, that leave rows of the input unread
    conv(3, (11, 11), 5, 2, stride=3),
    conv(18, (11, 8), 5, 2, stride=[4, 3]),
    conv(15, (9, 9), 16, 3, stride=2, padding="same"),
    conv(16, (8, 8), 31, 3, stride=2, padding=1),
    conv(4, (7, 9), 6, 3, stride=[1, 2]),
    conv(4, (9, 7), 6, [2, 3], stride=[2, 1], padding="same"),
    conv(2, (10, 11), 4, 5, stride=[3, 2], padding=2),
    # pixels and strips for panels of the input: rows left out, every width of a strip, strides, no border, groups
    conv(16, (8, 7), 70, 3, padding="same"),
    conv(20, (15, 16), 64, 3, images=3, stride=2, padding=1),
    conv(37, (10, 10), 81, 1),
    conv(32, (9, 8), 128, 3, padding="same", groups=2),
    # dilation
    conv(3, (9, 9), 4, 3, dilation=2),
    conv(16, (7, 8), 5, 3, dilation=[1, 2], padding="same"),
    conv(5, (8, 7), 16, 3, dilation=[2, 1], padding="same"),
    conv(4, (10, 10), 6, 3, dilation=3, stride=2, padding="same"),
    conv(2, (6, 6), 3, 2, dilation=4, padding="full"),
    # few input channels and no padding along the width: the data gradient goes by output pixels
    conv(4, (9, 6), 5, [3, 2], dilation=[2, 1], padding=[[2, 1], 0]),
    conv(8, (5, 9), 33, [2, 4], stride=[1, 2], padding=[1, 0], images=40),
    conv(2, (3, 4, 7), 6, [2, 3, 3], stride=[2, 1, 3], padding=[1, 1, 0]),
    conv(3, (4, 7), 5, 3, stride=[1, 3], padding=[0, [1, 0]]),  # as many as would fit without the padding, but moved
    # groups and depthwise, with a multiplier, strides and dilation
    conv(8, (5, 5), 16, 3, groups=2, padding="same"),
    conv(6, (5, 4), 9, 2, groups=3),
    conv(16, (7, 7), 16, 3, groups=4, stride=2, padding=1),
    conv(12, (6, 6), 20, 3, groups=2, dilation=2, padding="same"),
    conv(36, (3, 3), 68, 1, groups=2),
    conv(16, (5, 5), 16, 3, groups=16, padding="same"),
    conv(17, (5, 5), 17, 3, groups=17, stride=2, padding=1),
    conv(5, (6, 7), 15, 3, groups=5, padding="same"),
    # narrow groups, whose channels share a vector: of 2, 4 and 8, whole vectors and parts, several blocks of channels
    conv(6, (5, 9), 6, 3, groups=3, padding="same"),
    conv(24, (6, 17), 24, 3, groups=3, padding=[[0, 1], [2, 0]]),
    conv(48, (5, 6), 48, [2, 5], groups=24, stride=[2, 1], padding="same"),
    conv(40, (6, 6), 40, 3, groups=10, dilation=2, padding="full", images=5),
    conv(264, (3, 4), 264, 2, groups=66, bias=False),
    conv(16, (3, 3), 16, 1, groups=2, stride=2, images=40),
    # many images, a lone one, no bias
    conv(3, (5, 5), 4, 3, images=40),
    conv(16, (2, 2), 16, 2, images=70, bias=False),
    conv(4, (12, 12), 20, 3, images=1, padding="same", bias=False),
    # one dimension
    conv(1, (28,), 4, 5),
    conv(3, (13,), 8, 3, stride=2, padding="same"),
    conv(4, (16,), 6, 3, dilation=4, padding="full"),
    conv(16, (9,), 16, 3, dilation=2, padding=[[4, 0]]),
    conv(6, (29,), 6, 4, groups=2, padding=[[1, 2]]),
    conv(8, (29,), 8, 5, groups=2, stride=2, padding="same"),
    conv(2, (1,), 3, 1, images=1),
    # three dimensions
    conv(1, (4, 5, 6), 3, 3),
    conv(2, (3, 4, 5), 5, [1, 2, 3], stride=[1, 2, 1], padding="same"),
    conv(3, (4, 4, 4), 8, 3, padding=1),
    conv(16, (3, 3, 3), 17, 2, stride=2, padding="same"),
    conv(2, (2, 3, 3), 3, 3, padding="full"),
    conv(4, (5, 4, 4), 6, [3, 2, 2], groups=2, dilation=[2, 1, 1], padding=[[0, 1], [1, 0], 1]),
    conv(8, (3, 4, 5), 8, [2, 3, 2], groups=4, dilation=[1, 2, 1], padding="same"),
    conv(5, (6, 2, 2), 4, [4, 1, 1], stride=[2, 1, 1]),
]

SOME = [[0], [2, 1], [0, 1, 2, 3], [3], [0, 3]]
CONV += [
    # true convolutions, biases of each place, connections
    conv(3, (6, 7), 5, [3, 2], flip=True),
    conv(40, (5, 5), 33, 3, flip=True, padding="same", images=3),
    conv(1, (12, 20), 4, 5, flip=True, groups=1),
    conv(6, (8,), 4, 4, flip=True, padding="full", groups=2),
    conv(2, (3, 4, 5), 3, [3, 2, 1], flip=True),
    conv(5, (6, 5), 7, 3, bias="untied"),
    conv(1, (9, 18), 6, 3, bias="untied", padding="same"),
    conv(64, (6, 6), 40, 3, bias="untied", stride=2, padding="same"),
    conv(3, (9,), 4, 3, bias="untied", flip=True, images=5),
    conv(2, (3, 3, 4), 20, 2, bias="untied", padding="same"),
    conv(6, (7, 7), 16, 5, connections="lenet5"),
    conv(4, (5, 6), 5, 3, connections=SOME, padding="same"),
    conv(4, (9,), 5, 2, connections=SOME, flip=True, bias="untied"),
    conv(4, (2, 3, 4), 5, 2, connections=SOME, stride=2, padding="same", bias=False),
    conv(1, (6, 20), 2, 3, connections=[[0], [0]]),
    conv(40, (4, 4), 40, 3, padding=1, connections=[list(range(i % 7, 40, 1 + i % 5)) for i in range(40)]),
]

POOL = [
    (6, (12, 12), 2, {}),
    (16, (7, 7), 2, {}),  # the last row and column are in no window
    (5, (9, 8), 3, {"stride": 2}),
    (17, (7, 7), 3, {"stride": 2, "padding": 1}),
    (33, (5, 5), 3, {"stride": 1, "padding": "same"}),
    (8, (7, 7), 7, {}),
    (1, (4, 5), [4, 5], {}),
    (3, (8, 8), 2, {"stride": 3}),
    (4, (6, 6), 1, {"stride": 2}),
    (2, (5, 5), 3, {"stride": 1, "padding": "full"}),
    (9, (6, 5), [2, 3], {"stride": [1, 2], "padding": [[0, 1], [2, 0]]}),
    (31, (4, 1), [2, 1], {}),
    (40, (1, 1), 1, {}),
    (6, (28,), 4, {}),
    (3, (9,), 3, {"stride": 2, "padding": [[1, 0]]}),
    (4, (8,), 2, {"padding": [[1, 0]]}),  # windows end one element before the end
    (4, (4, 5, 6), 2, {}),
    (2, (3, 4, 4), [3, 2, 2], {"stride": [1, 2, 1], "padding": [1, 0, 1]}),
    (5, (9, 8), 2, {"dilation": [3, 2]}),  # taps as far apart as the stride, or farther
    (16, (9, 7), 3, {"stride": 1, "dilation": 2, "padding": "same"}),
    (3, (11,), 2, {"stride": 3, "dilation": 4, "padding": [[3, 1]]}),
]

# channels, axes, options
DEPTHWISE = [
    (1, (5, 5), {}),
    (3, (6, 7), {"padding": "same"}),
    (7, (9, 9), {"kernel": 5, "padding": "same", "stride": 2}),
    (8, (1, 1), {"padding": 1}),
    (15, (7, 7), {"padding": "same"}),
    (16, (14, 14), {"padding": "same"}),
    (17, (9, 8), {"stride": 2, "padding": "same"}),
    (32, (7, 7), {"stride": 2, "padding": 1}),
    (33, (8, 12), {"padding": 1, "bias": False}),
    (48, (5, 19), {"kernel": [3, 1], "padding": [1, 0]}),
    (64, (4, 5), {"kernel": 1}),
    (130, (3, 3), {"padding": "same"}),
    (272, (2, 3), {"kernel": 2}),
    (6, (9, 9), {"kernel": 7, "padding": "same"}),
    (20, (8, 8), {"dilation": 2, "padding": "same"}),
    (5, (10, 11), {"dilation": [2, 1], "stride": [1, 2], "padding": "full"}),
    (9, (11, 8), {"kernel": 2, "stride": [4, 3]}),
    (4, (4, 4), {"kernel": 2, "padding": [[3, 0], [0, 4]]}),
    (18, (9, 9), {"dilation": 2, "stride": 2, "padding": 3}),
    (1, (5, 6), {"multiplier": 4, "padding": "same"}),
    (5, (6, 7), {"multiplier": 3, "padding": "same"}),
    (12, (7, 7), {"multiplier": 2, "stride": 2, "padding": 1, "bias": False}),
    (3, (28,), {"kernel": 5}),
    (16, (17,), {"kernel": 3, "dilation": 4, "padding": [[8, 0]]}),
    (6, (9,), {"multiplier": 2, "stride": 3, "padding": 1}),
    (4, (4, 5, 6), {"padding": "same"}),
    (16, (3, 4, 4), {"kernel": [1, 2, 3], "stride": [1, 2, 1], "padding": "same"}),
    (3, (3, 4, 4), {"multiplier": 2, "kernel": [2, 3, 2], "dilation": [2, 1, 1], "padding": [1, [0, 1], 1]}),
]

# channels, axes, options
TRANSPOSED = [
    (1, (1, 1), {"filters": 1, "kernel": 1}),
    (3, (5, 4), {"filters": 6}),
    (16, (7, 7), {"filters": 8, "kernel": 5, "stride": 2, "padding": 2, "output_padding": 1}),
    (6, (5, 6), {"filters": 17, "kernel": 4, "stride": 2, "padding": 1}),
    (20, (4, 4), {"filters": 33, "kernel": 2, "stride": 2, "bias": False}),
    (33, (6, 6), {"filters": 32, "padding": "same"}),
    (48, (5, 5), {"filters": 64, "padding": 1}),
    (5, (4, 5), {"filters": 3, "stride": 2, "padding": "same"}),
    (4, (3, 5), {"filters": 7, "kernel": [1, 2], "stride": [3, 4], "padding": "same"}),
    (8, (4, 4), {"filters": 12, "stride": [3, 2], "output_padding": [2, 0], "groups": 4}),
    (12, (5, 5), {"filters": 20, "kernel": 2, "stride": 2, "padding": "same", "groups": 2}),
    (7, (4, 4), {"filters": 7, "groups": 7, "stride": 2, "padding": 1, "output_padding": 1}),
    (24, (4, 5), {"filters": 24, "groups": 3, "stride": 2, "padding": 1}),
    (12, (5, 4), {"filters": 12, "kernel": [3, 2], "groups": 3, "stride": [1, 3], "output_padding": [0, 1]}),
    (4, (5, 4), {"filters": 5, "dilation": 2}),
    (2, (4, 4), {"filters": 9, "kernel": 2, "dilation": 3, "stride": 2, "output_padding": 2}),
    (6, (6, 5), {"filters": 4, "padding": [[0, 2], [2, 1]], "stride": 2}),
    (5, (7, 6), {"filters": 4, "kernel": 2, "padding": [[3, 0], [0, 2]]}),  # more cut off than one window reaches
    (3, (8,), {"filters": 5, "kernel": 4, "stride": 3}),
    (40, (6,), {"filters": 6, "stride": 2, "padding": "same", "dilation": 2}),
    (4, (2, 3, 4), {"filters": 6, "kernel": [1, 2, 3], "stride": [2, 1, 2], "padding": "same"}),
    (2, (3, 3, 3), {"filters": 3, "stride": 2, "padding": 1, "output_padding": 1, "bias": False}),
]

# channels, axes, options; for tiled convolutions the tiles are added
LOCAL = [
    (1, (1, 1), {"filters": 1, "kernel": 1}),
    (3, (6, 5), {"filters": 5}),
    (6, (7, 7), {"filters": 16, "kernel": 5}),
    (16, (6, 7), {"filters": 33, "padding": "same"}),
    (33, (4, 5), {"filters": 17, "padding": "same", "bias": False}),
    (40, (3, 4), {"filters": 72, "kernel": 2}),
    (4, (9, 8), {"filters": 6, "stride": 2, "padding": 1}),
    (5, (8, 9), {"filters": 4, "kernel": [2, 3], "stride": [3, 1], "bias": "tied"}),
    (3, (9, 9), {"filters": 8, "dilation": 2}),
    (2, (8, 9), {"filters": 3, "kernel": 2, "dilation": [1, 3], "stride": 2, "padding": "full"}),
    (2, (5, 6), {"filters": 3, "padding": [[0, 2], [3, 1]]}),
    (3, (9, 7), {"filters": 4, "kernel": 2, "stride": 3}),  # some inputs are seen by none
    (5, (4, 4), {"filters": 4, "kernel": 2, "padding": [[3, 0], [0, 4]]}),
    (6, (11,), {"filters": 9, "kernel": 4, "stride": 2, "padding": "same"}),
    (3, (3, 4, 4), {"filters": 4, "kernel": [2, 3, 2], "padding": "same"}),
    (2, (4, 3, 5), {"filters": 20, "kernel": 2, "stride": [2, 1, 2], "padding": [1, 0, [1, 0]]}),
]
TILES = [1, 2, 3, 2, [2, 3], [1, 2], 2, [1, 4], 3, 2, [5, 1], 2, [3, 2], 3, [1, 2, 2], [2, 9, 1]]

# channels, axes, options, images
NORMALIZED = [
    (1, (1, 1), {"filters": 1, "kernel": 1}, 2),
    (3, (7, 6), {"filters": 5, "center": False}, 3),
    (3, (12, 12), {"filters": 40, "kernel": 6, "eps": 0.01}, 2),
    (1, (9, 9), {"filters": 8, "kernel": 5, "padding": "same", "center": False}, 2),
    (16, (6, 7), {"filters": 33, "padding": "same", "eps": 0.5}, 2),
    (33, (4, 5), {"filters": 17, "bias": False, "padding": "full"}, 2),
    (20, (8, 8), {"filters": 64, "padding": "same", "center": False}, 2),
    (4, (9, 8), {"filters": 6, "stride": 2, "padding": 1}, 40),
    (5, (8, 9), {"filters": 4, "kernel": [2, 3], "stride": [3, 1], "dilation": [1, 2]}, 3),
    (2, (5, 6), {"filters": 3, "padding": [[0, 2], [3, 1]], "center": False}, 2),
    (6, (11,), {"filters": 9, "kernel": 4, "stride": 2, "padding": "same"}, 2),
    (2, (4, 3, 5), {"filters": 7, "kernel": 2, "stride": [2, 1, 2], "padding": [1, 0, [1, 0]]}, 2),
    (3, (3, 4, 4), {"filters": 4, "kernel": [2, 3, 2], "center": False, "bias": False}, 1),
]

MAPS = [(6, (5, 7)), (1, ()), (16, (3, 3)), (5, (8,)), (3, (2, 3, 2)), (10, ())]

PLAIN_ACTIVATIONS = ("relu", "relu6", "gelu", "sigmoid", "tanh", "scaled_tanh", "softplus")
GLOBAL_POOL = [(6, (5, 7)), (16, (4, 4)), (1, (8,)), (33, (1, 1)), (5, (2, 4, 2)), (3, (2, 3, 2))]
# with channels that do not divide a segment of the kernel's, more than one, rows of many segments, many images
NORM = [(33, (2, 40), 1), (48, (1, 23), 2), (600, (2,), 3), (3, (40,), 1), (4, (2, 2), 70), (1, (1, 1), 1), (9, (), 1)]

# inputs, units, images
DENSE = [(1, 1, 1), (5, 6, 3), (84, 10, 2), (10, 84, 2), (17, 33, 5), (64, 48, 64), (33, 40, 13), (128, 8, 33)]
DENSE += [(300, 16, 1), (31, 15, 4), (32, 17, 6)]

CASES = [
    *CONV,
    *(Case("depthwise_conv", channels, axes, options) for channels, axes, options in DEPTHWISE),
    Case("depthwise_conv", 16, (3, 3), {"padding": "same"}, 40),
    Case("depthwise_conv", 40, (12, 12), {"padding": "same"}, 1),
    *(Case("local_conv", channels, axes, options) for channels, axes, options in LOCAL),
    *(
        Case("tiled_conv", channels, axes, options | {"tiles": tiles})
        for (channels, axes, options), tiles in zip(LOCAL, TILES, strict=True)
    ),
    Case("local_conv", 8, (3, 4), {"filters": 20}, 70),
    Case("local_conv", 16, (8, 8), {"filters": 32, "kernel": 1}, 20),  # images of whole pages
    Case("local_conv", 20, (8, 7), {"filters": 12, "padding": "same"}, 1),
    Case("tiled_conv", 8, (7, 9), {"filters": 40, "tiles": 2, "padding": 1}, 40),
    Case("tiled_conv", 5, (16, 16), {"filters": 6, "tiles": 4, "bias": "tied"}, 17),
    Case("tiled_conv", 40, (20, 20), {"filters": 64, "tiles": 3}, 3),
    *(Case("normalized_conv", *where, options, images) for *where, options, images in NORMALIZED),
    *(Case("transposed_conv", channels, axes, options) for channels, axes, options in TRANSPOSED),
    Case("transposed_conv", 8, (2, 3), {"filters": 16, "stride": 2}, 40),
    Case("transposed_conv", 24, (10, 9), {"filters": 6, "kernel": 5, "stride": 2, "padding": "same"}, 1),
    *(pool("max_pool", channels, axes, size, **options) for channels, axes, size, options in POOL),
    *(pool("avg_pool", channels, axes, size, **options) for channels, axes, size, options in POOL),
    *(
        pool("avg_pool", channels, axes, size, count_padding=True, **options)
        for channels, axes, size, options in POOL[3:11]
    ),
    *(
        pool("avg_pool", channels, axes, size, trainable=True, images=5, **options)
        for channels, axes, size, options in POOL
    ),
    *(Case("global_avg_pool", channels, axes, {}, 3) for channels, axes in GLOBAL_POOL),
    *(Case("dense", c_in, (), {"units": units}, images) for c_in, units, images in DENSE),
    Case("dense", 20, (), {"units": 5, "bias": False}, 7),
    *(Case("flatten", channels, axes, {}, 3) for channels, axes in MAPS),
    *(Case(kind, *where, {}, 3) for kind in PLAIN_ACTIVATIONS for where in MAPS),
    *(Case("swish", *where, options, 3) for where in MAPS for options in ({}, {"beta": 0.5})),
    *(Case("leaky_relu", *where, options, 3) for where in MAPS for options in ({}, {"alpha": 0.25})),
    *(Case("elu", *where, options, 3) for where in MAPS for options in ({}, {"alpha": 0.5})),
    Case("leaky_relu", 4, (3, 3), {"alpha": 0.0}),
    Case("elu", 4, (3, 3), {"alpha": 0.0}),
    *(Case("batch_norm", *where, {}, 3) for where in MAPS),
    *(Case("batch_norm", channels, axes, {}, images) for channels, axes, images in NORM),
    Case("batch_norm", 5, (3, 4), {"eps": 0.5, "momentum": 1.0}, 4),
    *(Case("batch_norm", *where, {"affine": False}, 3) for where in [*MAPS, (33, (2, 40))]),
    *(Case("dropout", *where, {}, 3) for where in MAPS),
    *(Case("dropout", 6, (4, 4), {"rate": rate}, 3) for rate in (0.1, 0.75, 0.0)),
    *(Case(*row) for row in (*cases_channels.ROWS, *cases_images.ROWS)),
]


def window_options(case, size):
    """(size, stride, dilation, padding) of a window layer, each with a value for every axis."""
    rank, options = len(case.axes), case.options

    def per_axis(value):
        return [value] * rank if isinstance(value, int) else list(value)

    kernel = per_axis(options.get(size, 3))  # a convolution's may be left out
    stride = per_axis(options.get("stride", 1 if size == "kernel" else kernel))
    dilation, padding = per_axis(options.get("dilation", 1)), options.get("padding", "valid")
    if padding == "same":
        pairs = [naive.same_padding(*axis) for axis in zip(case.axes, kernel, stride, dilation, strict=True)]
    elif padding == "full":
        pairs = [((k - 1) * d, (k - 1) * d) for k, d in zip(kernel, dilation, strict=True)]
    else:
        pairs = [(p, p) if isinstance(p, int) else tuple(p) for p in per_axis(0 if padding == "valid" else padding)]
    return kernel, stride, dilation, pairs


def connected(case):
    """1 for each (filter, input channel) that a convolution connects, to be multiplied with its weights."""
    chosen = case.options.get("connections")
    if chosen is None:
        return 1
    rows = naive.LENET5 if chosen == "lenet5" else chosen
    mask = np.array([[channel in row for channel in range(case.channels)] for row in rows], float)
    return mask.reshape(*mask.shape, *[1] * len(case.axes))


def define_conv(case, x, parameters):
    _, stride, dilation, padding = window_options(case, "kernel")
    groups = case.channels if case.kind == "depthwise_conv" else case.options.get("groups", 1)
    mask, untied, bias = connected(case), case.options.get("bias") == "untied", parameters.get("bias")

    def turned(w):
        return np.flip(w, tuple(range(2, w.ndim))) if case.options.get("flip") else w

    w = turned(parameters["weight"] * mask)

    def backward(dy):
        dx, dw, db = naive.convolution_gradients(dy, x, w, stride, padding, dilation, groups)
        return dx, {"weight": turned(dw) * mask, "bias": dy.sum(0) if untied else db}

    y = naive.convolution(x, w, None if untied else bias, stride, padding, dilation, groups)
    return y + bias if untied else y, backward


def define_tiled_conv(case, x, parameters):
    _, stride, dilation, padding = window_options(case, "kernel")
    w, bias = parameters["weight"], parameters.get("bias")

    def backward(dy):
        dx, dw, db = naive.tiled_convolution_gradients(dy, x, w, stride, padding, dilation)
        tied = case.options.get("bias") == "tied"
        return dx, {"weight": dw, "bias": db.sum(tuple(range(1, db.ndim))) if tied else db}

    return naive.tiled_convolution(x, w, bias, stride, padding, dilation), backward


def define_normalized_conv(case, x, parameters):
    _, stride, dilation, padding = window_options(case, "kernel")
    how = case.options.get("center", True), case.options.get("eps", 1e-5), stride, padding, dilation
    w = parameters["weight"]

    def backward(dy):
        dx, dw, db = naive_windows.normalized_convolution_gradients(dy, x, w, *how)
        return dx, {"weight": dw, "bias": db}

    return naive_windows.normalized_convolution(x, w, parameters.get("bias"), *how), backward


def transposed_options(case):
    """(stride, dilation, (before, after) that is cut, output sizes) of a transposed convolution."""
    kernel, stride, dilation, cut = window_options(case, "kernel")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if case.options.get("padding") == "same":  # the mirrored convolution's, from n * stride to n
        sizes = tuple(n * s for n, s in zip(case.axes, stride, strict=True))
        pairs = [naive.same_padding(*axis) for axis in zip(sizes, kernel, stride, dilation, strict=True)]
        # where the kernel is below the stride, what nothing reaches is not cut but stays
        ends = [(n - 1) * s + span for n, s, span in zip(case.axes, stride, spans, strict=True)]
        cut = [(b, max(0, end - n - b)) for (b, _), end, n in zip(pairs, ends, sizes, strict=True)]
        return stride, dilation, cut, sizes
    more = case.options.get("output_padding", 0)
    more = [more] * len(case.axes) if isinstance(more, int) else more
    axes = zip(case.axes, stride, spans, more, cut, strict=True)
    return stride, dilation, cut, tuple((n - 1) * s + span + m - sum(c) for n, s, span, m, c in axes)


def define_transposed_conv(case, x, parameters):
    stride, dilation, cut, sizes = transposed_options(case)
    groups, w = case.options.get("groups", 1), parameters["weight"]

    def backward(dy):
        dx, dw, db = naive.transposed_convolution_gradients(dy, x, w, stride, cut, dilation, groups)
        return dx, {"weight": dw, "bias": db}

    y = naive.transposed_convolution(x, w, parameters.get("bias"), stride, cut, dilation, sizes, groups)
    return y, backward


def define_dense(case, x, parameters):
    def backward(dy):
        dx, dw, db = naive.dense_gradients(dy, x, parameters["weight"])
        return dx, {"weight": dw, "bias": db}

    return naive.dense(x, parameters["weight"], parameters.get("bias")), backward


def define_max_pool(case, x, parameters):
    size, stride, dilation, padding = window_options(case, "size")
    y, chosen = naive.max_pool(x, size, stride, padding, dilation)
    return y, lambda dy: (naive.max_pool_gradient(dy, x, chosen), {})


def define_avg_pool(case, x, parameters):
    size, stride, dilation, padding = window_options(case, "size")
    if case.options.get("trainable"):
        return define_subsampling(case, x, parameters)
    given = size, stride, padding, dilation, case.options.get("count_padding", False)
    return naive.average_pool(x, *given), lambda dy: (naive.average_pool_gradient(dy, x, *given), {})


def define_subsampling(case, x, parameters):
    """The sum of each window, times its channel's coefficient, plus its bias."""
    size, stride, dilation, padding = window_options(case, "size")
    whole, axes = math.prod(size), (0, *range(2, x.ndim))
    sums = whole * naive.average_pool(x, size, stride, padding, dilation, True)
    weight, bias = (naive.by_channel(parameters[name], x) for name in ("weight", "bias"))

    def backward(dy):
        dx = naive.average_pool_gradient(dy * weight * whole, x, size, stride, padding, dilation, True)
        return dx, {"weight": (dy * sums).sum(axes), "bias": dy.sum(axes)}

    return sums * weight + bias, backward


def define_global_avg_pool(case, x, parameters):
    pixels = tuple(range(2, x.ndim))
    return x.mean(pixels), lambda dy: (x * 0 + np.expand_dims(dy, pixels) / math.prod(case.axes), {})


def define_flatten(case, x, parameters):
    return x.reshape(len(x), -1), lambda dy: (dy.reshape(x.shape), {})


def define_activation(case, x, parameters):
    name = {"swish": "beta"}.get(case.kind, "alpha")
    alpha = case.options.get(name, {"leaky_relu": 0.01, "elu": 1.0, "swish": 1.0}.get(case.kind, 0.0))
    y = naive.activation(case.kind, x, alpha)
    return y, lambda dy: (naive.activation_gradient(case.kind, dy, x, alpha), {})


def define_batch_norm(case, x, parameters):
    weight, bias = parameters.get("weight", np.ones(case.channels)), parameters.get("bias", np.zeros(case.channels))
    eps = case.options.get("eps", 1e-5)

    def backward(dy):
        dx, dweight, dbias = naive.normalize_gradients(dy, x, weight, eps)
        return dx, {"weight": dweight, "bias": dbias}

    return naive.normalize(x, *naive.batch_statistics(x), weight, bias, eps), backward


def define_dropout(case, x, parameters):
    """`kept` is 1 where an element survives: what survives is random, what is done with it is not."""
    factor = parameters["kept"] / (1 - case.options.get("rate", 0.5))
    return x * factor, lambda dy: (dy * factor, {})


# kind -> (case, x, parameters) -> (y, backward), backward(dy) -> (dx, gradients), all in the order of files
DEFINITIONS = {
    "conv": define_conv,
    "depthwise_conv": define_conv,
    "local_conv": define_tiled_conv,
    "tiled_conv": define_tiled_conv,
    "transposed_conv": define_transposed_conv,
    "normalized_conv": define_normalized_conv,
    "dense": define_dense,
    "max_pool": define_max_pool,
    "avg_pool": define_avg_pool,
    "global_avg_pool": define_global_avg_pool,
    "flatten": define_flatten,
    "batch_norm": define_batch_norm,
    "dropout": define_dropout,
    **dict.fromkeys(naive.ACTIVATIONS, define_activation),
    **cases_channels.DEFINITIONS,
    **cases_images.DEFINITIONS,
}


def power_of_two(value) -> bool:
    return value == 0 or math.frexp(value)[0] == 0.5


def is_exact(case) -> bool:
    """Whether small integers give a result without a rounding error, whatever the order of the sums."""
    if case.kind == "leaky_relu":
        return power_of_two(case.options.get("alpha", 0.01))
    if case.kind == "dropout":
        return power_of_two(1 - case.options.get("rate", 0.5))
    if case.kind == "global_avg_pool":
        return power_of_two(math.prod(case.axes))
    if case.kind == "avg_pool":
        size, stride, dilation, padding = window_options(case, "size")
        share = naive.average_pool(np.ones((1, 1, *case.axes)), size, stride, padding, dilation, count_padding=True)
        if case.options.get("trainable"):
            return False  # the oracle divides
        counts = (
            {math.prod(size)} if case.options.get("count_padding") else set(np.rint(share.ravel() * math.prod(size)))
        )
        return all(map(power_of_two, counts))
    if case.kind == "normalized_conv":
        return False
    if case.kind in ("dense", "max_pool", "flatten", "relu", "relu6") or case.kind.endswith("conv"):
        return True
    return cases_channels.is_exact(case) or cases_images.is_exact(case)
