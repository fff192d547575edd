"""The suites: as many convolutions as the networks have, their shapes, and the tasks of one."""

import numpy as np
import pytest

from cnncli.benchmark import convolutions, suites
from cnncli.errors import SpecificationError

COUNTS = {"resnet50": 23, "resnet18": 11, "vgg16": 9, "mobilenet": 19, "lenet": 2, "cifar": 12}
BATCHES = {"resnet50": 8, "resnet18": 8, "vgg16": 4, "mobilenet": 8, "lenet": 64, "cifar": 64}


@pytest.mark.parametrize("name", suites.SUITES)
def test_suite(name):
    items = suites.suite(name)
    assert len(items) == len({item.name for item in items}) == COUNTS[name]
    assert {item.batch for item in items} == {BATCHES[name]}
    assert items[0].first
    assert {item.batch for item in suites.suite(name, 3)} == {3}


@pytest.mark.parametrize("name", [name for name in suites.SUITES if name != "cifar"])
def test_each_convolution_reads_what_another_makes(name):
    """Through pooling, which halves: each input but the images has the channels of an output."""
    made = {item.output.channels for item in suites.suite(name)}
    assert all(item.first or item.shape.channels in made for item in suites.suite(name))


def test_text_of_a_convolution():
    item = suites.parse("64x56>128 3/2", 8)
    assert (str(item.shape), str(item.output), item.layer.stride, item.groups) == ("64x56x56", "128x28x28", 2, 1)
    assert not item.layer.bias
    item = suites.parse("32x14>32 5 p0 dw", 1)
    assert (str(item.output), item.groups) == ("32x10x10", 32)
    # 2 * 10 * 10 * 32 outputs, 25 weights each
    assert convolutions.operations(item.layer, item.shape, 3) == 3 * 2 * 3200 * 25
    assert convolutions.moved(item.layer, (item.shape, item.output), 3) == 4 * (3 * 32 * (196 + 100) + 32 * 25)


@pytest.mark.parametrize(
    "text", ["", "64x56", "64x56>128", "64x56>128 3/2 fast", "0x5>3 3", "99999x5>3 3", "6x3>8 5 p0", "3x9>4 3 dw"]
)
def test_what_is_no_convolution(text):
    with pytest.raises(SpecificationError, match="is no convolution"):
        suites.parse(text, 1)


def test_parts_of_a_convolution():
    item = suites.parse("3x6>4 3", 2)
    bound = convolutions.bound(item.layer, item.shape, item.batch)
    assert set(bound.tasks) == {"forward", "weight gradient", "data gradient"}
    for call in bound.tasks.values():
        call()
    assert bound.y.array.shape == (2, 144)
    assert np.isfinite(bound.y.array).all()
    assert bound.y.array.any()
