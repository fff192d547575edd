"""Learning rates, against values worked out by hand from their definitions."""

import math

import pytest

from cnncli import spec
from cnncli.training.schedules import learning_rate

TEXT = "input: {channels: 1, size: [1]}\nlayers: [relu]\ntrain: {optimizer: {sgd: 0.5}}\n"


def rates(*overrides, total=20, per_epoch=5):
    train = spec.parse(TEXT, "t.yaml", overrides).train
    return [learning_rate(train, step, per_epoch, total) for step in range(total)]


def test_constant():
    assert rates() == [0.5] * 20


def test_step_every_two_epochs():
    assert rates("train.schedule={step: {every: 2, factor: 0.5}}") == [0.5] * 10 + [0.25] * 10


def test_cosine_halves_in_the_middle():
    found = rates("train.schedule={cosine: {final: 0.2}}")
    assert found[0] == 0.5
    assert found[10] == pytest.approx((0.5 + 0.1) / 2)
    assert found[5] == pytest.approx(0.1 + 0.4 * (1 + math.cos(math.pi / 4)) / 2)
    assert found == sorted(found, reverse=True)


def test_one_cycle_is_pytorchs():
    found = rates("train.schedule={one_cycle: {rise: 0.25, start: 10, end: 100}}")
    # OneCycleLR: the peak at step 0.25 * 20 - 1 = 4, the end at step 19, half cosines between
    assert found[0] == pytest.approx(0.05)
    assert found[2] == pytest.approx((0.05 + 0.5) / 2)
    assert found[4] == pytest.approx(0.5)
    assert found[19] == pytest.approx(0.05 / 100)
    assert found[4:] == sorted(found[4:], reverse=True)


def test_one_cycle_against_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=20, cycle_momentum=False)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates("train.schedule=one_cycle") == pytest.approx(expected)


def test_warm_up_rises_linearly_and_the_schedule_has_the_rest():
    found = rates("train.warmup=0.8", "train.schedule=cosine")
    assert found[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert found[4] == 0.5
    assert found[12] == pytest.approx(0.25)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "{step: 1}"])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_very_short_runs_have_a_rate(schedule, total):
    for warmup in (0, 1, 9):
        found = rates(f"train.schedule={schedule}", f"train.warmup={warmup}", total=total, per_epoch=1)
        assert all(0 < rate <= 0.5 for rate in found)
