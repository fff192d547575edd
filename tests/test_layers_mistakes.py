"""Inputs that a layer cannot take: one line that says why."""

import pytest
from cases import Case

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.layers import LAYERS, Shape

FLAT_IMAGE = LAYERS["flatten"]().output_shape(Shape((1, 3, 3), 4, 2))

MISTAKES = [
    ("global_max_pool", 6, (), {}, "it needs an input with spatial axes, not a flat one"),
    ("channel_max_pool", 6, (3, 3), {"size": 7}, "its groups of 7 are larger than the 6 channels"),
    ("upsample", 6, (), {}, "it needs an input with spatial axes, not a flat one"),
    ("upsample", 6, (3, 3), {"scale": [2]}, "scale has 1 numbers, the input has 2 spatial axes"),
    ("pad", 6, (3, 3), {"padding": [1, 2, 3]}, "padding has 3 entries, the input has 2 spatial axes"),
    (
        "pad",
        6,
        (3, 4),
        {"padding": 3, "mode": "reflect"},
        "the height of 3 reflects at most 2 pixels, not 3",
    ),
    ("crop", 6, (5, 4), {"pixels": 2}, r"2 \+ 2 pixels off the width of 4 leave nothing"),
    ("group_norm", 6, (3,), {"groups": 4}, "its 4 groups do not divide the 6 channels"),
    ("dropout", 6, (), {"spatial": True}, "spatial needs an input with spatial axes, not a flat one"),
    ("rbf", 6, (2,), {"units": 3}, "it needs a flat input: put `flatten` before it"),
    (
        "rbf",
        80,
        (),
        {"units": 10, "codes": "digits"},
        "the codes of the digits need 84 inputs, 12 rows of 7, and 10 units",
    ),
    ("crop", 6, (5, 4), {"size": 5}, "its width of 5 is larger than the input's 4"),
]
OF_FLAT_IMAGES = [
    ("channel_max_pool", {"size": 2}, "a flattened image has no neighbouring channels"),
    ("lrn", {}, "a flattened image has no neighbouring channels"),
    ("group_norm", {"groups": 2}, "a flattened image has no groups of channels"),
]


@pytest.mark.parametrize(("kind", "channels", "axes", "options", "message"), MISTAKES)
def test_shapes_that_do_not_fit(kind, channels, axes, options, message):
    case = Case(kind, channels, axes, options)
    with pytest.raises(ValueError, match=f"^{message}"):
        case.layer.output_shape(case.shape)


WRONG = [
    ("pad: {padding: 1, mode: edge, value: 2.0}", "layers[0].pad.value: it belongs to `mode: constant`"),
    ("pad: {padding: 1, mode: mirror}", 'expected one of zero, constant, reflect, edge, found "mirror"'),
    (
        "crop",
        "layers[0].crop: it takes one of `pixels`, `size` and `like`",
    ),
    ("crop: {pixels: 1, size: 3}", "layers[0].crop: it takes one of `pixels`, `size` and `like`"),
    ("crop: {size: 3, like: input}", "layers[0].crop: it takes one of `pixels`, `size` and `like`"),
    ("crop: -1", "layers[0].crop.pixels: expected an integer from 0 to 65536"),
    ("upsample: {scale: 0}", "layers[0].upsample.scale: expected an integer from 1 to 65536"),
    ("upsample: {mode: cubic}", 'layers[0].upsample.mode: expected one of nearest, linear, found "cubic"'),
    ("swish: 0", "layers[0].swish.beta: expected a number above 0, found 0"),
    ("lrn: 4", "layers[0].lrn.size: expected an odd number, which has a channel in the middle, found 4"),
    ("group_norm: all", "layers[0].group_norm.groups: expected an integer from 1 to 65536, or channels"),
    (
        "avg_pool: {size: 2, trainable: true, count_padding: true}",
        "layers[0].avg_pool: with trainable it sums its windows: count_padding has no meaning",
    ),
    ("channel_max_pool", 'layers[0].channel_max_pool: missing key "size"'),
]


@pytest.mark.parametrize(("layer", "message"), WRONG)
def test_options_that_cannot_be(layer, message):
    text = f"input: {{channels: 2, size: [5, 5]}}\nlayers:\n  - {layer}\n  - flatten\n"
    with pytest.raises(SpecificationError) as found:
        spec.parse(text, "my.yaml")
    assert str(found.value).startswith("my.yaml:3: ")
    assert message in str(found.value)


@pytest.mark.parametrize(("kind", "options", "message"), OF_FLAT_IMAGES)
def test_flattened_images(kind, options, message):
    """Their numbers lie pixel by pixel here, channel by channel in the field: neighbours are not the same."""
    with pytest.raises(ValueError, match=f"^{message}"):
        LAYERS[kind](**options).output_shape(FLAT_IMAGE)
