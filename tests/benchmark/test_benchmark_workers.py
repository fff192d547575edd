"""Worker processes: the protocol, what may go wrong in one, and that every peer knows every layer."""

import ast
import sys
from pathlib import Path

import pytest

from cnncli.benchmark import peers, programs, workers
from cnncli.errors import CnncliError, SpecificationError
from cnncli.layers import LAYERS
from cnncli.layers.merge import Joint
from cnncli.layers.repeat import Recurrent, Repeat

FAKE = Path(__file__).parents[1] / "peers" / "fake_peer.py"
PROGRAM = {"layers": [{"kind": "dense", "input": [3], "output": [2]}]}
TABLES = {"torch_peer.py": "MODULES", "jax_peer.py": "LAYERS", "onnx_graph.py": "OPERATORS"}


@pytest.fixture
def fake():
    """A running peer that computes nothing."""
    command = [sys.executable, str(FAKE), "quick", str(peers.SCRIPTS)]
    with workers.Worker("fake", "quick", command, workers.environment(1)) as worker:
        yield worker


def test_a_worker_makes_and_runs(fake):
    assert (fake.label, fake.version) == ("fake quick", "1.0")
    known = fake.make("network", program=PROGRAM)
    assert fake.tasks == ["train", "infer", "latency"]
    assert known["parameters"] == 8
    assert known["peak_rss_mib"] > 0
    assert known["first_step_seconds"] >= 0
    assert fake.run("infer", 0.001) > 0
    assert fake.idle_seconds >= 0
    assert fake.make("convolution", layer=[1, 2]) == {"asked": [1, 2]}
    assert fake.tasks == ["forward", "data gradient", "weight gradient"]


def test_what_a_worker_cannot_do_names_it(fake):
    with pytest.raises(CnncliError, match=r"^fake quick: ValueError: cannot do that$"):
        fake.make("broken")
    with pytest.raises(CnncliError, match=r"^fake quick: KeyError: 'unknown'$"):
        fake.run("unknown", 0.1)
    assert fake.make("convolution", layer=1) == {"asked": 1}  # it goes on


def test_a_worker_that_ends_tells_its_last_words(fake):
    with pytest.raises(CnncliError, match=r"^fake quick: its process ended with 1: out of everything$"):
        fake.make("dies")


def test_a_worker_that_never_starts():
    command = [sys.executable, "-c", "raise ImportError('no such library')"]
    with pytest.raises(CnncliError, match="its process ended with 1: ImportError: no such library"):
        workers.Worker("other", "", command, workers.environment(1))


def test_freed_memory_is_kept_for_speed_and_not_where_memory_is_measured(monkeypatch):
    seen = []
    monkeypatch.setattr(workers, "Worker", lambda name, mode, command, variables: seen.append(variables))
    monkeypatch.setenv("PYTHONPATH", "ours")
    workers.peer("torch", "eager", "another-python", 3)
    workers.peer("torch", "eager", sys.executable, 3, keeps=False)
    workers.ours(3, "empty")
    assert workers.KEEP_MEMORY.items() <= seen[0].items()
    assert not workers.KEEP_MEMORY.keys() & seen[1].keys()
    assert ["PYTHONPATH" in variables for variables in seen] == [False, True, True]
    assert seen[2]["CNNCLI_CACHE"] == "empty"
    for library in ("OMP", "OPENBLAS"):
        assert {variables[f"{library}_NUM_THREADS"] for variables in seen} == {"3"}


def test_interpreters_are_searched_in_order(monkeypatch):
    monkeypatch.setattr(peers, "has", lambda python, modules: python in ("second", "third"))
    assert peers.interpreters(["torch", "jax"], ["first", "second", "third"], "network") == {
        "torch": "second",
        "jax": "second",
    }
    with pytest.raises(SpecificationError, match=r"^--against openvino: openvino and onnx not installed here"):
        peers.interpreters(["openvino"], ["first"], "network")
    with pytest.raises(SpecificationError, match="it is compared in whole networks only"):
        peers.interpreters(["openvino"], ["second"], "convolution")


def test_an_interpreter_has_modules_or_not():
    assert peers.has(sys.executable, ("json", "numpy"))
    assert not peers.has(sys.executable, ("json", "no_such_module"))
    with pytest.raises(SpecificationError, match="--peer-python /no/such/python: No such file"):
        peers.has("/no/such/python", ("json",))


@pytest.mark.parametrize(("script", "table"), TABLES.items())
def test_every_peer_knows_every_layer(script, table):
    tree = ast.parse((peers.SCRIPTS / script).read_text("utf-8"))
    (found,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == table
    )
    alone = {kind for kind, layer in LAYERS.items() if not issubclass(layer, (Joint, Recurrent, Repeat))}
    assert {key.value for key in found.keys} >= alone - set(programs.NOT_ELSEWHERE)
