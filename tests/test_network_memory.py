"""Memory: the arena, the parameters in their flat arrays, plans that share buffers, and steps that allocate nothing."""

import gc
import tracemalloc
from itertools import pairwise

import networks
import numpy as np
import pytest

from cnncli import spec
from cnncli.kernels import buffer as buffers
from cnncli.kernels.buffer import ALIGNMENT, Arena, new_buffer
from cnncli.kernels.geometry import SLACK
from cnncli.layers import Shape
from cnncli.network.parameters import ALIGNED, Parameters
from cnncli.training.optimizers import Optimizer


def start(array):
    return array.ctypes.data


class TestArena:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_arrays_are_aligned_zero_and_apart(self, dtype):
        arena = Arena(dtype)
        shapes = [(1,), (3, 5), (), (16,), (0,), (7, 1, 3), (1000,)]
        arrays = [arena.take(shape) for shape in shapes] + [arena.take((5,), np.int32)]
        assert [array.shape for array in arrays] == [*shapes, (5,)]
        assert {array.dtype for array in arrays[:-1]} == {np.dtype(dtype)}
        assert arrays[-1].dtype == np.int32
        for array in arrays:
            assert start(array) % ALIGNMENT == 0
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert not array.any()
        taken = sorted((start(array), start(array) + array.nbytes) for array in arrays)
        for (_, end), (following, _) in pairwise(taken):
            assert end + SLACK <= following

    def test_grows_and_keeps_its_slack(self, monkeypatch):
        monkeypatch.setattr(buffers, "CHUNK", 4096)
        arena = Arena(np.float32)
        arrays = [arena.take((size,)) for size in (10, 1000, 5000, 1008, 3, 1024 - 16, 1)]
        for number, array in enumerate(arrays, 1):
            array[:] = number
        for number, array in enumerate(arrays, 1):
            assert set(array) == {number}
            owner = array
            while owner.base is not None:
                owner = owner.base
            assert start(array) + array.nbytes + SLACK <= start(owner) + owner.nbytes
        assert arena.bytes == sum(-(-(array.nbytes + SLACK) // ALIGNMENT) * ALIGNMENT for array in arrays)

    def test_scratch_is_shared_and_grows(self):
        arena = Arena(np.float32)
        small, other = arena.scratch((4, 4)), arena.scratch((2, 3))
        assert np.shares_memory(small, other)
        large = arena.scratch((100,))
        assert not np.shares_memory(small, large)
        assert np.shares_memory(large, arena.scratch((99,)))
        assert start(large) % ALIGNMENT == 0
        small[:], large[:] = 1, 2
        assert set(small.ravel()) == {1}


def test_a_buffer_knows_its_interior():
    shape, border = Shape((2, 3, 4), 5, 3), ((1, 0), (0, 2), (3, 1))
    buffer = new_buffer(Arena(np.float32), 2, shape, border)
    assert buffer.array.shape == (2, 3 * 5 * 8 * 5)
    assert buffer.interior.shape == (2, 2, 3, 4, 5)
    buffer.interior[...] = np.arange(240).reshape(buffer.interior.shape)
    whole = buffer.array.reshape(2, 3, 5, 8, 5)
    np.testing.assert_array_equal(whole[:, 1:, :3, 3:7], buffer.interior)
    assert np.count_nonzero(buffer.array) == 239
    for row, at in enumerate(buffer.row_starts):
        np.testing.assert_array_equal(buffer.array[1, at : at + 20], 120 + 20 * row + np.arange(20))
    assert buffer.layout.place(1, 2, 3) == np.flatnonzero(buffer.array[0] == 115)[0]


class TestParameters:
    def test_lie_aligned_in_flat_arrays_decayed_first(self):
        parameters = networks.network("lenet").parameters
        for flat, view in ((parameters.values, parameters.value), (parameters.gradients, parameters.gradient)):
            covered = np.zeros(flat.shape, int)
            for name, declared in parameters.declared.items():
                array = view(name)
                first = (start(array) - start(flat)) // flat.itemsize
                assert array.size == declared.size
                assert first % ALIGNED == 0
                assert (first < parameters.decayed) == (first + array.size <= parameters.decayed) == declared.decays
                covered[first : first + array.size] += 1
            assert covered.max() == 1
            assert not flat[covered == 0].any()
        assert parameters.count == sum(parameter.size for parameter in parameters.declared.values())

    def test_weights_decay_and_biases_do_not(self):
        declared = networks.network("lenet").parameters.declared
        assert {name: p.decays for name, p in declared.items()} == {name: name.endswith("weight") for name in declared}

    @pytest.mark.parametrize("name", ["lenet", "relu_then_conv", "one_axis", "three_axes", "mlp"])
    def test_files_come_back_as_they_were(self, name):
        parameters, generator = networks.network(name).parameters, np.random.default_rng(0)
        given = {n: generator.normal(size=p.file_shape).astype(np.float32) for n, p in parameters.declared.items()}
        parameters.load(given)
        saved = networks.saved(parameters)
        assert saved.keys() == given.keys()
        for tensor, value in saved.items():
            np.testing.assert_array_equal(value, given[tensor])
            assert value.flags.c_contiguous
            assert not np.shares_memory(value, parameters.values)
        other = np.zeros_like(parameters.values)
        parameters.load(given, other)
        np.testing.assert_array_equal(other, parameters.values)
        assert all(np.array_equal(value, given[tensor]) for tensor, value in networks.saved(parameters, other).items())

    def test_of_nothing_are_empty(self):
        parameters = Parameters({}, Arena(np.float32))
        assert parameters.count == parameters.values.size == parameters.decayed == 0


COMPOSED = ["lenet", "dropout", "activations", "residual_norm", "residual_of_max_pool"]


def step(plan, key=1):
    plan.draw(key)
    plan.forward()
    plan.backward()


def state(network, plan):
    return [array.copy() for array in (plan.output, plan.losses, plan.ranks, network.parameters.gradients)]


class TestPlans:
    def test_are_made_once(self):
        network = networks.network("mlp")
        assert network.plan(4, True) is network.plan(4, True)
        assert network.plan(4, True) is not network.plan(4, False)
        assert network.plan(4, True) is not network.plan(5, True)

    @pytest.mark.parametrize("training", [True, False])
    def test_of_fewer_images_share_memory(self, training):
        network = networks.network("relu_then_average")
        large = network.plan(8, training)
        taken = network.arena.bytes
        small = network.plan(3, training)
        assert network.arena.bytes == taken
        for name in ("x", "output", "doutput"):
            ours, theirs = getattr(small, name), getattr(large, name)
            assert np.shares_memory(getattr(ours, "array", ours), getattr(theirs, "array", theirs))
        assert small.x.array.shape[0] == small.output.shape[0] == len(small.labels) == 3
        for other in (network.plan(8, not training), network.plan(9, training)):
            assert other.x.array.shape[0] == len(other.output) == other.images
            assert not np.shares_memory(other.x.array, large.x.array)

    @pytest.mark.parametrize("name", networks.NETWORKS)
    def test_are_not_disturbed_by_others_of_the_same_network(self, name):
        alone = networks.network(name)
        plan = networks.filled(alone.plan(3, True))
        step(plan)
        wanted = state(alone, plan)
        shared = networks.network(name)
        for images, training in ((5, True), (7, False), (3, True), (2, True), (3, False), (9, True)):
            other = networks.filled(shared.plan(images, training), images)
            other.x.interior[...] *= 100
            step(other) if training else other.forward()
        plan = networks.filled(shared.plan(3, True))
        step(plan)
        for found, expected in zip(state(shared, plan), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("name", networks.NETWORKS)
    def test_gaps_between_parameters_stay_0(self, name):
        network = networks.network(name)
        step(networks.filled(network.plan(3, True)))
        flat, parameters = network.parameters.gradients, network.parameters
        for tensor in parameters.declared:
            parameters.gradient(tensor)[:] = 0
        assert not flat.any()

    def test_of_one_image_work(self):
        network = networks.network("lenet")
        plan = networks.filled(network.plan(1, True))
        step(plan)
        assert np.isfinite(network.parameters.gradients).all()
        assert network.parameters.gradients.any()

    @pytest.mark.parametrize("name", [*COMPOSED, "inception", "maximum_of_three", "recurrent_norm"])
    def test_steps_allocate_nothing(self, name):
        network = networks.network(name)
        plan = networks.filled(network.plan(8, True))
        optimizer = Optimizer(spec.Sgd(), network.parameters, network.arena)

        def run(steps):
            for key in range(steps):
                step(plan, key)
                optimizer.update(0.01)

        taken = network.arena.bytes
        gc.collect()
        tracemalloc.start()
        try:
            run(5)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            run(50)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert network.arena.bytes == taken
        assert after - before < 500
        assert peak - before < 3000  # numbers and frames that live for one call
