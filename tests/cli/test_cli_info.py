"""`cnncli info`."""

import json
import platform
from importlib.metadata import version

from cnncli import __version__, kernels


def test_json(run):
    ended = run("info", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert (found["cnncli"], found["python"]) == (__version__, platform.python_version())
    for package in ("numba", "llvmlite", "numpy"):
        assert found[package] == version(package)
    assert found["processor"]
    assert 1 <= found["usable_cores"] <= found["cores"]
    assert found["vector_bytes"] in (16, 32, 64)
    assert found["vector_registers"] in (16, 32)
    assert found["threads"] == kernels.threads()
    assert found["threading_layers"]
    assert found["cache"] == str(kernels.CACHE)


def test_lines(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CNNCLI_DATA", str(tmp_path))
    lines = dict(line.split("  ", 1) for line in run("info").out.splitlines())
    assert lines["cnncli"].strip() == __version__
    assert lines["data sets"].strip() == str(tmp_path)
    assert lines["kernel cache"].strip() == str(kernels.CACHE)
    assert "bits" in lines["vectors"]


def test_chosen_threading_layer(run, monkeypatch):
    monkeypatch.setattr(kernels.numba.config, "THREADING_LAYER", "workqueue")
    assert json.loads(run("info", "--json").out)["threading_layers"] == ["workqueue"]
