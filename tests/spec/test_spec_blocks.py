"""Blocks: what is written out in their places is what could have been written there, and mistakes name both places."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.errors import SpecificationError
from cnncli.spec import json_schema, nodes, parse
from cnncli.spec.yaml import dump

SAME = "conv: {padding: same"
UNIT = """\
blocks:
  unit:
    parameters: {filters: null, stride: 1, act: relu}
    layers:
      - conv: {filters: $filters, padding: same, stride: $stride}
      - $act
"""


def text(*layers: str, blocks: str = UNIT) -> str:
    listed = "".join(f"  - {layer}\n" for layer in (*layers, "flatten", "dense: 3"))
    return f"{blocks}input: {{channels: 3, size: [8, 8]}}\nlayers:\n{listed}"


def made(*layers: str, blocks: str = UNIT, overrides=()) -> list[tuple]:
    """(path, the layer without its name, inputs) of all layers but those at the end."""
    found = nodes(parse(text(*layers, blocks=blocks), "f.yaml", overrides))[:-2]
    return [(node.path, node.layer.model_copy(update={"name": None}), node.inputs) for node in found]


def layers_of(found) -> list:
    return [layer for _, layer, _ in found]


@pytest.mark.parametrize(
    ("use", "plain", "prefix"),
    [
        ("unit: 4", [f"{SAME}, filters: 4}}", "relu"], "0_unit."),
        ("unit: {filters: 5, stride: 2}", [f"{SAME}, filters: 5, stride: 2}}", "relu"], "0_unit."),
        ("unit: {filters: 5, stride: 3, act: {elu: 0.5}}", [f"{SAME}, filters: 5, stride: 3}}", "elu: 0.5"], "0_unit."),
        ("unit: {filters: 6, act: tanh, name: first}", [f"{SAME}, filters: 6}}", "tanh"], "first."),
    ],
)
def test_values_take_the_places_of_parameters(use, plain, prefix):
    found = made(use)
    assert [path.startswith(prefix) for path, _, _ in found] == [True, True]
    assert layers_of(found) == layers_of(made(*plain))


def test_a_block_without_parameters_is_a_word():
    assert [path for path, _, _ in made("two", blocks="blocks: {two: {layers: [relu, tanh]}}\n")] == [
        "0_two.0_relu",
        "0_two.1_tanh",
    ]


def test_blocks_pass_values_to_blocks_and_read_names_where_they_are_used():
    blocks = (
        UNIT
        + """\
  twice:
    parameters: {n: null, inner: [], skip: null}
    layers:
      - unit: {filters: $n, act: tanh}
      - residual: {main: $inner}
      - merge: {with: $skip, by: concat}
"""
    )
    found = made("relu: {name: a}", "twice: {n: 4, skip: a, inner: [sigmoid, unit: 4]}", "merge: a", blocks=blocks)
    assert [path for path, _, _ in found[1:]] == [
        *("1_twice.0_unit.0_conv", "1_twice.0_unit.1_tanh"),
        *(f"1_twice.1_residual.main.{inner}" for inner in ("0_sigmoid", "1_unit.0_conv", "1_unit.1_relu")),
        *("1_twice.1_residual", "1_twice.2_merge", "2_merge"),
    ]
    assert [inputs for *_, inputs in found[-2:]] == [(1, 7), (1, 8)]


def test_the_name_and_from_of_a_use():
    found = made(
        "unit: {filters: 4, name: u}", "unit: {filters: 2, name: v}", "unit: {filters: 3, from: u}", "merge: v"
    )
    assert [inputs for *_, inputs in found] == [(0,), (1,), (2,), (3,), (2,), (5,), (4, 6)]


MISTAKES = [  # (layers, text of the block, its replacement, the line, what is said); the first use is on line 9
    ("unit", "", "", 9, 'layers[0].unit: missing key "filters"'),
    ("unit: {filter: 3}", "", "", 9, 'layers[0].unit: unknown key "filter"; did you mean "filters"? (known: name, fr'),
    ("unit: {filters: 3, name: 1x}", "", "", 9, "layers[0].unit.name: expected a name of at most 64 letters"),
    ("unt: 3", "", "", 9, 'layers[0]: unknown layer "unt"; did you mean "unit"?'),
    (
        "unit: {filters: x}",
        "",
        "",
        5,
        'blocks.unit.layers[0].conv.filters: expected an integer from 1 to 65536, found "x" (used at f.yaml:9)',
    ),
    ("unit: 3", "$stride", "$strides", 5, 'unknown parameter "$strides"; did you mean "stride"? (known: filters, str'),
    ("unit: 3", "$stride", "2 * $stride", 5, 'found "2 * $stride" (used at f.yaml:9)'),
    ("unit: 3", "  unit:", "  conv:", 2, 'blocks.conv: "conv" is a layer already'),
    ("unit: 3", "  unit:", "  1unit:", 2, "blocks.1unit: expected a name of at most 64 letters"),
    ("unit: 3", "filters: null", "1: 2", 3, "a key must be a word, found 1"),
    ("unit: 3", "filters: null", "a b: 2", 2, "blocks.unit: expected a name of at most 64 letters"),
    ("unit: 3", "filters: null", "name: null", 2, 'blocks.unit: "name" is a key of every layer'),
    ("unit: 3", "- $act", "- unit: 3", 6, "blocks.unit.layers[1]: a block cannot use itself: unit uses unit (used at"),
    ("unit: {filters: 3, act: unit}", "", "", 6, "a block cannot use itself: unit uses unit (used at f.yaml:9)"),
    ("unit: 3", "- $act", "- merge: nobody", 6, 'layer 0_unit.1_merge: no layer is named "nobody"'),
    ("unit: {filters: 3, stride: [1, 1, 1]}", "", "", 5, "(used at f.yaml:9): layer 0_unit.0_conv (conv): strid"),
]


def message_of(document: str, **options) -> str:
    with pytest.raises(SpecificationError) as caught:
        nodes(parse(document, "f.yaml", **options))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 2000
    return message


@pytest.mark.parametrize(("use", "old", "new", "line", "said"), MISTAKES)
def test_mistakes(use, old, new, line, said):
    assert old in UNIT
    message = message_of(text(use, blocks=UNIT.replace(old, new, 1)))
    assert message.startswith(f"f.yaml:{line}")
    assert said in message


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ("blocks: 3", "f.yaml:1: blocks: expected a mapping of names to blocks, found 3"),
        ("blocks: {unit: 3}", "f.yaml:1: blocks.unit: expected a mapping with the keys parameters, layers, found 3"),
        ("blocks: {unit: {layers: []}}", "blocks.unit.layers: expected a list of at least 1, each item a layer, f"),
        ("blocks: {unit: {layers: [relu], x: 1}}", 'blocks.unit: unknown key "x" (known: parameters, layers)'),
        ("blocks: {unit: {layers: [relu]}}", 'f.yaml:4: layers[0].unit: block "unit" has no parameters, found 3'),
        ("blocks: {unit: {parameters: {x: 1}, layers: [b]}, b: {layers: [unit]}}", "unit uses b uses unit (used at "),
    ],
)
def test_mistakes_in_definitions(blocks, said):
    message = message_of(text("unit: 3", blocks=blocks + "\n"))
    assert said in message


def nested(depth: int, each: int) -> str:
    inner = "".join(f"  b{i}: {{layers: [{', '.join([f'b{i + 1}'] * each)}]}}\n" for i in range(depth))
    return f"blocks:\n{inner}  b{depth}: {{layers: [relu]}}\n"


def test_nothing_explodes():
    started = time.perf_counter()
    assert "more than 10,000 layers" in message_of(text("b0", blocks=nested(7, 20)))
    assert "blocks in blocks, more than 8 deep (used at" in message_of(text("b0", blocks=nested(30, 1)))
    assert len(made("b0", blocks=nested(7, 1))) == 1
    swelling = "blocks:\n" + "".join(
        f"  b{i}: {{parameters: {{x: 1}}, layers: [b{i + 1}: [{', '.join(['$x'] * 20)}]]}}\n" for i in range(7)
    )
    document = text("b0: [1, 1]", blocks=swelling + "  b7: {parameters: {x: 1}, layers: [conv: $x]}\n")
    assert 'the value of "x" is too large' in message_of(document)
    assert time.perf_counter() - started < 10


def test_overrides_reach_blocks():
    def stride(*overrides, use="unit: {filters: 4, stride: 1}"):
        return made(use, overrides=overrides)[0][1].stride

    assert stride("layers.0.unit.stride=2") == 2
    assert stride("layers.0={unit: {filters: 2, stride: 4}}") == 4
    assert stride("blocks.unit.parameters.stride=2", use="unit: 4") == 2
    assert stride("blocks.unit.layers.0.conv.stride=2") == 2
    with pytest.raises(
        SpecificationError, match=r'--set .*layers\[0\].unit: unknown key "width" \(known: filters, str'
    ):
        stride("layers.0.unit.width=2")


def test_the_source_makes_the_same_again():
    specification = parse(text("unit: 4", "repeat: {times: 2, layers: [unit: 4]}"), "f.yaml", ["layers.0.unit=5"])
    assert parse(specification.source, "g.yaml", ["name=f"]).layers == specification.layers


def test_the_schema_knows_blocks():
    schema = json_schema()
    definition = schema["$defs"]["Definition"]["properties"]
    assert definition["layers"]["items"] == {"$ref": "#/$defs/layer_in_block"}
    parameter, forms = {"type": "string", "pattern": r"^\$([A-Za-z][A-Za-z0-9_-]*)$"}, schema["$defs"]["layer_in_block"]
    assert parameter in forms["anyOf"]
    conv = next(form["properties"]["conv"] for form in forms["anyOf"] if "conv" in form.get("properties", ()))
    assert parameter in conv["anyOf"]
    assert parameter in conv["anyOf"][0]["anyOf"][0]["properties"]["filters"]["anyOf"]


VALUES = {"n": st.integers(1, 9), "act": st.sampled_from(["relu", "tanh", {"elu": 0.5}]), "m": st.integers(1, 3)}
PIECES = [
    {"conv": {"filters": "$n", "padding": "same"}},
    {"conv": "$n"},
    "$act",
    {"residual": {"main": ["$act", {"dropout": 0.1}]}},
    {"repeat": {"times": "$m", "layers": ["$act", {"batch_norm": None}]}},
    {"branches": {"paths": [[], ["$act"]], "merge": "add"}},
    "relu",
]


def put(value, values):
    """The value with all parameters replaced, as plain as can be."""
    if isinstance(value, list):
        return [put(inner, values) for inner in value]
    if isinstance(value, dict):
        return {key: put(inner, values) for key, inner in value.items()}
    return values[value[1:]] if isinstance(value, str) and value.startswith("$") else value


@st.composite
def documents(draw):
    """(a document with blocks in blocks, the same written out)."""
    pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)
    inner, outer = draw(pieces), draw(pieces)
    given = draw(st.fixed_dictionaries(VALUES))
    passed = {key: draw(st.sampled_from([f"${key}", value])) for key, value in given.items()}
    at = draw(st.integers(0, len(outer)))
    parameters = dict.fromkeys(VALUES)
    blocks = {
        "inner": {"parameters": parameters, "layers": inner},
        "outer": {"parameters": parameters, "layers": [*outer[:at], {"inner": passed}, *outer[at:]]},
    }
    uses = draw(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=3))
    plain = []
    for use in uses:
        plain += put(outer[:at], use) + put(inner, put(passed, use)) + put(outer[at:], use)
    head = {"input": {"channels": 3, "size": [200, 150]}}
    return {**head, "blocks": blocks, "layers": [{"outer": use} for use in uses]}, {**head, "layers": plain}


@given(documents())
def test_blocks_are_what_could_have_been_written(documents):
    short, plain = ([(n.layer, n.inputs, n.output) for n in nodes(parse(dump(d), "f.yaml"))] for d in documents)
    assert short == plain


WHOLE = text(
    "unit: {filters: 4, name: a}", "repeat: {times: 2, name: b, layers: [unit: 3]}", "tanh: {from: a}", "merge: b"
)
PIECES_OF_TEXT = [
    "$filters",
    "$act",
    "$",
    "unit",
    "unit: 3",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "\n",
    "- ",
    "null",
    "a",
    "9999",
    "merge",
]


@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 9), st.sampled_from(PIECES_OF_TEXT)), max_size=3))
def test_any_change_is_read_or_refused_in_one_line(changes):
    document = WHOLE
    for position, removed, piece in changes:
        document = document[:position] + piece + document[position + removed :]
    try:
        specification = parse(document, "f.yaml")
        nodes(specification)
    except SpecificationError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 (no error is fine too)
    else:
        assert parse(specification.source, "f.yaml") == specification
