"""`cnncli check`."""

import json

import pytest

GOOD = "input: {channels: 1, size: [8, 8]}\nlayers:\n  - conv: {filters: 2, kernel: 3}\n  - flatten\n  - dense: 10\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The working folder holds a good file and two bad ones."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "key.yaml").write_text(GOOD.replace("kernel", "kernl"))
    (tmp_path / "shape.yaml").write_text(GOOD.replace("kernel: 3", "kernel: 9"))
    return tmp_path


def test_good_file(run, files):
    ended = run("check", "good.yaml")
    assert (ended.code, ended.err) == (0, "")
    # 2 * 3 * 3 + 2 weights and biases, then 2 * 6 * 6 * 10 + 10
    assert ended.out == "good.yaml: ok, 3 layers, 750 parameters, 1x8x8 -> 10\n"


def test_zoo(run):
    assert run("check", "lenet").out == "lenet: ok, 12 layers, 61,706 parameters, 1x28x28 -> 10\n"


def test_all_files_are_checked(run, files):
    ended = run("check", "key.yaml", "good.yaml", "shape.yaml", "none.yaml")
    assert ended.code == 2
    assert ended.out.startswith("good.yaml: ok, ")
    assert ended.out.count("\n") == 1
    errors = ended.err.splitlines()
    assert errors[0].startswith("error: key.yaml:3: ")
    assert 'did you mean "kernel"?' in errors[0]
    assert errors[1].startswith("error: shape.yaml:3: layer 0_conv (conv): ")
    assert "none.yaml" in errors[2]
    assert len(errors) == 3


def test_end_that_is_not_flat(mistake, files):
    (files / "end.yaml").write_text("".join(GOOD.splitlines(keepends=True)[:3]))
    code, line = mistake("check", "end.yaml")
    assert code == 2
    assert line.startswith("error: end.yaml:3: layer 0_conv (conv): ")
    assert "flatten" in line


def test_a_network_is_checked_without_taking_its_memory(run, files):
    layers = "  - flatten\n" + "  - dense: 65536\n" * 2
    (files / "huge.yaml").write_text(f"input: {{channels: 1, size: [65536, 65536, 65536]}}\nlayers:\n{layers}")
    ended = run("check", "huge.yaml")
    # 65536^3 inputs by 65536 units, then 65536 by 65536, each with biases
    assert ended.out.startswith(f"huge.yaml: ok, 3 layers, {2**64 + 2**32 + 2 * 65536:,} parameters")


def test_overrides(run, mistake, files):
    assert "1x8x8 -> 4" in run("check", "good.yaml", "--set", "layers[2].dense.units=4").out
    code, line = mistake("check", "good.yaml", "--set", "layers[0].conv.kernel=0")
    assert code == 2
    assert "--set layers[0].conv.kernel=0" in line


def test_json(run, files):
    ended = run("check", "good.yaml", "key.yaml", "--json")
    assert (ended.code, ended.err) == (2, "")
    good, bad = json.loads(ended.out)["files"]
    counts = {"layers": 3, "parameters": 750, "input": "1x8x8", "output": "10"}
    assert good == {"file": "good.yaml", "ok": True, **counts}
    assert (bad["file"], bad["ok"]) == ("key.yaml", False)
    assert bad["error"].startswith("key.yaml:3: ")


def test_needs_a_file(mistake):
    code, line = mistake("check")
    assert code == 2
    assert "FILE_OR_NAME" in line
