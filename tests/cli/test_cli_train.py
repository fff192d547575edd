"""train, eval, predict and gradcheck: the whole way of a user, and the mistakes on it."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from signing import signed
from small import SMALL

from cnncli.resources import bundled
from cnncli.training.checkpoint import UNSIGNED


def leftovers(folder):
    return sorted(path.name for path in folder.rglob("*") if path.name.endswith(".tmp") or path.name == "runs")


def test_train_then_eval_then_predict(run, files):
    ended = run("train", "--model", "small.yaml")
    assert ended.code == 0
    assert ended.out.startswith("runs/small-digits-1: test accuracy ")
    assert [line.split()[0] for line in ended.err.splitlines() if "compiling" not in line] == [
        "small:",
        "epoch",
        "epoch",
    ]
    folder = files / "runs" / "small-digits-1"
    written = ["best.safetensors", "last.safetensors", "metrics.jsonl", "model.yaml", "run.yaml"]
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == written
    assert (folder / "model.yaml").read_text() == SMALL

    measured = json.loads(run("eval", "--json").out)
    assert measured["checkpoint"] == "runs/small-digits-1/best.safetensors"
    assert measured["count"] == 355
    assert f"best {measured['accuracy']:.2%}" in ended.out
    assert np.trace(measured["confusion"]) == round(measured["accuracy"] * 355)
    table = run("eval", "runs/small-digits-1", "--split", "train").out
    assert "on 1,442 train images" in table
    assert "precision" in table
    assert "confusion" in table

    pixels = np.frombuffer((bundled("data") / "digits" / "t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    for i, image in enumerate(pixels[: 3 * 64].reshape(3, 8, 8)):
        Image.fromarray(255 - image).save(f"{i}.png")
    found = json.loads(run("predict", "0.png", "1.png", "2.png", "--invert", "--json").out)["predictions"]
    assert [p["file"] for p in found] == ["0.png", "1.png", "2.png"]
    for p in found:
        assert sum(p["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert p["class"] == max(p["probabilities"], key=p["probabilities"].get)
    assert run("predict", "0.png", "--invert").out.startswith(f"0.png: {found[0]['class']} (")


def test_an_autoencoder_is_trained_and_draws(run, mistake, files):
    layers = "[conv: {filters: 8, padding: same}, relu, conv: {filters: 1, padding: same}]"
    text = f"name: auto\ninput: {{channels: 1, size: [8, 8]}}\nlayers: {layers}\nloss: {{mean_squared_error: input}}\n"
    Path("auto.yaml").write_text(f"{text}train: {{epochs: 6, optimizer: {{adam: 0.01}}}}\n")
    ended = run("train", "--model", "auto.yaml")
    assert re.fullmatch(r"runs/auto-digits-1: test loss [0-9.e-]+ \(.*\)\n", ended.out)
    assert "accuracy" not in ended.err
    measured = json.loads(run("eval", "--json").out)
    assert set(measured) == {"checkpoint", "split", "loss", "count"}
    assert run("eval").out.endswith(f"loss {measured['loss']:.4g} on 355 test images\n")

    digit = np.frombuffer((bundled("data") / "digits" / "t10k-images-idx3-ubyte").read_bytes()[16:80], np.uint8)
    Image.fromarray(digit.reshape(8, 8)).save("0.png")
    message = "error: the network reconstructs pictures: say with --out in which folder"
    assert mistake("predict", "0.png") == (1, message)
    [found] = json.loads(run("predict", "0.png", "--out", "drawn", "--json").out)["predictions"]
    assert found["picture"] == "drawn/0-output.png"
    drawn = np.asarray(Image.open("drawn/0-output.png")).reshape(-1).astype(int)
    assert np.corrcoef(drawn, digit)[0, 1] > 0.9
    assert run("predict", "0.png", "--out", "drawn").out == f"0.png: drawn/0-output.png, loss {found['loss']:.4g}\n"


def test_a_labeller_of_pixels_draws_its_map(run, mistake, files):
    """Bright pixels are class 1: what one 1x1 convolution can learn."""
    generator = np.random.default_rng(0)
    for folder in ("cells/images", "cells/masks"):
        Path(folder).mkdir(parents=True)
    for i in range(12):
        pixels = generator.choice(np.array([20, 30, 220, 230], np.uint8), (6, 7))
        Image.fromarray(pixels).save(f"cells/images/{i}.png")
        Image.fromarray((pixels > 127).astype(np.uint8)).save(f"cells/masks/{i}.png")
    text = "name: bright\ninput: {channels: 1, size: [6, 7]}\nlayers: [conv: {filters: 2, kernel: 1}]\n"
    Path("bright.yaml").write_text(f"{text}train: {{epochs: 30, batch_size: 2, optimizer: {{adam: 0.1}}}}\n")
    run("train", "--model", "bright.yaml", "--dataset", "cells")
    message = "error: the network labels pixels: say with --out in which folder"
    assert mistake("predict", "cells/images/0.png") == (1, message)
    [found] = json.loads(run("predict", "cells/images/0.png", "--out", "drawn", "--json").out)["predictions"]
    mask = np.asarray(Image.open("cells/masks/0.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(found["map"])), 255 * mask)
    assert list(found["shares"].values()) == pytest.approx([1 - mask.mean(), mask.mean()])


def test_json_is_all_that_is_on_stdout(run, files):
    ended = run("train", "--model", "small.yaml", "--epochs", 1, "--json", "--quiet")
    assert ended.err == ""
    result = json.loads(ended.out)
    assert set(result) == {
        "run", "epochs", "test_accuracy", "best_test_accuracy", "test_loss", "train_seconds", "images_per_second",
        "compile_seconds",
    }  # fmt: skip
    assert result["epochs"] == 1


def test_options_end_up_in_the_model(run, files):
    options = (
        "--epochs",
        0,
        "--batch-size",
        7,
        "--lr",
        0.5,
        "--seed",
        3,
        "--save-every",
        9,
        "--set",
        "name=other",
        "--out",
        "here",
    )
    assert run("train", "--model", "small.yaml", *options).out == "here: the first checkpoint is written\n"
    model = (files / "here" / "model.yaml").read_text()
    for text in ("epochs: 0", "batch_size: 7", "lr: 0.5", "seed: 3", "save_every: 9", "name: other"):
        assert text in model


def test_a_run_resumes_after_it_was_killed(run, files):
    options = ("train", "--model", "small.yaml", "--epochs", "12", "--save-every", "1", "--out")
    whole = run(*options, "whole", "-q")
    command = [sys.executable, "-m", "cnncli", *options, "cut"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (Path("cut") / "best.safetensors").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)  # at some step after the first of twelve epochs
    assert process.wait() == -signal.SIGKILL
    ended = run("train", "--resume", "cut", "-q")
    assert ended.code == 0
    assert whole.out.split("(")[0].removeprefix("whole") == ended.out.split("(")[0].removeprefix("cut")
    for name in ("best.safetensors", "last.safetensors"):
        first, second = (load_file(files / folder / name) for folder in ("whole", "cut"))
        assert {key: t.tobytes() for key, t in first.items()} == {key: t.tobytes() for key, t in second.items()}
    assert run("train", "--resume", "cut", "-q").out == "cut: was complete: nothing to do\n"


def test_gradcheck_passes_on_a_right_network(run, files):
    ended = run("gradcheck", "--model", "small.yaml", "--samples", 3, "--json")
    assert ended.code == 0
    result = json.loads(ended.out)
    assert result["passed"]
    assert [row["name"] for row in result["parameters"]] == [
        "0_conv.weight",
        "0_conv.bias",
        "4_dense.weight",
        "4_dense.bias",
    ]
    assert "ok" in run("gradcheck", "--model", "small.yaml", "--samples", 1).out


def test_gradcheck_fails_on_a_wrong_gradient(run, files, monkeypatch):
    from cnncli.network import Parameters

    right = Parameters.gradient

    def wrong(parameters, name):
        # read by the check after the gradients were written: a copy that is 1 % off
        found = right(parameters, name)
        return found * 1.01 if name == "4_dense.bias" and found.any() else found

    monkeypatch.setattr(Parameters, "gradient", wrong)
    ended = run("gradcheck", "--model", "small.yaml", "--samples", 10)
    assert ended.code == 1
    assert [line.split()[0] for line in ended.out.splitlines() if "WRONG" in line] == ["4_dense.bias"]


MISTAKES = [
    (["--model", "missing.yaml"], 2, 'no file and no model of the zoo is called "missing.yaml"'),
    (["--model", "key.yaml"], 2, 'key.yaml:4: layers[0].conv: unknown key "filter"; did you mean "filters"?'),
    (["--model", "fit.yaml"], 2, "fit.yaml:6: layer 2_max_pool (max_pool): its window of 9 is larger"),
    (["--model", "small.yaml", "--dataset", "mnist", "--data-dir", "."], 3, "mnist: "),
    (["--model", "small.yaml", "--dataset", "nowhere"], 3, "nowhere: no data set or path of that name"),
    (["--model", "small.yaml", "--dataset", "cut"], 3, "cut/train-images-idx3-ubyte: truncated: its header declares"),
    (["--model", "small.yaml", "--dataset", "label"], 3, "label: has labels 0 .. 200, the model ends in 10 outputs"),
    (["--model", "small.yaml", "--dataset", "test"], 3, "test/t10k-labels-idx1-ubyte: label 3 is 77, outside 0 .. 9"),
    (["--model", "small.yaml", "--lr", "0"], 2, "Invalid value for '--lr'"),
    (["--model", "small.yaml", "--lr", "nan"], 2, "Invalid value for '--lr': nan is not a finite number"),
    (["--model", "small.yaml", "--lr", "inf"], 2, "Invalid value for '--lr': inf is not a finite number"),
    (["--model", "small.yaml", "--threads", "many"], 2, "Invalid value for '--threads'"),
    (["--model", "small.yaml", "--set", "train.epoch=3"], 2, '--set train.epoch=3: train: unknown key'),
    (["--model", "small.yaml", "--out", "small.yaml"], 1, "small.yaml: is not a folder"),
    (["--model", "small.yaml", "--epochs", "1", "--resume", "x"], 2, "--resume goes on as the run began: --model"),
    (["--resume", "nowhere"], 4, "nowhere: holds no last.safetensors to resume from"),
    ([], 2, "give --model FILE_OR_NAME"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "expected"), MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(mistake, files, arguments, code, expected):
    (files / "key.yaml").write_text(SMALL.replace("filters", "filter"))
    (files / "fit.yaml").write_text(SMALL.replace("max_pool: 2", "max_pool: 9"))
    for name in ("cut", "label", "test"):
        (files / name).mkdir()
        for source in (bundled("data") / "digits").glob("*ubyte"):
            data = bytearray(source.read_bytes())
            if name == "cut" and source.name == "train-images-idx3-ubyte":
                del data[5000:]
            if name == "label" and source.name == "train-labels-idx1-ubyte":
                data[8] = 200
            if name == "test" and source.name == "t10k-labels-idx1-ubyte":
                data[8 + 3] = 77
            (files / name / source.name).write_bytes(data)
    found, line = mistake("train", *arguments)
    assert line.startswith(f"error: {expected}")
    assert found == code
    assert leftovers(files) == []


def test_a_checkpoint_of_another_network_is_refused(run, mistake, files):
    run("train", "--model", "small.yaml", "--epochs", 0, "--out", "one")
    other = SMALL.replace("filters: 4", "filters: 5")
    (files / "other.yaml").write_text(other)
    run("train", "--model", "other.yaml", "--epochs", 0, "--out", "two")
    data = (files / "two" / "last.safetensors").read_bytes()
    # the tensors of one network under the model of another, with the header's length kept
    mixed = re.sub(rb"[0-9a-f]{64}", UNSIGNED.encode(), data.replace(b"filters: 5", b"filters: 4"), count=1)
    (files / "mixed.safetensors").write_bytes(signed(mixed))
    code, line = mistake("eval", "mixed.safetensors")
    assert code == 4
    assert "is of another network: 0_conv.weight is float32 5x1x3x3, not float32 4x1x3x3" in line
    (files / "cut.safetensors").write_bytes(data[:1000])
    assert mistake("eval", "cut.safetensors")[0] == 4
    assert mistake("eval", "nowhere")[0] == 4
    assert mistake("eval")[0] == 4  # no run in runs/


def test_a_diverging_run_ends_with_code_5_and_keeps_the_last_good_checkpoint(mistake, run, files):
    code, line = mistake("train", "--model", "small.yaml", "--lr", "1e30", "--out", "d", "-q")
    assert code == 5
    assert "the loss became" in line
    assert "d/last.safetensors" in line
    assert run("eval", "d", "--json").code == 0


def test_pictures_that_are_none(mistake, run, files):
    run("train", "--model", "small.yaml", "--epochs", 0)
    (files / "text.png").write_text("not a picture")
    assert mistake("predict", "text.png") == (
        3,
        "error: text.png: is not a JPEG, PNG, BMP, GIF, PPM or WEBP image",
    )
    assert mistake("predict", "missing.png") == (3, "error: missing.png: no such image file")
