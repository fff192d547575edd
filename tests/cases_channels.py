"""Rows and definitions, for the table of `cases`, of the layers that run over channels or have numbers for each."""

import naive_channels as naive
import numpy as np

MAPS = [(6, (5, 7)), (1, ()), (16, (3, 3)), (5, (8,)), (3, (2, 3, 2)), (10, ())]
PRELU = [(33, (2, 40), 1), (1, (1, 23), 2), (600, (2,), 3), (4, (12, 40), 70), (84, (), 5)]

# kind, channels, axes, options, images
ROWS = [
    *((kind, *where, {}, 3) for kind in ("softmax", "log_softmax") for where in [*MAPS, (130, (2, 3)), (1000, ())]),
    *(("prelu", *where, {"shared": shared}, 3) for where in MAPS for shared in (False, True)),
    *(("prelu", channels, axes, {"shared": channels == 4}, images) for channels, axes, images in PRELU),
]
EXACT = ("prelu",)


def define_softmax(case, x, parameters):
    return naive.softmax(x), lambda dy: (naive.softmax_gradient(dy, x), {})


def define_log_softmax(case, x, parameters):
    return np.log(naive.softmax(x)), lambda dy: (naive.log_softmax_gradient(dy, x), {})


def define_prelu(case, x, parameters):
    def backward(dy):
        dx, dweight = naive.prelu_gradients(dy, x, parameters["weight"])
        return dx, {"weight": dweight}

    return naive.prelu(x, parameters["weight"]), backward


DEFINITIONS = {"softmax": define_softmax, "log_softmax": define_log_softmax, "prelu": define_prelu}
