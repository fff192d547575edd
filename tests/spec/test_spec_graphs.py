"""Branches, names, repeats and recurrence in a specification: what they become, and their mistakes in one line."""

import pytest

from cnncli import network
from cnncli.errors import SpecificationError
from cnncli.spec import nodes, parse

HEAD = "input: {channels: 3, size: [8, 8]}\nlayers:\n"
SAME = "{conv: {filters: 4, padding: same}}"


def text(layers: str) -> str:
    return HEAD + "".join(f"  - {layer}\n" for layer in f"{layers}|flatten|dense: 3".split("|"))


def found(layers: str, *overrides: str):
    """The nodes of layers that are separated by bars, without those at the end."""
    return nodes(parse(text(layers), "f.yaml", overrides))[:-2]


def paths(layers: str, *overrides: str) -> list[str]:
    return [node.path for node in found(layers, *overrides)]


class TestPaths:
    def test_of_branches(self):
        assert paths(f"branches: {{paths: [[], [{SAME}, relu]]}}") == [
            "0_branches.paths.1.0_conv",
            "0_branches.paths.1.1_relu",
            "0_branches",
        ]

    def test_of_copies(self):
        assert paths("repeat: {times: 2, name: deep, layers: [relu, {tanh: {name: t}}]}") == [
            "deep.0.0_relu",
            "deep.0.t",
            "deep.1.0_relu",
            "deep.1.t",
        ]

    def test_of_steps(self):
        made = found(f"recurrent: {{steps: 2, layers: [{SAME}]}}")
        assert [(node.path, node.owner) for node in made] == [
            ("0_recurrent", "0_recurrent"),
            ("0_recurrent.layers.0_conv", "0_recurrent.layers.0_conv"),
            ("0_recurrent@2", "0_recurrent"),
            ("0_recurrent.layers.0_conv@2", "0_recurrent.layers.0_conv"),
        ]


def test_branches_read_the_input_and_join():
    made = found(f"relu|branches: {{paths: [[tanh], [], [{SAME}]]}}")
    assert made[-1].inputs == (2, 1, 3)
    assert str(made[-1].output) == "10x8x8"


def test_a_merge_reads_what_is_named_before_its_input():
    made = found("relu: {name: a}|tanh: {name: b}|relu|merge: {with: [b, a]}|merge: {with: b, by: concat}|merge: input")
    assert [node.inputs for node in made[3:]] == [(2, 1, 3), (2, 4), (0, 5)]


@pytest.mark.parametrize("way", ["concat", "add", "multiply", "max"])
def test_every_way_to_join(way):
    by_name = found(f"relu: {{name: a}}|tanh|merge: {{with: a, by: {way}}}")[-1]
    branched = found(f"branches: {{merge: {way}, paths: [[relu], [relu, tanh]]}}")[-1]
    assert by_name.output == branched.output
    assert by_name.layer.way == branched.layer.way == way


def test_from_takes_the_place_of_the_layer_before():
    made = found(
        "relu: {name: a}|tanh: {name: b}|max_pool: {size: 2, name: c, from: a}|relu: {from: b}|avg_pool: 2|merge: c"
    )
    assert [node.inputs for node in made] == [(0,), (1,), (1,), (2,), (4,), (3, 5)]


def test_names_of_enclosing_lists_and_copies():
    made = found(
        "relu: {name: a}|repeat: {times: 2, name: r, layers: [tanh: {name: a}, relu, merge: {with: a, by: add}]}|"
        "branches: {paths: [[merge: a], [merge: r]]}"
    )
    assert [node.inputs for node in made] == [
        (0,),
        *((1,), (2,), (2, 3)),  # the inner `a` hides the outer
        *((4,), (5,), (5, 6)),
        *((1, 7), (7, 7), (8, 9)),  # and is gone; a repeat's name is that of its last layer
    ]


def test_a_whole_block_can_read_a_name():
    made = found("relu: {name: a}|tanh: {name: t}|repeat: {times: 2, from: a, layers: [relu]}|merge: t")
    assert [node.inputs for node in made] == [(0,), (1,), (1,), (3,), (2, 4)]
    made = found(f"relu: {{name: a}}|tanh: {{name: t}}|recurrent: {{steps: 2, from: a, layers: [{SAME}]}}|merge: t")
    assert [node.inputs for node in made] == [(0,), (1,), (1,), (3,), (1, 4), (5,), (2, 6)]


def test_a_crop_is_as_large_as_the_layer_that_it_names():
    made = found("conv: {filters: 5, kernel: 2, name: a}|upsample|crop: {like: a}|pad: 1|crop: {like: input}")
    assert [str(node.output) for node in made] == ["5x7x7", "5x14x14", "5x7x7", "5x9x9", "5x8x8"]
    assert [node.inputs for node in made] == [(i,) for i in range(5)]  # what it is like it does not read
    assert made[2].layer.sides(made[2].shape) == [(0, 0), (3, 4), (3, 4)]
    assert made[2].layer == made[2].layer.model_copy(update={"size": [7, 7]})


def test_the_channels_of_a_recurrent_are_found():
    for layers, channels in ((f"{SAME}, relu", 4), ("{conv: {filters: 6, padding: same, groups: 3}}", 6)):
        first = found(f"recurrent: {{steps: 3, layers: [{layers}]}}")[0]
        assert (first.layer.channels, str(first.output)) == (channels, f"{3 + channels}x8x8")


MOST = "more than 10,000 layers up to here"
MISTAKES = [  # (layers, the layer at fault, what is said)
    ("branches: {paths: [[]]}", 0, "branches.paths: expected a list of at least 2 lists of layers, found [[]]"),
    ("branches: {paths: [3, []]}", 0, "branches.paths[0]: expected a list of layers, found 3"),
    ("branches: {paths: [[], [cnv: 3]]}", 0, 'branches.paths[1][0]: unknown layer "cnv"; did you mean "conv"?'),
    ("branches: {paths: [[], []], merge: sum}", 0, "expected one of concat, add, multiply, max, found"),
    (
        "branches: {paths: [[], [conv: 3]]}",
        0,
        "layer 0_branches (branches): concat needs one size: paths.0 is 3x8x8, paths.1 is 3x6x6",
    ),
    (f"branches: {{paths: [[], [{SAME}]], merge: max}}", 0, "max needs one shape: paths.0 is 3x8x8, paths.1 is 4x8x8"),
    ("branches: {paths: [[flatten], [flatten]]}", 0, "it joins a flattened image: put it before `flatten`, or a dense"),
    ("relu: {name: a}|max_pool: 2|merge: a", 2, 'concat needs one size: "a" is 3x8x8, its input is 3x4x4'),
    ("relu: {name: abc}|merge: abd", 1, 'layer 1_merge: no layer is named "abd"; did you mean "abc"? (known: input, a'),
    ("relu: {from: b}|relu: {name: b}", 0, 'layer 0_relu: "b" is not before it'),
    ("relu: {from: b, name: b}", 0, 'layer b: "b" is not before it'),
    ("branches: {paths: [[{relu: {name: b}}], []]}|merge: b", 1, '"b" is inside another list of layers, and can be'),
    (
        "branches: {paths: [[{relu: {name: b}}], [merge: b]]}",
        0,
        'layer 0_branches.paths.1.0_merge: "b" is inside anoth',
    ),
    ("repeat: {times: 2, layers: [{relu: {name: b}}]}|merge: b", 1, '"b" is inside another list of layers'),
    ("relu|merge: {with: []}", 1, "layers[1].merge.with: expected a name of at most 64 letters"),
    ("crop: {like: a}|relu: {name: a}", 0, 'layer 0_crop: "a" is not before it'),
    ("relu|crop: {like: b}", 1, 'layer 1_crop: no layer is named "b" (known: input)'),
    ("pad: {padding: 1, name: a}|crop: 1|crop: {like: a}", 2, "its height of 10 is larger than the input's 8"),
    ("flatten: {name: a}|relu: {from: input}|crop: {like: a}", 2, '(crop): "a" is flat: it has no size'),
    ("relu|merge", 1, 'layers[1].merge: missing key "with"'),
    ("relu: {name: a}|relu: {name: a}", 1, '"a" is already the name of another item (f.yaml:3)'),
    ("relu: {from: 3}", 0, "layers[0].relu.from: expected a name of at most 64 letters"),
    ("conv: {filters: 2, name: a}|relu: {from: input}", 0, "layer a (conv): no layer reads what it makes: remove it"),
    ("repeat: {times: 0, layers: [relu]}", 0, "repeat.times: expected an integer from 1 to 10000, found 0"),
    ("repeat: {times: 2}", 0, 'layers[0].repeat: missing key "layers"'),
    ("repeat: {times: 9999, layers: [repeat: {times: 9999, layers: [relu]}]}", 0, f"layers[0]: {MOST}"),
    ("repeat: {times: 5000, layers: [relu]}|relu|repeat: {times: 6000, layers: [relu]}", 2, f"layers[2]: {MOST}"),
    (f"recurrent: {{steps: 9999, layers: [{SAME}, relu]}}", 0, f"layers[0]: {MOST}"),
    (
        "recurrent: {steps: 2, layers: [relu]}",
        0,
        "layer 0_recurrent (recurrent): its layers make 7 channels with 4 fed",
    ),
    ("recurrent: {steps: 2, layers: [conv: 3]}", 0, "its layers make 3x6x6 of 3x8x8: they must keep the size"),
    (
        "recurrent: {steps: 2, layers: [conv: {filters: 4, kernel: 30}]}",
        0,
        "layer 0_recurrent.layers.0_conv (conv): its",
    ),
    (
        f"recurrent: {{steps: 2, layers: [recurrent: {{steps: 2, layers: [{SAME}]}}]}}",
        0,
        "layer 0_recurrent.layers.0_recurrent (recurrent): a recurrent layer cannot hold another",
    ),
]


@pytest.mark.parametrize(("layers", "at", "said"), MISTAKES)
def test_mistakes(layers, at, said):
    with pytest.raises(SpecificationError) as caught:
        network.nodes(parse(text(layers), "f.yaml"))
    message = str(caught.value)
    assert message.startswith(f"f.yaml:{at + 3}: ")
    assert said in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "made"),
    [
        ("layers.0.branches.paths.1.0.conv.filters=5", "8x8x8"),
        ("layers[0].branches.paths[0]=[relu, tanh]", "7x8x8"),
        ("layers.0.branches.paths=[[], [], []]", "9x8x8"),
        ("layers.0.branches.merge=multiply", "add"),
    ],
)
def test_overrides(override, made):
    layers = f"branches: {{paths: [[], [{SAME}]]}}"
    if made == "add":
        with pytest.raises(SpecificationError, match="multiply needs one shape"):
            found(layers, override)
    else:
        assert str(found(layers, override)[-1].output) == made


def test_overrides_of_repeats():
    assert len(found("repeat: {times: 2, layers: [relu, tanh]}", "layers.0.repeat.times=4")) == 8
    assert len(found("repeat: {times: 2, layers: [relu, tanh]}", "layers.0.repeat.layers.1.tanh.name=x")) == 4
    with pytest.raises(SpecificationError, match=r"--set .* layers\[0\].repeat.layers has no item 2"):
        found("repeat: {times: 2, layers: [relu, tanh]}", "layers.0.repeat.layers.2=relu")
