"""Training on folders of files, from the command line: the way of a user, and damaged files on it."""

import io
import json
import wave

import numpy as np
import pytest
from PIL import Image
from small import SMALL

from cnncli.datasets import load

SIGNALS = SMALL.replace("[8, 8]", "[64]")
VOLUMES = SMALL.replace("[8, 8]", "[8, 8, 8]")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("small", SMALL), ("signals", SIGNALS), ("volumes", VOLUMES)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture
def digits(here):
    """The bundled digits as .png files, train/0/0.png and so on: the first 200 and 100 of the two splits."""
    for part, split, count in (("train", load("digits").train, 200), ("test", load("digits").test, 100)):
        for i in range(count):
            path = here / "pictures" / part / str(split.labels[i]) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.images[i, 0, :, :, 0]).save(path)
    return here / "pictures"


def sound(numbers) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.asarray(numbers, "<i2").tobytes())
    return buffer.getvalue()


def test_a_folder_trains_as_the_same_images_in_a_file(run, here, digits):
    result = json.loads(run("train", "--model", "small.yaml", "--dataset", "pictures", "--json").out)
    assert result["run"] == "runs/small-pictures-1"
    measured = json.loads(run("eval", "--json").out)
    assert (measured["count"], measured["accuracy"]) == (100, result["test_accuracy"])
    assert [row["class"] for row in measured["per_class"]] == list("0123456789")
    parts = {}
    for part in ("train", "test"):  # the same samples in the same order: the weights are the same, to the last bit
        paths = sorted((digits / part).glob("*/*"), key=lambda path: (path.parent.name, int(path.stem)))
        parts[f"x_{part}"] = np.stack([np.asarray(Image.open(path)) for path in paths])
        parts[f"y_{part}"] = np.array([int(path.parent.name) for path in paths])
    np.savez("pictures.npz", **parts)
    again = json.loads(run("train", "--model", "small.yaml", "--dataset", "pictures.npz", "--json").out)
    assert again["test_accuracy"] == result["test_accuracy"]
    weights = [(here / r["run"] / "best.safetensors").read_bytes()[-2000:] for r in (result, again)]
    assert weights[0] == weights[1]
    picture = next((digits / "test" / "7").iterdir())
    found = json.loads(run("predict", "--run", result["run"], picture, "--json").out)["predictions"][0]
    assert set(found["probabilities"]) == set("0123456789")
    assert "was complete" in run("train", "--resume", result["run"]).out


def test_signals_and_volumes_train(run, here, write_all):
    generator = np.random.default_rng(0)
    for label in range(2):
        for i in range(20):
            numbers = 5000 * np.sin(np.arange(50 + i) * (0.2, 1.5)[label] + i) + generator.normal(size=50 + i)
            grid = generator.random((8, 8, 8)) < (0.2, 0.8)[label]
            write_all(here, {f"sounds/{label}/{i}.wav": sound(numbers)})
            (here / "grids" / str(label)).mkdir(parents=True, exist_ok=True)
            np.save(here / "grids" / str(label) / f"{i}.npy", grid)
    for model, data in (("signals", "sounds"), ("volumes", "grids")):
        ended = run("train", "--model", f"{model}.yaml", "--dataset", data, "--epochs", 20, "--json", "--quiet")
        assert json.loads(ended.out)["test_accuracy"] == 1


def test_a_damaged_file_is_one_line(mistake, here, digits):
    path = digits / "train" / "3" / "3.png"
    for content in (b"", b"text", path.read_bytes()[:60]):
        path.write_bytes(content)
        code, line = mistake("train", "--model", "small.yaml", "--dataset", "pictures")
        assert code == 3
        assert line.startswith("error: pictures/train/3/3.png: ")
    assert not (here / "runs").exists()


def test_a_model_of_another_kind_is_one_line(mistake, digits):
    code, line = mistake("train", "--model", "signals.yaml", "--dataset", "pictures")
    hint = "set input.size to [height, width] and input.channels to 1 or 3"
    assert (code, line) == (3, f"error: pictures: holds images, the model's input is 1x64: {hint}")


def test_files_without_classes_are_not_for_a_classifier(mistake, digits):
    code, line = mistake("train", "--model", "small.yaml", "--dataset", "pictures/train/3")
    hint = "put the files of each class into a sub-folder of its name"
    assert (code, line) == (3, f"error: 3: has no classes: {hint}")


def test_labels_of_pixels_are_for_models_of_pixels(mistake, here, write_all):
    for i in range(3):
        for side in ("images", "masks"):
            (here / "cells" / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(here / "cells" / side / f"{i}.png")
    code, line = mistake("train", "--model", "small.yaml", "--dataset", "cells")
    assert (code, line) == (
        3,
        (
            "error: cells: has a label for each pixel, the model learns one for each sample: let it end in a map of "
            "the input's size, a channel a class"
        ),
    )
