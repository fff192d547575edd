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
GROUP_NORM = [
    (6, (5, 7), {"groups": 2}, 3),
    (16, (3, 3), {"groups": 1}, 2),
    (5, (8,), {"groups": "channels"}, 3),
    (12, (2, 3, 2), {"groups": 4, "eps": 0.5}, 2),
    (10, (), {"groups": 5}, 3),
    (33, (2, 40), {"groups": 3}, 1),
    (600, (2,), {"groups": 6}, 3),
    (4, (2, 2), {"groups": 2}, 40),
    (48, (3, 23), {"groups": "channels"}, 2),
    (1, (), {"groups": 1}, 2),
]
LRN = [
    (6, (5, 7), {}, 3),
    (16, (3, 3), {"size": 3, "alpha": 0.5, "beta": 0.5, "k": 2.0}, 2),
    (5, (8,), {"size": 1, "alpha": 1.0, "beta": 1.0}, 3),
    (3, (2, 3, 2), {"size": 9, "alpha": 2.0}, 2),  # wider than the channels
    (10, (), {"alpha": 1.0, "beta": 2.5, "k": 0.25}, 3),
    (130, (2, 2), {"size": 31, "alpha": 3.0}, 2),
]

# kind, channels, axes, options, images
ROWS = [
    *((kind, *where, {}, 3) for kind in ("softmax", "log_softmax") for where in [*MAPS, (130, (2, 3)), (1000, ())]),
    *(("prelu", *where, {"shared": shared}, 3) for where in MAPS for shared in (False, True)),
    *(("prelu", channels, axes, {"shared": channels == 4}, images) for channels, axes, images in PRELU),
    *(("channel_max_pool", *where, options, images) for *where, options, images in CHANNEL_POOL),
    *(("group_norm", *where, options, images) for *where, options, images in GROUP_NORM),
    *(("lrn", *where, options, images) for *where, options, images in LRN),
    ("rbf", 84, (), {"units": 10, "codes": "digits"}, 5),
    *(("rbf", c, (), {"units": units, "trainable": True}, n) for c, units, n in [(84, 10, 3), (1, 1, 1), (33, 40, 64)]),
    ("rbf", 17, (), {"units": 3}, 4),
    *(("dropout", *where, {"rate": rate, "spatial": True}, 3) for where in MAPS if where[1] for rate in (0.5, 0.1)),
]


def is_exact(case) -> bool:
    return case.kind in ("prelu", "channel_max_pool", "rbf")


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


def define_group_norm(case, x, parameters):
    groups = case.channels if case.options["groups"] == "channels" else case.options["groups"]
    weight, eps = parameters["weight"], case.options.get("eps", 1e-5)

    def backward(dy):
        dx, dweight, dbias = naive.group_norm_gradients(dy, x, groups, weight, eps)
        return dx, {"weight": dweight, "bias": dbias}

    return naive.group_norm(x, groups, weight, parameters["bias"], eps), backward


def define_lrn(case, x, parameters):
    options = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0} | case.options
    return naive.lrn(x, **options), lambda dy: (naive.lrn_gradient(dy, x, **options), {})


def define_rbf(case, x, parameters):
    def backward(dy):
        dx, dweight = naive.rbf_gradients(dy, x, parameters["weight"])
        return dx, {"weight": dweight}

    return naive.rbf(x, parameters["weight"]), backward


DEFINITIONS = {
    "rbf": define_rbf,
    "group_norm": define_group_norm,
    "lrn": define_lrn,
    "softmax": define_softmax,
    "log_softmax": define_log_softmax,
    "prelu": define_prelu,
    "channel_max_pool": define_channel_max_pool,
}
