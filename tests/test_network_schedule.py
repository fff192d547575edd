"""Where values and gradients lie: whatever is read is what was meant, in networks of any layers one in another."""

import json
from collections import Counter

import networks
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli import spec
from cnncli.kernels.buffer import Buffer
from cnncli.layers.base import NO_BORDER
from cnncli.network import Network, nodes, schedule
from cnncli.network.schedule import Schedule

CHANNELS, UNITS, RATE = 3, 5, {"rate": 0.3}
SAME = [
    {"conv": {"filters": CHANNELS, "padding": "same"}},
    {"conv": {"filters": CHANNELS, "kernel": 2, "padding": "same", "bias": False}},
    {"max_pool": {"size": 3, "stride": 1, "padding": 1}},
    {"avg_pool": {"size": 2, "stride": 1, "padding": "same"}},
    *({kind: {}} for kind in ("batch_norm", "relu", "relu", "sigmoid")),
    {"dropout": RATE},
    {"dropout": {"rate": 0.0}},
]
SMALLER = [
    {"conv": {"filters": CHANNELS, "stride": 2, "padding": "same"}},
    {"conv": {"filters": CHANNELS, "kernel": 1, "stride": 2, "padding": "same"}},
    {"max_pool": {"size": 2, "padding": "same"}},
    {"avg_pool": {"size": 2, "padding": "same"}},
]
FLAT = [{"dense": {"units": UNITS}}, {"batch_norm": {}}, {"relu": {}}, {"tanh": {}}, {"dropout": RATE}, {"flatten": {}}]


def residual(main, shortcut):
    return {"residual": {"main": main, "shortcut": shortcut}}


def lists(layers, least=0):
    return st.lists(layers, min_size=least, max_size=4)


def grouped(*layers, times=1):
    return {"repeat": {"times": times, "layers": list(layers)}}


def joined(paths, way, project, times):
    """Branches, and behind a concatenation a layer that makes as many channels as before."""
    branches = {"branches": {"paths": paths, "merge": way}}
    return grouped(branches, project, times=times) if way == "concat" else branches


def tapped(first, others, way, project):
    """Layers, merged with what the first of them made."""
    kind, options = next(iter(first.items()))
    merge = {"merge": {"with": "first", "by": way}}
    return grouped({kind: {**options, "name": "first"}}, *others, merge, *([project] if way == "concat" else []))


def blocks(layers, project):
    """Layers, and what can be made of them that gives what it takes; `project` does with any number of channels."""
    ways = st.sampled_from(["concat", "add", "multiply", "max"])

    def extend(inner):
        paths = st.lists(lists(inner), min_size=2, max_size=3)
        recurrent = st.builds(
            lambda steps, held: {"recurrent": {"steps": steps, "layers": [project, *held]}},
            st.integers(1, 3),
            lists(layers),
        )
        return st.one_of(
            st.builds(residual, lists(inner, 1), lists(inner)),
            st.builds(joined, paths, ways, st.just(project), st.integers(1, 2)),
            st.builds(tapped, layers, lists(inner), ways, st.just(project)),
            recurrent,
        )

    return st.recursive(layers, extend, max_leaves=6)


@st.composite
def networks_of_any_layers(draw):
    """A specification: images that keep their size or get smaller, then flat numbers, each with residual blocks."""
    same, smaller = blocks(st.sampled_from(SAME), SAME[0]), st.sampled_from(SMALLER)
    chosen = draw(lists(same))
    if draw(st.booleans()):
        chosen.append(residual([*draw(lists(same)), draw(smaller), *draw(lists(same))], [draw(smaller)]))
    chosen += [*draw(lists(same)), *draw(st.lists(smaller, max_size=1)), {"flatten": {}}]
    if draw(st.booleans()):
        chosen += [{"dense": {"units": UNITS}}, *draw(lists(blocks(st.sampled_from(FLAT), FLAT[0])))]
    layers = [{kind: options or None} for layer in chosen for kind, options in layer.items()]
    document = {"input": {"channels": CHANNELS, "size": [5, 4]}, "layers": layers, "loss": "softmax_cross_entropy"}
    return spec.parse(json.dumps(document), "network.yaml")


class Memory:
    """What each array of a schedule holds while its stages run: tags of values, and of gradients with their shares."""

    def __init__(self, of: Schedule):
        self.of, self.holds, self.cleared = of, {}, set()
        self.making = {stage.value: stage for stage in of.stages}
        learned = {step.stage.value for step in of.backward}
        self.readers = Counter(v for stage in of.stages if stage.value in learned for v in self.shared(stage))
        self.learned = learned

    @staticmethod
    def shared(stage):
        """The values of whose gradients a stage makes a share."""
        return stage.reads[stage.layer.constants :]

    def base(self, value):
        """The value whose memory a view shows."""
        while value and self.making[value].view:
            value = self.making[value].node.inputs[0]
        return value

    def write(self, slot, tag):
        self.holds[slot.root.array] = tag

    def assert_value(self, value):
        assert self.holds[self.of.values[value].root.array] == ("value", self.base(value))

    def forward(self):
        of = self.of
        self.write(of.values[0], ("value", 0))
        for stage in of.stages:
            for value in stage.reads:
                self.assert_value(value)
            own = of.values[stage.value]
            read = {of.values[value].root.array for value in stage.reads}
            if stage.view:
                assert {own.root.array} == read
            else:
                assert own.root.array not in read
                self.write(own, ("value", stage.value))

    def add(self, value, by, adds):
        """A share of the gradient of `value` comes in, made by a stage."""
        slot = self.of.gradients[value]
        shares = Counter([by])
        if adds:
            kind, of_value, before = self.holds[slot.root.array]
            assert (kind, of_value) == ("gradient", value)
            shares += before
        self.write(slot, ("gradient", value, shares))
        return shares

    def backward(self):
        of = self.of
        self.write(of.gradients[of.output], ("gradient", of.output, Counter(["loss"])))
        for step in of.backward:
            self._step(step)
        for value in (0, of.output):  # whoever filled the one and looks at the other finds them
            self.assert_value(value)

    def _step(self, step):
        stage, own = step.stage, self.of.gradients[step.stage.value]
        wanted = Counter(
            s.value for s in self.of.stages if s.value in self.learned for v in self.shared(s) if v == stage.value
        )
        assert self.holds[own.root.array] == ("gradient", stage.value, wanted or Counter(["loss"]))
        assert step.clears == (stage.relu and stage.value not in self.cleared and not stage.pooled)
        for value in (stage.value, *stage.node.inputs):
            if not stage.passes or step.clears:
                self.assert_value(value)
        by_slot = {id(slot): value for value, slot in self.of.gradients.items()}
        made = Counter()
        for slot, adds in step.moves:
            assert slot.root.array != own.root.array
            made[by_slot[id(slot)]] += 1
            self.add(by_slot[id(slot)], stage.value, adds)
        for part in filter(None, step.parts):
            made[part.value] += 1
            self._part(stage, own, part)
        for value in self.shared(stage):
            if value in self.learned and not made[value]:  # the same memory
                assert self.of.gradients[value].within is own
                made[value] += 1
                self.add(value, stage.value, False)
        assert made == Counter(value for value in self.shared(stage) if value in self.learned)

    def _part(self, stage, own, part):
        layer, used = (
            stage.layer,
            {own.root.array, *(self.of.values[v].root.array for v in (stage.value, *stage.node.inputs))},
        )
        assert part.into is self.of.gradients[part.value]
        for slot in filter(None, (part.into, part.through)):
            assert slot.root.array not in used
            used.add(slot.root.array)
        if part.through:
            assert part.adds
            assert not part.gated
            assert part.through.layout == part.into.layout
            self.write(part.through, ("nothing",))
        else:
            assert layer.accumulate or not part.adds
        shares = self.add(part.value, stage.value, part.adds)
        if part.gated:
            assert layer.gate
            value = part.value
            assert sum(shares.values()) == self.readers[value]  # whoever clears is the last to add
            while self.making[value].view and not self.making[value].relu:
                value = self.making[value].node.inputs[0]
                assert self.readers[value] == 1
            assert self.making[value].relu
            assert not self.making[value].pooled
            self.cleared.add(value)


def assert_layouts(of: Schedule):
    """Slots of an array are alike, views are in what they are views of, borders are as wide as layers ask for."""
    through = [part.through for step in of.backward for part in step.parts if part and part.through]
    for slot in (*of.values.values(), *of.gradients.values(), *through):
        array = of.arrays[slot.root.array]
        assert slot.root.layout == array.layout
        assert slot.elements == array.elements
        if slot.layout != array.layout:
            assert slot.border == array.border == NO_BORDER
    for stage in of.stages:
        if not stage.view:
            assert_wide(of.values[stage.node.inputs[0]].border, stage.layer.border(stage.shape))
    for step in of.backward:
        if not step.stage.passes and not step.stage.pooled:  # what pools reads its gradient at the winners alone
            assert_wide(of.gradients[step.stage.value].border, step.stage.layer.gradient_border(step.stage.shape))
    assert of.values[of.output].border == NO_BORDER
    if not of.values[of.output].shape.rank:  # that of a map lies inside a border
        assert of.gradients[of.output].border == NO_BORDER


def assert_wide(border, wanted):
    assert all(have >= want for a, b in zip(border, wanted, strict=True) for have, want in zip(a, b, strict=True))


def assert_sound(specification):
    for training in (True, False):
        of = schedule(nodes(specification), training)
        assert_layouts(of)
        memory = Memory(of)
        memory.forward()
        if training:
            memory.backward()
        else:
            memory.assert_value(of.output)


@given(networks_of_any_layers())
def test_whatever_is_read_is_what_was_written(specification):
    assert_sound(specification)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_are_sound(name):
    assert_sound(networks.specification(*networks.NETWORKS[name]))


@pytest.mark.parametrize("name", [name for name, _ in spec.models()])
def test_the_zoo_is_sound(name):
    assert_sound(spec.read(name))


def apart(of: Schedule):
    """In place of sharing: every slot has an array of its own."""
    through = [part.through for step in of.backward for part in step.parts if part and part.through]
    for slot in (*of.values.values(), *of.gradients.values(), *through):
        if slot.within is None:
            slot.array = len(of.arrays)
            of.arrays.append(slot)


def stepped(network, training, poison):
    """The bits that a step leaves; with `poison` the input alone is not NaN before it."""
    plan, of = network.plan(3, training), schedule(network.nodes, training)
    if poison:
        for array, slot in zip(plan.arrays, of.arrays, strict=True):
            Buffer(array, slot.shape.size, slot.shape.channels, slot.border).interior[...] = np.nan
    networks.filled(plan)
    plan.forward()
    found = [plan.output.tobytes(), plan.losses.tobytes()]
    if training:
        plan.backward()
        found.append(network.parameters.gradients.tobytes())
    assert np.isfinite(plan.losses).all()
    assert np.isfinite(network.parameters.gradients).all()
    return found


def bits_do_not_depend_on_memory(specification):
    for training in (True, False):
        shared = stepped(Network(specification), training, poison=False)
        assert stepped(Network(specification), training, poison=True) == shared
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Schedule, "_share", apart)
            assert stepped(Network(specification), training, poison=False) == shared


@given(networks_of_any_layers())
def test_bits_are_those_of_arrays_of_their_own(specification):
    bits_do_not_depend_on_memory(specification)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_bits_of_networks_are_those_of_arrays_of_their_own(name):
    bits_do_not_depend_on_memory(networks.specification(*networks.NETWORKS[name]))


def elements(of: Schedule):
    return sum(slot.elements for slot in of.arrays)


@pytest.mark.parametrize("training", [True, False])
def test_sharing_saves_memory(monkeypatch, training):
    of = nodes(spec.read("resnet20"))
    shared = elements(schedule(of, training))
    monkeypatch.setattr(Schedule, "_share", apart)
    assert shared < 0.8 * elements(schedule(of, training))
