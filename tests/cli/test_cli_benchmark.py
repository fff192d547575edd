"""The benchmark command: what its JSON holds, what does not go together, its plots. No test looks at a time."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from cnncli.benchmark import machine, peers, suites, workers
from cnncli.cli import benchmark

FAKE = Path(__file__).parents[1] / "peers" / "fake_peer.py"
QUICK = ("--rounds", 2, "--seconds", 0.02, "--threads")
PARTS = ("forward", "data_gradient", "weight_gradient")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def fake_peer(monkeypatch):
    """A peer that computes nothing, in a slow and a quick mode, takes the place of torch."""
    peer = peers.Peer(str(FAKE), ("json",), ("slow", "quick"), ("network", "convolution"))
    monkeypatch.setitem(peers.PEERS, "torch", peer)
    start = workers.Worker.__init__

    def start_fake(self, name, mode, command, variables):
        start(self, name, mode, [*command, str(peers.SCRIPTS)] if name == "torch" else command, variables)

    monkeypatch.setattr(workers.Worker, "__init__", start_fake)


def test_network(run, files):
    ended = run("benchmark", "--model", "small.yaml", *QUICK, "1,2", "--layers", "--json", "--plot", "bars.png")
    assert (ended.code, ended.err) == (0, "")
    first, second = json.loads(ended.out)["results"]
    assert (first["threads"], second["threads"], first["batch"], first["net"]) == (1, 2, 50, "small")
    for key in ("train_ms", "train_images_s", "infer_ms", "infer_images_s", "latency_us", "peak_rss_mib"):
        assert first[key] > 0
    for key in ("train_ms", "infer_ms", "latency_us"):
        low, high = first["spread"][key]
        assert low <= first[key] <= high
    assert first["compile_seconds"] <= first["first_step_seconds"] + first["start_seconds"] + 60
    assert first["machine"]["threads"] == 1
    assert first["machine"]["processor"] == machine.processor()
    assert first["peers"] == []
    conv, pool, dense = first["layers"]
    assert [row["layer"] for row in first["layers"]] == ["0_conv", "2_max_pool", "4_dense"]
    assert conv["operations"] == 50 * 2 * 64 * 4 * 9
    assert conv["bytes"] == 4 * (50 * (64 + 256) + 36 + 4)
    assert conv["forward"].keys() == {"ms", "spread", "gflops", "of_peak"}
    assert "data_gradient" not in conv
    assert {"bias_gradient", *PARTS} <= dense.keys()
    assert pool["forward"].keys() == {"ms", "spread"}
    assert (files / "bars.png").read_bytes().startswith(PNG)


def test_text_explains_itself(run, files):
    text = run("benchmark", "--model", "small.yaml", *QUICK, "1,2", "--layers", "--batch-size", 3).out
    assert text.startswith("small, batch 3\n")
    for expected in ("GFLOP/s (float32", "GB/s (a = b + s*c", "speed-up", "compile or load", "least ms: ", "4_dense"):
        assert expected in text


def test_suite(run, files):
    ended = run("benchmark", "--suite", "lenet", "--batch-size", 2, *QUICK, "1", "--json", "--plot", "bars.png")
    result = json.loads(ended.out)
    assert (result["suite"], result["batch"], result["threads"], result["summary"]) == ("lenet", 2, 1, {})
    first, second = result["convolutions"]
    assert "data_gradient" not in first
    assert set(PARTS) <= second.keys()
    assert second["operations"] == 2 * 2 * 100 * 16 * 150
    assert (files / "bars.png").read_bytes().startswith(PNG)
    assert "6x14>16 5 p0" in run("benchmark", "--suite", "lenet", "--batch-size", 2, *QUICK, "1").out


def test_algorithms(run, files):
    ended = run("benchmark", "--algorithms", "3x6>4 3", *QUICK, "1", "--json", "--plot", "bars.png")
    edges, asked = json.loads(ended.out)["convolutions"]
    assert (edges["input"], edges["output"], asked["name"]) == ("1x280x320", "1x280x319", "3x6>4 3")
    rows = {row["algorithm"]: row for row in edges["algorithms"]}
    assert (rows["direct"]["stored_floats"], rows["direct"]["operations"]) == (2, 267_960)
    assert rows["dense matrix"]["ms"] is None
    assert all(row["ms"] > 0 for row in asked["algorithms"])
    assert (files / "bars.png").read_bytes().startswith(PNG)
    text = run("benchmark", "--algorithms", *QUICK, "1").out
    assert "16,006,054,680" in text
    assert "figure 9.6" in text


def test_against_a_peer(run, files, fake_peer):
    arguments = ("benchmark", "--model", "small.yaml", "--against", "torch", *QUICK, "1")
    ended = run(*arguments, "--json", "--plot", "bars.png")
    (peer,) = json.loads(ended.out)["peers"]
    assert (peer["name"], peer["version"], set(peer["modes"])) == ("torch", "1.0", {"slow", "quick"})
    for task in ("train", "infer", "latency"):
        assert peer[task]["mode"] == "quick"
        assert peer[task]["ratio"] > 0
        assert len(peer[task]["spread"]) == 2
    assert peer["modes"]["slow"]["peak_rss_mib"] > 0
    assert (files / "bars.png").read_bytes().startswith(PNG)
    assert "torch 1.0 quick" in run(*arguments).out


def test_suite_against_a_peer(run, files, fake_peer):
    arguments = ("benchmark", "--suite", "lenet", "--batch-size", 1, "--against", "torch", *QUICK, "1")
    result = json.loads(run(*arguments, "--json", "--plot", "bars.png").out)
    assert result["peers"] == {"torch": "1.0"}
    assert result["convolutions"][1]["forward"]["peers"]["torch"]["mode"] == "quick"
    assert result["summary"]["torch"].keys() == {*PARTS, "all"}
    assert (files / "bars.png").read_bytes().startswith(PNG)
    assert "geometric mean" in run(*arguments).out


def test_a_peer_that_builds_another_network(mistake, files, fake_peer):
    code, line = mistake(
        "benchmark", "--model", "small.yaml", "--set", "layers[0].conv.bias=false", "--against", "torch", *QUICK, "1"
    )
    assert code == 1
    assert "torch slow: its network has 690 parameters, cnncli's has 686" in line


@pytest.mark.skipif(not importlib.util.find_spec("onnxruntime"), reason="needs onnxruntime")
def test_against_onnxruntime(run, files):
    arguments = ("benchmark", "--model", "small.yaml", "--against", "onnxruntime", *QUICK, "1", "--json")
    (peer,) = json.loads(run(*arguments).out)["peers"]
    assert peer["train"] is None
    assert peer["infer"]["ratio"] > 0


MISTAKES = [
    (["--against", "caffe"], "'caffe' is not one of torch, jax, onnxruntime, openvino"),
    (["--against", "openvino"], "--against openvino: openvino and onnx not installed here; see --peer-python"),
    (["--against", "torch", "--peer-python", "/no/python"], "--peer-python /no/python: No such file or directory"),
    (["--suite", "alexnet"], "'alexnet' is not one of"),
    (["--suite", "lenet", "--layers"], "--suite has convolutions of its own"),
    (["--algorithms", "--model", "lenet"], "--algorithms has convolutions of its own"),
    (["--algorithms", "--against", "torch"], "--algorithms compares within cnncli"),
    (["--suite", "lenet", "--algorithms"], "give --suite or --algorithms, not both"),
    (["--algorithms", "6x14>"], "'6x14>' is no convolution such as"),
    (["--rounds", "0"], "Invalid value for '--rounds'"),
    (["--threads", "1,many"], "Invalid value for '--threads'"),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES)
def test_mistakes(mistake, files, monkeypatch, arguments, expected):
    found = peers.has
    monkeypatch.setattr(peers, "has", lambda python, modules: python != sys.executable and found(python, modules))
    code, line = mistake("benchmark", *arguments)
    assert code == 2
    assert expected in line


def test_choices_are_those_that_there_are():
    assert set(benchmark.SUITES) == set(suites.SUITES)
    assert set(benchmark.PEERS) == set(peers.PEERS)
    assert suites.parse(benchmark.EXAMPLE, 1) in suites.suite("lenet", 1)


@pytest.mark.parametrize("seconds", ["nan", "inf"])
def test_seconds_that_never_end(mistake, seconds):
    code, line = mistake("benchmark", "--seconds", seconds)
    assert code == 2
    assert f"Invalid value for '--seconds': {seconds} is not a finite number." in line
