"""What a run needs, against what is allocated."""

import pytest

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.network import Network
from cnncli.training import memory
from cnncli.training.optimizers import Optimizer

SMALL = "input: {channels: 1, size: [8, 8]}\nlayers: [conv: {filters: 4}, flatten, dense: 10]\n"


@pytest.mark.parametrize("name", ["lenet", "cifar-small", "resnet20", "unet", "mlp"])
def test_what_is_needed_is_taken(name):
    specification, batch = spec.read(name), 16
    network = Network(specification)
    Optimizer(specification.train.optimizer, network.parameters, network.arena)
    for training in (True, False):
        network.plan(batch, training)
    estimated = memory.needs(specification, batch).total()
    # the arena also holds what layers work in, and the gaps of its alignment
    assert 0.5 * network.arena.bytes < estimated <= network.arena.bytes


def test_the_batch_is_at_most_all_samples():
    specification = spec.parse(SMALL, "small.yaml", ["train.batch_size=2000000000"])
    memory.check(specification, 100, most=2**60)
    with pytest.raises(SpecificationError, match=r"training in batches of 2000000000 needs .* [TP]iB of memory"):
        memory.check(specification, 2**40)
