"""Good specifications: what they become, their shapes, and the source that makes them again."""

import time
from dataclasses import FrozenInstanceError

import pytest

from cnncli.errors import SpecificationError
from cnncli.spec import (
    Adam,
    AdamW,
    Constant,
    Cosine,
    Data,
    Flip,
    OneCycle,
    RmsProp,
    Sgd,
    Shift,
    Step,
    Train,
    json_schema,
    nodes,
    parse,
)

pytestmark = pytest.mark.usefixtures("stand_in_layers")

LENET = """\
# a comment
name: lenet
input: {channels: 1, size: [28, 28]}
layers:
  - conv: {filters: 6, kernel: 5, padding: same}
  - relu
  - conv: 16
  - relu:
  - dropout
  - flatten: {}
  - dense: {units: 10, name: head}
"""


def layers(*items: str) -> str:
    lines = "".join(f"  - {item}\n" for item in items)
    return f"name: net\ninput: {{channels: 3, size: [8, 8]}}\nlayers:\n{lines}"


def train(text: str) -> Train:
    return parse(f"{layers('relu')}train: {text}", "f.yaml").train


def test_layers_have_paths_kinds_options_and_lines():
    specification = parse(LENET, "lenet.yaml")
    assert [entry.path for entry in specification.layers] == [
        "0_conv",
        "1_relu",
        "2_conv",
        "3_relu",
        "4_dropout",
        "5_flatten",
        "head",
    ]
    first, last = specification.layers[0], specification.layers[-1]
    assert (first.kind, first.line, first.location) == ("conv", 5, "lenet.yaml:5")
    assert (first.layer.filters, first.layer.kernel, first.layer.padding) == (6, 5, "same")
    assert (last.kind, last.layer.units, last.line) == ("dense", 10, 11)
    assert specification.layers[2].layer.filters == 16
    assert specification.name == "lenet"
    assert (specification.input.channels, specification.input.size) == (1, [28, 28])


def test_what_is_not_said_has_defaults():
    specification = parse(LENET, "lenet.yaml")
    assert specification.loss.kind == "softmax_cross_entropy"
    assert specification.data == Data(normalize="mean_std", augment=())
    assert specification.train == Train()
    assert specification.train.optimizer == Sgd(lr=0.01, momentum=0.9, nesterov=False, weight_decay=0, decoupled=False)
    assert (specification.train.epochs, specification.train.batch_size, specification.train.seed) == (4, 64, 0)
    assert specification.train.schedule == Constant()
    assert specification.train.max_steps is None


def test_a_specification_is_frozen():
    specification = parse(LENET, "lenet.yaml")
    with pytest.raises(FrozenInstanceError):
        specification.name = "other"


@pytest.mark.parametrize("text", ["", " null", " {}"])
def test_an_empty_section_is_its_defaults(text):
    assert parse(f"{LENET}train:{text}\ndata:{text}\n", "f").train == Train()


@pytest.mark.parametrize(
    ("text", "optimizer"),
    [
        ("sgd", Sgd()),
        ("{sgd: 0.5}", Sgd(lr=0.5)),
        ("{sgd: 1}", Sgd(lr=1.0)),
        ("{sgd: null}", Sgd()),
        ("{sgd: {momentum: 0.5, nesterov: true, decoupled: true}}", Sgd(momentum=0.5, nesterov=True, decoupled=True)),
        ("adam", Adam(lr=0.001, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0)),
        ("{adam: {betas: [0, 0.5]}}", Adam(betas=[0.0, 0.5])),
        ("adamw", AdamW(lr=0.001, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01)),
        ("{rmsprop: 1e-2}", RmsProp(lr=0.01, alpha=0.99, eps=1e-8, momentum=0.0, weight_decay=0.0)),
    ],
)
def test_optimizers(text, optimizer):
    found = train(f"{{optimizer: {text}}}").optimizer
    assert found == optimizer
    assert found.kind == text.strip("{").split(":")[0]


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("constant", Constant()),
        ("cosine", Cosine(final=0.0)),
        ("{cosine: 0.1}", Cosine(final=0.1)),
        ("{step: 2}", Step(every=2, factor=0.1)),
        ("{step: {every: 3, factor: 0.5}}", Step(every=3, factor=0.5)),
        ("one_cycle", OneCycle(rise=0.3, start=25.0, end=1e4)),
        ("{one_cycle: {rise: 0.5, end: 100}}", OneCycle(rise=0.5, end=100.0)),
    ],
)
def test_schedules(text, schedule):
    assert train(f"{{schedule: {text}}}").schedule == schedule


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("{}", (1, "epoch")),
        ("{save_every: 200}", (200, "steps")),
        ("{save_every: 5min}", (5, "min")),
        ("{save_every: 12epoch}", (12, "epoch")),
    ],
)
def test_save_interval(text, interval):
    assert train(text).save_interval == interval


def test_augmentations():
    specification = parse(f"{LENET}data: {{normalize: none, augment: [flip, shift: 2]}}", "f")
    assert specification.data == Data(normalize="none", augment=(Flip(), Shift(pixels=2)))


def test_a_network_without_a_name_is_called_after_its_file():
    specification = parse(LENET.replace("name: lenet\n", ""), "some/where/my net.yaml")
    assert specification.name == "my-net"
    assert parse(specification.source, "model.yaml") == specification


def test_the_source_is_the_text_itself_and_makes_an_equal_specification():
    specification = parse(LENET, "lenet.yaml")
    assert specification.source == LENET
    assert parse(specification.source, "runs/1/model.yaml") == specification


def test_shapes_follow_the_layers():
    nodes_of = nodes(parse(LENET, "lenet.yaml"))
    found = [nodes_of[0].shape, *(node.output for node in nodes_of)]
    assert [str(shape) for shape in found] == [
        "1x28x28",
        "6x28x28",
        "6x28x28",
        "16x26x26",
        "16x26x26",
        "16x26x26",
        "10816",
        "10",
    ]
    assert found[0].size == (1, 28, 28)
    assert found[0].rank == 2


@pytest.mark.parametrize(("size", "triple"), [([9], (1, 1, 9)), ([8, 9], (1, 8, 9)), ([7, 8, 9], (7, 8, 9))])
def test_inputs_of_one_to_three_axes(size, triple):
    text = f"name: net\ninput: {{channels: 2, size: {size}}}\nlayers: [relu]"
    (node,) = nodes(parse(text, "f"))
    first = node.shape
    assert (first.size, first.channels, first.rank) == (triple, 2, len(size))


def test_a_layer_that_does_not_fit_is_named_with_the_shapes_before_it():
    with pytest.raises(SpecificationError) as caught:
        nodes(parse(layers("relu", "conv: {filters: 2, kernel: 9, name: big}"), "f.yaml"))
    assert str(caught.value) == (
        "f.yaml:5: layer big (conv): a kernel of 9 does not fit; shapes so far: input 3x8x8, 0_relu 3x8x8"
    )


def test_at_most_six_shapes_are_shown():
    with pytest.raises(SpecificationError) as caught:
        nodes(parse(layers(*["relu"] * 9, "dense: 3"), "f.yaml"))
    message = str(caught.value)
    assert message.startswith("f.yaml:13: layer 9_dense (dense): dense needs a flat input")
    assert message.endswith("; shapes so far: ..., " + ", ".join(f"{i}_relu 3x8x8" for i in range(3, 9)))


def test_a_layer_may_hold_layers():
    specification = parse(layers("residual: {body: [relu, conv: 3]}"), "f")
    assert [type(layer).__name__ for layer in specification.layers[0].layer.body] == ["Relu", "Conv"]
    assert (
        parse(specification.source, "f", ["layers[0].residual.body[1].conv.kernel=5"]).layers[0].layer.body[1].kernel
        == 5
    )
    with pytest.raises(SpecificationError, match=r'^f:4: layers\[0\].residual.body\[1\].conv: unknown key "filter"'):
        parse(layers("residual: {body: [relu, conv: {filter: 3}]}"), "f")


def test_a_thousand_layers_take_less_than_half_a_second():
    text = layers(*["conv: {filters: 6, kernel: 5, padding: same}"] * 1000)
    begin = time.perf_counter()
    assert len(parse(text, "f").layers) == 1000
    assert time.perf_counter() - begin < 1.5  # measured 0.2 s; the rest is for a busy machine


def test_json_schema_describes_the_short_forms_and_resolves():
    schema = json_schema()
    assert {"conv", "relu", "dense"} <= set(schema["$defs"]["layer"]["anyOf"][0]["enum"])
    references: list[str] = []

    def collect(part):
        if isinstance(part, dict):
            references.extend([part["$ref"]] if "$ref" in part else [])
            part = list(part.values())
        for inner in part if isinstance(part, list) else []:
            collect(inner)

    collect(schema)
    assert references
    assert {reference.removeprefix("#/$defs/") for reference in references} <= set(schema["$defs"])
