"""Layers against ONNX Runtime, by the graphs that benchmarks are run with: both sides have to mean the same."""

import importlib.util
import sys

import numpy as np
import pytest
from bound import Bound
from cases import Case

from cnncli.benchmark import peers, programs

LAYERS = [
    *((kind, {}) for kind in ("relu6", "softplus", "swish", "scaled_tanh", "softmax", "log_softmax", "prelu")),
    ("swish", {"beta": 0.5}),
    ("prelu", {"shared": True}),
    ("global_max_pool", {}),
    ("channel_max_pool", {"size": 2}),
    ("channel_max_pool", {"size": 3, "stride": 1}),
    *(("upsample", {"scale": scale, "mode": mode}) for scale in (2, 3) for mode in ("nearest", "linear")),
    *(("pad", {"padding": 2, "mode": mode}) for mode in ("zero", "reflect", "edge")),
    ("pad", {"padding": 3, "mode": "constant", "value": 1.5}),
    ("crop", {"pixels": 1}),
    ("crop", {"size": 4}),
    *(("group_norm", {"groups": groups}) for groups in (1, 2, "channels")),
    ("lrn", {"size": 3, "alpha": 2.0, "k": 2.0}),
    ("lrn", {}),
    ("avg_pool", {"size": 2, "trainable": True}),
    ("avg_pool", {"size": 3, "stride": 2, "padding": 1, "trainable": True}),
]


@pytest.fixture
def graphs(monkeypatch):
    """The module that makes ONNX models, as a peer's process imports it."""
    pytest.importorskip("onnx")
    found = importlib.util.spec_from_file_location("onnx_graph", peers.SCRIPTS / "onnx_graph.py")
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "onnx_graph", module)
    found.loader.exec_module(module)
    return module


def run(graphs, case, x):
    """(output, parameters in the order of files) of ONNX Runtime for a case's layer, with random parameters."""
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    graph, layer = graphs.Graph(), case.layer
    description = programs.described(layer, case.shape, layer.output_shape(case.shape))
    learned, drawn = [], graph.learned

    def remember(*shape):
        learned.append(drawn(*shape))
        return learned[-1]

    graph.begin(case.kind)
    graph.learned = remember
    last = graphs.OPERATORS[case.kind](graph, description, "x")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", last)]
    whole = helper.make_graph(graph.nodes, case.kind, values[:1], values[1:], graph.weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", graphs.OPSET)], ir_version=graphs.IR)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    arrays = {array.name: numpy_helper.to_array(array) for array in graph.weights}
    declared = layer.parameters(case.shape)
    return session.run(None, {"x": x})[0], {
        name: arrays[of].reshape(p.file_shape) for (name, p), of in zip(declared.items(), learned, strict=True)
    }


@pytest.mark.parametrize(("channels", "axes"), [(6, (9, 8)), (4, (12,)), (8, (4, 5, 6))])
@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
def test_forward_is_onnx_runtimes(graphs, kind, options, channels, axes):
    case = Case(kind, channels, axes, options, 3)
    x = np.random.default_rng(0).standard_normal((3, channels, *axes), np.float32)
    wanted, parameters = run(graphs, case, x)
    bound = Bound(case, np.float32)
    bound.set(x, parameters)
    np.testing.assert_allclose(bound.forward(), wanted.reshape(3, *programs.sizes(bound.output)), rtol=1e-5, atol=1e-6)


FLAT = [("rbf", {"units": 7, "trainable": True}), ("softmax", {}), ("prelu", {}), ("group_norm", {"groups": 2})]


@pytest.mark.parametrize(("kind", "options"), FLAT, ids=str)
def test_forward_of_flat_inputs_is_onnx_runtimes(graphs, kind, options):
    test_forward_is_onnx_runtimes(graphs, kind, options, 20, ())
