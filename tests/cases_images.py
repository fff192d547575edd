"""Rows and definitions, for the table of `cases`, of the layers that make images of another size."""

import naive
import naive_images

GLOBAL_POOL = [(6, (5, 7)), (16, (4, 4)), (1, (8,)), (33, (1, 1)), (5, (2, 4, 2)), (3, (2, 3, 2))]
UPSAMPLE = [
    (6, (3, 4), {}),
    (1, (5,), {"scale": 3}),
    (17, (2, 3), {"scale": [1, 4]}),
    (3, (2, 3, 2), {"scale": [2, 1, 2]}),
    (5, (1, 1), {"scale": 5}),
    (2, (2, 2, 3), {"scale": 4}),
    (4, (3,), {"scale": 1}),
]
PAD = [
    (6, (3, 4), 1),
    (17, (4, 3), [[2, 0], 1]),
    (1, (7,), [[3, 4]]),
    (3, (3, 2, 4), [1, 0, [0, 3]]),
    (5, (2, 2), 0),
]
CROP = [
    (6, (5, 6), {"pixels": 1}),
    (17, (4, 5), {"pixels": [[2, 0], [1, 3]]}),
    (1, (9,), {"size": 4}),
    (3, (3, 4, 5), {"pixels": [1, 0, [0, 3]]}),
    (4, (5, 6, 3), {"size": [2, 6, 3]}),
    (5, (2, 2), {"pixels": 0}),
    (8, (7, 7), {"size": 4}),
]

# kind, channels, axes, options, images
ROWS = [
    *(("global_max_pool", *where, {}, 3) for where in GLOBAL_POOL),
    *(
        ("upsample", c, axes, {**given, "mode": mode}, 2)
        for c, axes, given in UPSAMPLE
        for mode in ("nearest", "linear")
    ),
    *(("pad", c, axes, {"padding": padding}, 2) for c, axes, padding in PAD),
    *(("pad", c, axes, {"padding": p, "mode": "constant", "value": -2.5}, 2) for c, axes, p in PAD),
    *(("pad", c, axes, {"padding": padding, "mode": "edge"}, 2) for c, axes, padding in PAD),
    *(("pad", c, axes, {"padding": p, "mode": "reflect"}, 2) for c, axes, p in PAD if axes[0] != 2),
    ("pad", 3, (8, 9), {"padding": [7, [8, 3]], "mode": "reflect"}, 3),
    ("pad", 3, (1,), {"padding": 4, "mode": "edge"}, 3),
    *(("crop", c, axes, options, 2) for c, axes, options in CROP),
]


def is_exact(case) -> bool:
    if case.kind == "upsample" and case.options.get("mode", "nearest") == "linear":
        scale = case.options.get("scale", 2)
        return all(s in (1, 2, 4) for s in ([scale] if isinstance(scale, int) else scale))
    return case.kind in DEFINITIONS


def define_global_max_pool(case, x, parameters):
    ones = (1,) * len(case.axes)
    y, chosen = naive.max_pool(x, case.axes, ones, [(0, 0)] * len(ones), ones)
    return y.reshape(y.shape[:2]), lambda dy: (naive.max_pool_gradient(dy.reshape(y.shape), x, chosen), {})


def per_axis(case, value):
    return [value] * len(case.axes) if isinstance(value, int) else value


def pairs(case, value):
    return [(n, n) if isinstance(n, int) else tuple(n) for n in per_axis(case, value)]


def define_upsample(case, x, parameters):
    scale, along = (
        per_axis(case, case.options.get("scale", 2)),
        getattr(naive_images, case.options.get("mode", "nearest")),
    )
    return naive_images.enlarge(x, scale, along), lambda dy: (naive_images.enlarge_gradient(dy, x, scale, along), {})


def define_pad(case, x, parameters):
    padding, mode = pairs(case, case.options["padding"]), case.options.get("mode", "zero")
    y = naive_images.pad(x, padding, mode, case.options.get("value", 0.0))
    return y, lambda dy: (naive_images.pad_gradient(dy, x, padding, mode), {})


def define_crop(case, x, parameters):
    if "size" in case.options:
        less = [n - wanted for n, wanted in zip(case.axes, per_axis(case, case.options["size"]), strict=True)]
        pixels = [(n // 2, n - n // 2) for n in less]
    else:
        pixels = pairs(case, case.options["pixels"])
    return x[naive_images.inside(x, pixels)], lambda dy: (naive_images.crop_gradient(dy, x, pixels), {})


DEFINITIONS = {
    "global_max_pool": define_global_max_pool,
    "upsample": define_upsample,
    "pad": define_pad,
    "crop": define_crop,
}
