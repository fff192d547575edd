"""`cnncli summary`: how it is shown. What it says is tested in tests/pictures."""

import json

import pytest


def test_table(run):
    ended = run("summary", "--model", "lenet")
    assert (ended.code, ended.err) == (0, "")
    table, totals = ended.out.split("\n\n")
    head, first, *rows = (line.split() for line in table.splitlines())
    assert head == ["layer", "output", "window", "parameters", "multiply-adds", "memory", "sees"]
    assert first[:2] == ["input", "1x28x28"]
    # pooling joins the convolution, which holds the pooled map and its gradient: 2 x 64 x 6 x 14 x 14 floats
    assert rows[0] == ["0_conv", "6x28x28", "5x5", "156", "117,600", "588", "KiB", "5x5"]
    assert rows[1] == ["1_relu", "6x28x28", "5x5"]
    assert rows[2] == ["2_max_pool", "6x14x14", "2x2/2", "6x6"]
    assert rows[-1] == ["11_dense", "10", "850", "840", "5", "KiB", "28x28"]
    lines = totals.splitlines()
    assert lines[0].split() == ["parameters", "61,706"]
    assert lines[1].split()[:2] == ["multiply-adds", "416,520"]
    assert lines[2].endswith("723 KiB for parameters, gradients and sgd's state")
    assert lines[3].endswith("2.22 MiB for layers and their gradients, in batches of 64")


def test_table_fits_a_terminal(run):
    assert max(map(len, run("summary", "--model", "lenet").out.splitlines())) <= 80


def test_json(run):
    ended = run("summary", "--model", "lenet", "--batch-size", "2", "--json")
    found = json.loads(ended.out)
    assert (found["name"], found["batch_size"], found["optimizer"]) == ("lenet", 2, "sgd")
    assert (found["parameters"], found["multiply_adds"]) == (61_706, 416_520)
    conv = found["layers"][3]
    assert (conv["path"], conv["kind"], conv["output"]) == ("3_conv", "conv", [16, 10, 10])
    assert (conv["window"], conv["stride"], conv["receptive_field"]) == ([5, 5], [1, 1], [14, 14])


def test_names_strides_and_overrides(run, tmp_path):
    path = tmp_path / "model.yaml"
    layer = "conv: {name: stem, filters: 4, kernel: [3, 5], stride: [1, 2]}"
    path.write_text(f"input: {{channels: 1, size: [9, 9]}}\nlayers:\n  - {layer}\n  - flatten\n  - dense: 2\n")
    row = run("summary", "--model", path, "--set", "layers[0].conv.filters=3").out.splitlines()[2].split()
    assert row[:4] == ["stem", "(conv)", "3x7x3", "3x5/1x2"]


@pytest.mark.parametrize("arguments", [["--model", "nothing"], ["--model", "lenet", "--batch-size", "0"], []])
def test_mistakes(mistake, arguments):
    assert mistake("summary", *arguments)[0] == 2
