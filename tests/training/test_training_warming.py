"""Warming up: afterwards nothing is left to compile."""

import json
import os
import subprocess
import sys

import pytest

from cnncli.layers import LAYERS
from cnncli.layers.losses import LOSSES
from cnncli.spec import models
from cnncli.spec.yaml import load
from cnncli.training.warming import ENDS, network_of_all

# In a process of its own, because other tests compile kernels too.
TRAIN_THE_ZOO_WARM = """
import json
import sys
import numpy as np
from cnncli import datasets, kernels, spec
from cnncli.datasets.batches import Feeder, Normalization
from cnncli.layers.losses import probabilities
from cnncli.network import PIXELS, Network
from cnncli.training.metrics import evaluate
from cnncli.training.optimizers import Optimizer
from cnncli.training.warming import warm

def compiled():
    return {path.name for path in kernels.CACHE.rglob("*.nbc")}

warm()
before = compiled()
for name, size in json.loads(sys.argv[1]).items():
    specification = spec.read(name, [f"input.size={size}"] if size else [])
    network, shape = Network(specification), specification.input
    images = np.zeros((4, *(1,) * (3 - len(shape.size)), *shape.size, shape.channels), np.uint8)
    labels = images[..., 0] if network.task == PIXELS else np.arange(4)
    split = datasets.Split(images, labels)
    feeder = Feeder(split, Normalization.of(split, "mean_std"), np.float32, (spec.Shift(pixels=1), spec.Flip()))
    plan = network.plan(4, training=True)
    feeder.fill(plan, np.arange(4), 1)
    plan.draw(1)
    plan.forward()
    plan.backward()
    Optimizer(specification.train.optimizer, network.parameters, network.arena).update(0.1)
    evaluate(network, feeder, tuple("01" if network.task == PIXELS else "0123"), 2)
    probabilities(specification.loss.kind, plan.output)
print(json.dumps({"warm": len(before), "new": sorted(compiled() - before)}))
"""

# of inputs, where those of the models would take gigabytes or minutes; no multiple of anything for the one of any size
SIZES = {name: [32, 32] for name in ("vgg11", "vgg16", "vgg19", "unet", "recurrent-labeller")}
SIZES |= {"alexnet": [67, 67], "fcn": [45, 38]}


@pytest.mark.parametrize("loss", LOSSES)
def test_networks_hold_every_kind_of_layer(loss):
    specifications = [network_of_all(loss, end) for end in ENDS]
    written = [item for specification in specifications for item in load(specification.source, str).data["layers"]]
    assert {item if isinstance(item, str) else next(iter(item)) for item in written} == set(LAYERS)
    assert {specification.loss.kind for specification in specifications} == {loss}


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_every_kernel_is_compiled_and_the_zoo_needs_no_other(tmp_path):
    sizes = json.dumps({name: SIZES.get(name) for name, _ in models()})
    command, own = [sys.executable, "-W", "error", "-c", TRAIN_THE_ZOO_WARM, sizes], {"CNNCLI_CACHE": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | own)
    assert ended.stderr == ""
    found = json.loads(ended.stdout)
    assert found["new"] == []
    assert found["warm"] > 20
