"""The ONNX backend tests for every operator that we have, through our kernels, at the suite's own tolerances."""

import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from operators import OPERATORS, PLUMBING, NotOurs

KINDS = ("node", "pytorch-converted", "pytorch-operator")
COMPUTED = 305  # cases that pass: fewer means that some were lost, more that this number is old


@lru_cache
def cases() -> dict[str, object]:
    """All cases of the suite whose operators are ours, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite makes NaN and overflows on purpose
        from onnx.backend.test.loader import load_model_tests

        return {case.name: case for kind in KINDS for case in load_model_tests(kind=kind) if is_ours(model_of(case))}


def model_of(case):
    return case.model if case.model is not None else onnx.load(Path(case.model_dir) / "model.onnx")


def is_ours(model) -> bool:
    found = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
    return bool(found & OPERATORS.keys()) and found <= OPERATORS.keys() | PLUMBING.keys()


def data_sets(case, model):
    """(inputs, outputs) of each data set, as arrays."""
    if case.data_sets is not None:
        return case.data_sets
    found = []
    for folder in sorted(Path(case.model_dir).glob("test_data_set_*")):
        of_kind = []
        for kind in ("input", "output"):
            files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
            of_kind.append([numpy_helper.to_array(onnx.load_tensor(path)) for path in files])
        found.append(tuple(of_kind))
    return found


def attributes_of(node):
    found = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        value = value.decode() if isinstance(value, bytes) else value
        found[attribute.name] = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    return found


def compute(model, inputs):
    """The graph's outputs, node by node. Raises NotOurs."""
    values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    names = [each.name for each in model.graph.input if each.name not in values]
    values |= dict(zip(names, inputs, strict=False))
    for node in model.graph.node:
        arguments = [values[name] if name else None for name in node.input]
        if node.op_type in OPERATORS and arguments[0].dtype not in (np.float32, np.float64):
            raise NotOurs(f"our arrays are not {arguments[0].dtype}")
        found = {**OPERATORS, **PLUMBING}[node.op_type](attributes_of(node), *arguments)
        wanted = [name for name in node.output if name]
        if len(found) < len(wanted):
            raise NotOurs(f"{node.op_type} has {len(wanted)} outputs here, ours has {len(found)}")
        values |= dict(zip(node.output, found, strict=False))
    return [values[each.name] for each in model.graph.output]


def check(case) -> None:
    """Raises AssertionError where an output is not what the suite expects, NotOurs where there is no layer for it."""
    model = model_of(case)
    for inputs, expected in data_sets(case, model):
        found = compute(model, inputs)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.atol)


@lru_cache
def refused(name: str) -> str | None:
    """Why no layer computes a case; None if it was computed and is right. Raises AssertionError if it is wrong."""
    try:
        check(cases()[name])
    except NotOurs as reason:
        return str(reason)


@pytest.mark.parametrize("name", sorted(cases()))
def test_case(name):
    if reason := refused(name):
        pytest.skip(f"not ours: {reason}")


def test_no_case_is_lost():
    assert sum(refused(name) is None for name in cases()) == COMPUTED
