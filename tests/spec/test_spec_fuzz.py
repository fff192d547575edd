"""Damaged specifications and overrides: read or refused in one line, nothing else."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cnncli.errors import SpecificationError
from cnncli.spec import nodes, parse
from cnncli.spec.yaml import dump

pytestmark = pytest.mark.usefixtures("stand_in_layers")

GOOD = """\
name: lenet
input: {channels: 1, size: [28, 28]}
layers:
  - conv:
      filters: 6
      kernel: [5, 5]
      padding: [[1, 2], 3]
      name: first
  - relu
  - dropout: 0.25
  - flatten
  - dense: 10
loss: softmax_cross_entropy
data: {normalize: mean_std, augment: [flip, shift: 2]}
train:
  epochs: 4
  optimizer: {sgd: {lr: 0.1, momentum: 0.9}}
  schedule: {one_cycle: 0.3}
  save_every: 5min
"""

POSITIONS = st.integers(0, len(GOOD))
PIECES = st.sampled_from(
    [*"{}[]:,-#&*!|>'\"\n\t 09.x~", "\n  ", ": ", "- ", "null", "1e999", "<<", "---\n", "relu", "conv"]
)
PIECES |= st.text(max_size=3)


@given(st.lists(st.tuples(POSITIONS, st.integers(0, 12), PIECES), max_size=4))
@example([(0, len(GOOD), "")])
def test_any_change_of_a_good_text_is_read_or_refused_in_one_line(changes):
    text = GOOD
    for position, removed, piece in changes:
        text = text[:position] + piece + text[position + removed :]
    try:
        specification = parse(text, "f.yaml")
        nodes(specification)
    except SpecificationError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 (no error is fine too)
    else:
        assert parse(specification.source, "g.yaml") == specification


WORDS = st.sampled_from(
    ["name", "input", "layers", "train", "optimizer", "sgd", "lr", "conv", "relu", "filters", "x", "", "flip"]
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-3, 70_000) | st.floats(-2, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


KEYS = """name input input.size layers layers.0 layers.0.conv layers.0.conv.padding layers.2.dropout.name layers.9
loss x.y data data.augment data.augment.1 train train.schedule train.optimizer train.optimizer.sgd.lr
train.optimizer.adam.betas"""


@given(st.lists(st.sampled_from(KEYS.split()), min_size=1, max_size=3), VALUES)
def test_any_value_in_any_place_is_read_or_refused_in_one_line(keys, value):
    text = dump({"v": value}).partition(":")[2].strip()
    try:
        specification = parse(GOOD, "f.yaml", [f"{key}={text}" for key in keys])
    except SpecificationError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert parse(specification.source, "g.yaml") == specification
