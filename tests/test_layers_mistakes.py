"""Inputs that a layer cannot take: one line that says why."""

import pytest
from cases import Case

from cnncli.layers import LAYERS, Shape

FLAT_IMAGE = LAYERS["flatten"]().output_shape(Shape((1, 3, 3), 4, 2))

MISTAKES = [
    ("global_max_pool", 6, (), {}, "it needs an input with spatial axes, not a flat one"),
    ("channel_max_pool", 6, (3, 3), {"size": 7}, "its groups of 7 are larger than the 6 channels"),
]
OF_FLAT_IMAGES = [("channel_max_pool", {"size": 2}, "a flattened image has no neighbouring channels")]


@pytest.mark.parametrize(("kind", "channels", "axes", "options", "message"), MISTAKES)
def test_shapes_that_do_not_fit(kind, channels, axes, options, message):
    case = Case(kind, channels, axes, options)
    with pytest.raises(ValueError, match=f"^{message}"):
        case.layer.output_shape(case.shape)


@pytest.mark.parametrize(("kind", "options", "message"), OF_FLAT_IMAGES)
def test_flattened_images(kind, options, message):
    """Their numbers lie pixel by pixel here, channel by channel in the field: neighbours are not the same."""
    with pytest.raises(ValueError, match=f"^{message}"):
        LAYERS[kind](**options).output_shape(FLAT_IMAGE)
