"""A specification as peers read it: padding and defaults spelt out, lists of layers in layers, and as an ONNX model."""

import importlib.util
import json
import sys

import pytest

from cnncli import spec
from cnncli.benchmark import peers, programs
from cnncli.errors import SpecificationError
from cnncli.network import Network

TEXT = """
input: {channels: 3, size: [9, 8]}
layers:
  - conv: {filters: 4, kernel: 3, stride: 2, padding: same}
  - residual:
      main: [{conv: {filters: 6, kernel: [3, 1], padding: [1, 0], bias: false}}, batch_norm, relu]
      shortcut: [{conv: {filters: 6, kernel: 1}}]
  - max_pool: 2
  - dropout: 0.25
  - flatten
  - dense: 5
train: {optimizer: {sgd: {lr: 0.5, momentum: 0.8}}, label_smoothing: 0.1}
"""


def test_program():
    program = programs.program(spec.parse(TEXT, "my.yaml"))
    assert json.loads(json.dumps(program)) == program
    assert (program["input"], program["classes"], program["label_smoothing"]) == ([3, 9, 8], 5, 0.1)
    assert (program["optimizer"]["kind"], program["optimizer"]["momentum"]) == ("sgd", 0.8)
    conv, shortcut, inner, norm, relu, join, pool, dropout, _, dense = program["layers"]
    # same: 5 x 4 outputs need 11 x 9 inputs, the odd one after
    assert (conv["pads"], conv["stride"], conv["kernel"]) == ([[1, 1], [0, 1]], [2, 2], [3, 3])
    assert (conv["input"], conv["output"], conv["bias"]) == ([3, 9, 8], [4, 5, 4], True)
    assert (conv["inputs"], shortcut["inputs"], inner["inputs"], relu["inputs"]) == ([0], [1], [1], [4])
    assert (join["kind"], join["way"], join["inputs"], join["zeros"]) == ("join", "add", [2, 5], 0)
    assert inner["pads"] == [[1, 1], [0, 0]]
    assert (shortcut["input"], norm["owner"]) == ([4, 5, 4], "1_residual.main.1_batch_norm")
    assert (pool["kernel"], pool["stride"], pool["pads"]) == ([2, 2], [2, 2], [[0, 0], [0, 0]])
    assert dropout["rate"] == 0.25
    assert (dense["input"], dense["output"]) == ([24], [5])


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("local_conv: 2", "no such layer"),
        ("normalized_conv: 2", "no such layer"),
        ("batch_norm: {affine: false}", "only a batch_norm with a scale and a shift"),
        ("tiled_conv: {filters: 2, tiles: 2}", "no such layer"),
        ("conv: {filters: 1, connections: [[0, 2]]}", "no connections"),
        ("residual: {main: [conv: {filters: 3, bias: untied, padding: 1}]}", "no untied bias"),
    ],
)
def test_what_no_peer_has(layer, reason):
    text = f"input: {{channels: 3, size: [9, 8]}}\nlayers:\n  - {layer}\n  - flatten\n"
    with pytest.raises(SpecificationError, match=rf"^my.yaml:3: layer 0_.*: the others have {reason}$"):
        programs.program(spec.parse(text, "my.yaml"))


def test_transposed_convolution_as_peers_have_it():
    text = """
input: {channels: 3, size: [9, 8]}
layers:
  - transposed_conv: {filters: 4, kernel: [5, 2], stride: [2, 3], padding: same}
  - transposed_conv: {filters: 4, padding: [[0, 1], 2], stride: 2, output_padding: [0, 1]}
  - flatten
"""
    first, second, _ = programs.program(spec.parse(text, "my.yaml"))["layers"]
    # 9 inputs, 2 apart, reach 21 outputs, of which 18 are kept; 8 inputs, 3 apart, reach 23 of 24
    assert (first["output"], first["pads"], first["output_padding"]) == ([4, 18, 24], [[1, 2], [0, 0]], [0, 1])
    assert (second["output"], second["pads"], second["output_padding"]) == (
        [4, 36, 46],
        [[0, 1], [2, 1]],
        [0, 0],
    )  # one less is cut


@pytest.fixture
def onnx_graph(monkeypatch):
    """The module that makes ONNX models, as a peer's process imports it."""
    pytest.importorskip("onnx")
    found = importlib.util.spec_from_file_location("onnx_graph", peers.SCRIPTS / "onnx_graph.py")
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "onnx_graph", module)
    found.loader.exec_module(module)
    return module


EVERY_ACTIVATION = """
input: {channels: 2, size: [6]}
layers: [conv: 3, leaky_relu, elu, gelu, sigmoid, tanh, avg_pool: 2, flatten, dense: 4]
"""


GRAPH = """
input: {channels: 3, size: [6, 6]}
layers:
  - conv: {filters: 4, padding: same, name: first}
  - branches: {paths: [[], [{conv: 3}, {conv: {filters: 2, padding: 2}}]]}
  - merge: {with: first, by: concat}
  - recurrent: {steps: 3, layers: [{conv: {filters: 4, padding: same}}, relu]}
  - branches: {merge: multiply, paths: [[], [tanh], [sigmoid]]}
  - merge: {with: [first, first], by: max}
  - flatten
  - dense: 4
"""


@pytest.mark.parametrize("source", [TEXT, EVERY_ACTIVATION, GRAPH, "lenet", "resnet20"])
def test_onnx_model_is_the_same_network(onnx_graph, source):
    import onnx

    specification = spec.parse(source, "my.yaml") if "\n" in source else spec.read(source, [])
    text, parameters = onnx_graph.model(programs.program(specification), 2)
    onnx.checker.check_model(text, full_check=True)  # shapes too, up to those of the output
    assert parameters == Network(specification).parameters.count
