"""Rows and definitions, for the table of `cases`, of the layers that make images of another size."""

import naive

GLOBAL_POOL = [(6, (5, 7)), (16, (4, 4)), (1, (8,)), (33, (1, 1)), (5, (2, 4, 2)), (3, (2, 3, 2))]

# kind, channels, axes, options, images
ROWS = [*(("global_max_pool", *where, {}, 3) for where in GLOBAL_POOL)]
EXACT = ("global_max_pool",)


def define_global_max_pool(case, x, parameters):
    y, chosen = naive.max_pool(x, case.axes, (1,) * len(case.axes), [(0, 0)] * len(case.axes))
    return y.reshape(y.shape[:2]), lambda dy: (naive.max_pool_gradient(dy.reshape(y.shape), x, chosen), {})


DEFINITIONS = {"global_max_pool": define_global_max_pool}
