"""Training does PyTorch's work: twenty losses from the same parameters, in float64, are the same to its last digits.

In float32 they are as far from it as PyTorch's own in float32 are: rounding decides between two nearly equal pixels of
a max pool, or on which side of 0 a relu's input lies, and training amplifies what follows.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from peers import torch_losses

IMAGES, LR = 16, 0.01
ROOT = Path(__file__).parents[1]
NEEDS_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")

# PyTorch 2.13 in float64: `python tests/peers/torch_losses.py --model NAME` prints them
PINNED = {
    "lenet": """
        3.6109372723 4.7522858390 3.8118543462 2.4453802909 1.7121215595
        1.6691407003 1.5849542908 1.4917364387 1.3480344271 1.1627233888
        1.0041215937 0.8587343789 0.6803209639 0.5164294707 0.3732379941
        0.2459677348 0.1485446401 0.0903682858 0.0570036554 0.0373189219
    """,
    "cifar-small": """
        4.9714633894 6.4062903015 8.4968774147 3.1851989917 2.1079910613
        1.9213967225 1.8244308530 1.7173943836 1.5690874298 1.4405508851
        1.2390757640 0.9995686920 0.9367742174 2.8405131624 3.7292313802
        2.0971446778 2.1867884271 2.1045897513 1.9557317891 1.7131838463
    """,
    "resnet20": """
        2.6695822509 2.3919229387 1.9915912050 1.5947421203 1.2659974781
        1.0188156437 0.8233052511 0.6672694952 0.5379296306 0.4305127548
        0.3450053243 0.2774342388 0.2241529875 0.1831156546 0.1514848752
        0.1267863991 0.1073369078 0.0917465949 0.0789440779 0.0684222769
    """,
    "tests/peers/graph.yaml": """
        2.4858095720 1.9750407673 1.4249741903 1.1714277898 0.9240532085
        0.5871724353 0.3461991475 0.2315848867 0.1773044732 0.1489009961
        0.1238715478 0.0968760234 0.0732194846 0.0568546632 0.0469432610
        0.0405421098 0.0358369491 0.0317791963 0.0277316801 0.0238417543
    """,
}


def known(model: str) -> str:
    """The path of a file of the tests, or the name of a model of the zoo."""
    return str(ROOT / model) if "/" in model else model


@pytest.mark.parametrize("model", PINNED)
def test_losses_are_those_of_pytorch(model):
    wanted = [float(number) for number in PINNED[model].split()]
    np.testing.assert_allclose(torch_losses.ours(known(model), np.float64, IMAGES, LR), wanted, rtol=1e-8)


@pytest.mark.parametrize("model", PINNED)
def test_first_losses_in_float32_are_those_of_pytorch(model):
    """Three steps, the last two after updates: what is amplified later is still small."""
    wanted = [float(number) for number in PINNED[model].split()[:3]]
    np.testing.assert_allclose(torch_losses.ours(known(model), np.float32, IMAGES, LR)[:3], wanted, rtol=2e-5)


@NEEDS_TORCH
@pytest.mark.parametrize("model", PINNED)
def test_pinned_losses_are_what_pytorch_says(model):
    found = torch_losses.torchs(known(model), np.float64, IMAGES, LR, sys.executable, 1)
    np.testing.assert_allclose(found, [float(number) for number in PINNED[model].split()], rtol=1e-8)


@NEEDS_TORCH
@pytest.mark.parametrize("model", PINNED)
def test_losses_are_those_of_pytorch_to_the_last_digits(model):
    found = torch_losses.torchs(known(model), np.float64, IMAGES, LR, sys.executable, 1)
    assert torch_losses.apart(torch_losses.ours(known(model), np.float64, IMAGES, LR), found) < 1e-12
