"""What convolutions do with arrays beside their sums: add, accumulate, gate. The sums alone are tested as layers."""

import numpy as np
import pytest
from bound import Bound, from_buffer, to_buffer
from cases import CASES

from cnncli.kernels import geometry
from cnncli.kernels.buffer import new_buffer
from cnncli.kernels.convolution import ACCUMULATE, ACCUMULATE_GATE, ADD, ADD_RELU, GATE, STORE
from cnncli.kernels.program import Program

CONVOLUTIONS = [case for case in CASES if case.kind == "conv" and case.options.get("bias", True) is True]


def integers(generator, shape):
    return generator.integers(-3, 4, shape).astype(float)


class Sums:
    """A case with integers in its buffers; `expected_y` and `expected_dx` are its layer's results."""

    def __init__(self, case):
        self.bound = bound = Bound(case, np.float32)
        self.generator = np.random.default_rng(len(case.id))
        x, parameters, dy = bound.random(self.generator, integers)
        bound.set(x, parameters)
        self.expected_y = bound.forward()
        self.expected_dx, _ = bound.backward(dy)
        self.convolution = bound.layer._convolution(bound.shape)

    def beside(self, shape):
        """A buffer of another border, and the integers that it holds."""
        buffer = new_buffer(self.bound.arena, self.bound.case.images, shape, ((0, 0), (1, 0), (2, 1)))
        values = integers(self.generator, (self.bound.case.images, shape.channels, *shape.axes))
        to_buffer(buffer, shape, values)
        return buffer, values

    def data_gradient(self, before, op, gate=None):
        bound = self.bound
        arguments = bound.dx, bound.dy, bound.values["weight"], bound.arena
        call = Program(self.convolution.plan_data_gradient(*arguments, op, gate))
        to_buffer(bound.dx, bound.shape, before)
        bound.arena.poison()
        call()
        assert bound.is_clean()
        return from_buffer(bound.dx, bound.shape)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda case: case.id)
class TestEpilogues:
    def test_another_array_is_added(self, case):
        sums = Sums(case)
        bound, (other, added) = sums.bound, sums.beside(sums.bound.output)
        arguments = bound.y, bound.x, bound.values["weight"], bound.values["bias"]
        for op, wanted in ((ADD, sums.expected_y + added), (ADD_RELU, np.maximum(sums.expected_y + added, 0))):
            Program(sums.convolution.plan_forward(*arguments, op, other))()
            np.testing.assert_array_equal(from_buffer(bound.y, bound.output), wanted)
        to_buffer(bound.y, bound.output, added)
        Program(sums.convolution.plan_forward(*arguments, ADD))()  # to what y holds
        np.testing.assert_array_equal(from_buffer(bound.y, bound.output), sums.expected_y + added)
        assert bound.is_clean()

    def test_data_gradients_accumulate_and_are_gated(self, case):
        sums = Sums(case)
        gate, kept = sums.beside(sums.bound.shape)
        before, dx = integers(sums.generator, sums.expected_dx.shape), sums.expected_dx
        for op, wanted in (
            (STORE, dx),
            (ACCUMULATE, before + dx),
            (GATE, np.where(kept > 0, dx, 0)),
            (ACCUMULATE_GATE, np.where(kept > 0, before + dx, 0)),
        ):
            np.testing.assert_array_equal(sums.data_gradient(before, op, gate), wanted)


CUT = [case for case in CONVOLUTIONS if case.channels >= 16 or case.images > 2]


@pytest.mark.parametrize("case", CUT, ids=lambda case: case.id)
def test_however_the_work_is_cut_the_sums_are_the_same(case, monkeypatch):
    sums = Sums(case)
    x, parameters, dy = sums.bound.random(np.random.default_rng(1), integers)
    sums.bound.set(x, parameters)
    wanted = sums.bound.forward(), *sums.bound.backward(dy)
    for turns_strips, join, parts, columns_first, cuts in (
        (True, False, 1, False, (1, 1, 3)),
        (False, True, 2, True, (2, 3, 1)),
        (True, True, 1, True, (1, 5, 50)),
    ):
        monkeypatch.setattr(geometry, "turns_strips", lambda *_, of=turns_strips: of)
        monkeypatch.setattr(geometry, "joined", lambda images, _, of=join: images if of else 1)
        monkeypatch.setattr(
            geometry, "order", lambda *counts, of=(parts, columns_first): (min(of[0], counts[-1]), of[1])
        )
        monkeypatch.setattr(geometry, "gradient_cuts", lambda *_, of=cuts: of)
        bound = Bound(case, np.float32)
        bound.set(x, parameters)
        found = bound.forward(), *bound.backward(dy)
        for actual, expected in zip(found[:2], wanted[:2], strict=True):
            np.testing.assert_array_equal(actual, expected)
        for name, gradient in found[2].items():
            np.testing.assert_array_equal(gradient, wanted[2][name])
        assert bound.is_clean()
