"""Rows and definitions, for the table of `cases`, of the layers that run over channels or have numbers for each."""

import naive_channels as naive
import numpy as np

MAPS = [(6, (5, 7)), (1, ()), (16, (3, 3)), (5, (8,)), (3, (2, 3, 2)), (10, ())]
PRELU = [(33, (2, 40), 1), (1, (1, 23), 2), (600, (2,), 3), (4, (12, 40), 70), (84, (), 5)]
CHANNEL_POOL = [
    (6, (5, 7), {"size": 2}, 3),
    (10, (), {"size": 5}, 3),
    (17, (3, 3), {"size": 4}, 2),  # the last channel is in no group
    (5, (8,), {"size": 3, "stride": 1}, 2),
    (9, (2, 3, 2), {"size": 2, "stride": 3}, 2),
    (40, (4, 5), {"size": 40}, 2),
    (1, (3, 4), {"size": 1}, 1),
    (64, (), {"size": 4, "stride": 2}, 40),
]

# kind, channels, axes, options, images
ROWS = [
    *((kind, *where, {}, 3) for kind in ("softmax", "log_softmax") for where in [*MAPS, (130, (2, 3)), (1000, ())]),
    *(("prelu", *where, {"shared": shared}, 3) for where in MAPS for shared in (False, True)),
    *(("prelu", channels, axes, {"shared": channels == 4}, images) for channels, axes, images in PRELU),
    *(("channel_max_pool", *where, options, images) for *where, options, images in CHANNEL_POOL),
]


def is_exact(case) -> bool:
    return case.kind in ("prelu", "channel_max_pool")


def define_softmax(case, x, parameters):
    return naive.softmax(x), lambda dy: (naive.softmax_gradient(dy, x), {})


def define_log_softmax(case, x, parameters):
    return np.log(naive.softmax(x)), lambda dy: (naive.log_softmax_gradient(dy, x), {})


def define_prelu(case, x, parameters):
    def backward(dy):
        dx, dweight = naive.prelu_gradients(dy, x, parameters["weight"])
        return dx, {"weight": dweight}

    return naive.prelu(x, parameters["weight"]), backward


def define_channel_max_pool(case, x, parameters):
    size = case.options["size"]
    y, chosen = naive.channel_max_pool(x, size, case.options.get("stride", size))
    return y, lambda dy: (naive.channel_max_pool_gradient(dy, x, chosen), {})


DEFINITIONS = {
    "softmax": define_softmax,
    "log_softmax": define_log_softmax,
    "prelu": define_prelu,
    "channel_max_pool": define_channel_max_pool,
}
