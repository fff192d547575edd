"""The training loop: its losses against PyTorch's, its bits, its checkpoints."""

import hashlib
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from cnncli import datasets, kernels, spec
from cnncli.errors import CheckpointError, DataError, DivergedError
from cnncli.network import Network
from cnncli.training import checkpoint, loop, runs
from cnncli.training.checkpoint import Given
from cnncli.training.labels import check_labels
from cnncli.training.loop import Listener, Run
from cnncli.training.session import digests

# LeNet on the digits: PyTorch 2.13 in float64, from our first values (tests/peers/pinned_losses.py prints them)
PINNED = [
    2.69066269,
    2.31114260,
    2.03595679,
    1.95558203,
    1.82601872,
    1.86408060,
    1.53878870,
    1.34803291,
    1.34084488,
    2.53403602,
]

SMALL = """
name: small
input: {channels: 1, size: [8, 8]}
layers:
  - conv: {filters: 4, kernel: 3, padding: same}
  - relu
  - max_pool: 2
  - flatten
  - dropout: 0.25
  - dense: 10
data: {augment: [flip, shift: 1]}
train: {epochs: 3, batch_size: 100, optimizer: adam, schedule: {one_cycle: 0.4}, seed: 5}
"""


NORMALIZED = """
name: normalized
input: {channels: 1, size: [8, 8]}
layers:
  - conv: {filters: 4, kernel: 3, padding: same, bias: false}
  - batch_norm
  - relu
  - residual: {main: [conv: {filters: 4, kernel: 3, padding: same, bias: false}, batch_norm]}
  - relu
  - max_pool: 2
  - flatten
  - dense: {units: 12, bias: false}
  - batch_norm: {momentum: 0.3}
  - relu
  - dense: 10
data: {augment: [flip, shift: 1]}
train: {epochs: 2, batch_size: 100, optimizer: {sgd: {lr: 0.05}}, schedule: {one_cycle: 0.4}, seed: 5}
"""


PIXELS = """
name: pixels
input: {channels: 1, size: [8, 8]}
layers:
  - conv: {filters: 6, padding: same}
  - relu
  - conv: {filters: 3, padding: same}
loss: {softmax_cross_entropy: {class_weights: [1, 0.5, 2]}}
data: {augment: [flip, shift: 1]}
train: {epochs: 3, batch_size: 100, optimizer: {adam: 0.01}, seed: 5}
"""


AUTOENCODER = """
name: autoencoder
input: {channels: 1, size: [8, 8]}
layers:
  - conv: {filters: 6, padding: same}
  - relu
  - flatten
  - dense: 20
  - relu
  - dense: 64
loss: {binary_cross_entropy: input}
data: {normalize: none, augment: [flip, shift: 1]}
train: {epochs: 3, batch_size: 100, optimizer: adam, seed: 5}
"""


class Losses(Listener):
    def __init__(self):
        self.losses, self.records = [], []

    def stepped(self, loss):
        self.losses.append(loss)

    def epoch_ended(self, record):
        self.records.append(record)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def strokes(digits):
    """The digits with a label for each pixel: how dark it is, nobody's at the bottom."""

    def labelled(split):
        masks = (split.images[..., 0] // 86).astype(np.uint8)
        masks[:, :, -1] = 255
        return replace(split, labels=masks)

    return replace(digits, train=labelled(digits.train), test=labelled(digits.test), classes=("none", "grey", "dark"))


def given(dataset, shuffle=True):
    return Given("digits", None, shuffle, None, digests(dataset))


def new_run(folder, dataset, *overrides, text=SMALL, shuffle=True):
    specification = spec.parse(text, "small.yaml", overrides)
    network = Network(specification, seed=specification.train.seed)
    folder.mkdir(exist_ok=True)
    fitted = datasets.fit(dataset, network.input.axes, network.input.channels)
    return Run(network, fitted, folder, given(fitted, shuffle))


def weights(run):
    parameters = run.network.parameters
    return hashlib.sha256(parameters.values.tobytes() + parameters.state.tobytes()).hexdigest()


def test_ten_losses_are_those_of_pytorch(tmp_path, digits):
    specification = spec.read("lenet", ["train.schedule=constant", "train.max_steps=10", "train.epochs=1"])
    network, heard = Network(specification), Losses()
    run = Run(network, datasets.fit(digits, (28, 28), 1), tmp_path, given(digits, shuffle=False))
    run.train(heard)
    # float32 against float64: ten steps of a network whose largest sums have 400 terms
    np.testing.assert_allclose(heard.losses, PINNED, rtol=2e-5)


@pytest.mark.parametrize("optimizer", ["sgd: {nesterov: true, weight_decay: 0.001}", "adamw", "rmsprop"])
def test_weights_do_not_depend_on_the_number_of_threads(tmp_path, digits, optimizer):
    found = set()
    for threads in range(1, kernels.most_threads() + 1):
        kernels.set_threads(threads)
        text = SMALL.replace(
            "optimizer: adam", f"optimizer: {{{optimizer}}}" if ":" in optimizer else f"optimizer: {optimizer}"
        )
        run = new_run(tmp_path / str(threads), digits, text=text)
        run.train(Listener())
        found.add(weights(run))
    kernels.set_threads(kernels.most_threads())
    assert len(found) == 1


def test_a_resumed_run_refuses_other_data(tmp_path, digits):
    first = new_run(tmp_path, digits, "train.max_steps=3")
    first.train(Listener())
    found = checkpoint.read(tmp_path / runs.LAST)
    train, test = digits.train, digits.test
    fewer = replace(test, images=test.images[1:], labels=test.labels[1:])
    others = {
        "training samples": replace(digits, train=replace(train, images=train.images // 2)),
        "training labels": replace(digits, train=replace(train, labels=train.labels[::-1])),
        "test samples": replace(digits, test=replace(test, images=test.images[:, :, ::-1])),
        "test samples and the test labels": replace(digits, test=fewer),
        "classes": replace(digits, classes=tuple("abcdefghij")),
    }
    for what, dataset in others.items():
        with pytest.raises(DataError, match=f"digits: the {what} are not those that the run began with"):
            new_run(tmp_path, dataset).restore(found)
    without = {name: tensor for name, tensor in found.tensors.items() if not name.startswith("mean/")}
    with pytest.raises(CheckpointError, match=r"it has no mean/0_conv\.weight"):
        new_run(tmp_path, digits).restore(replace(found, tensors=without))


def test_minutes_between_checkpoints_count_from_the_last_of_that_name(tmp_path, digits, monkeypatch):
    clock = iter(range(0, 10**6, 20))  # each look at the clock is 20 seconds later: one a step, one a save
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    run, saved = new_run(tmp_path, digits, "train.save_every=1min", "train.optimizer.adam.lr=0.01"), []
    write = checkpoint.write

    def told(path, now, *slots):
        saved.append((path.name, now.progress.step))
        write(path, now, *slots)

    monkeypatch.setattr(checkpoint, "write", told)
    run.train(Listener())
    steps = [step for name, step in saved if name == runs.LAST]
    assert max(b - a for a, b in itertools.pairwise(steps)) <= 4


@pytest.mark.parametrize("keep", [1, 2])
def test_older_checkpoints_are_removed_only_where_some_are_kept(tmp_path, digits, keep):
    (tmp_path / "step-1.safetensors").write_bytes(b"somebody's own")
    new_run(tmp_path, digits, f"train.keep={keep}", "train.save_every=3").train(Listener())
    own = {path.name for path in tmp_path.glob("step-*")}
    assert own == ({"step-1.safetensors"} if keep == 1 else {"step-42.safetensors"})


@pytest.mark.parametrize("options", [["train.max_steps=1"], ["train.save_every=1"], ["train.epochs=1"]])
def test_nothing_that_is_not_finite_is_ever_written(tmp_path, digits, options):
    run = new_run(tmp_path, digits, "train.optimizer.adam.lr=1e38", "train.schedule=constant", *options)
    with pytest.raises(DivergedError):
        run.train(Listener())
    found = checkpoint.read(tmp_path / runs.LAST)
    assert all(np.isfinite(tensor).all() for tensor in found.tensors.values())
    metrics = tmp_path / runs.METRICS
    assert not metrics.exists() or "NaN" not in metrics.read_text()


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        *((SMALL, stop) for stop in (1, 7, 15, 16, 44)),
        *((NORMALIZED, stop) for stop in (1, 15, 20)),
        *((text, stop) for text in (PIXELS, AUTOENCODER) for stop in (15, 20)),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, digits, strokes, text, stop):
    dataset = strokes if text == PIXELS else digits
    whole, heard = new_run(tmp_path / "whole", dataset, text=text), Losses()
    result = whole.train(heard)
    first = new_run(tmp_path / "cut", dataset, "train.save_every=1", text=text)
    steps = 0

    class Stop(Listener):
        def stepped(self, loss):
            nonlocal steps
            steps += 1
            if steps > stop:  # the step was made, but not saved: as if the process had died
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.train(Stop())
    found, again = checkpoint.read(tmp_path / "cut" / runs.LAST), Losses()
    second = Run(found.network, dataset, tmp_path / "cut", given(dataset))
    second.restore(found)
    assert second.progress.step == stop
    resumed = second.train(again)
    assert weights(second) == weights(whole)
    assert again.losses == heard.losses[stop:]
    last, expected = again.records[-1], heard.records[-1]
    assert {k: last[k] for k in last if "second" not in k} == {k: expected[k] for k in expected if "second" not in k}
    assert resumed["best_test_accuracy"] == result["best_test_accuracy"]


def test_a_run_learns_the_digits_and_leaves_its_records(tmp_path, digits):
    run = new_run(tmp_path, digits, "train.epochs=12", "data.augment=[]", "train.optimizer.adam.lr=0.01")
    result = run.train(Listener())
    assert result["test_accuracy"] > 0.9
    assert result["best_test_accuracy"] >= result["test_accuracy"]
    lines = [json.loads(line) for line in (tmp_path / runs.METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert lines[-1]["step"] == 12 * 15 == result["epochs"] * 15
    assert lines[-1]["test_accuracy"] == result["test_accuracy"]
    best = checkpoint.read(tmp_path / runs.BEST)
    assert best.progress.best == result["best_test_accuracy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [runs.BEST, runs.LAST, runs.METRICS]


def test_no_epochs_write_the_first_checkpoint(tmp_path, digits):
    run = new_run(tmp_path, digits, "train.epochs=0")
    before = weights(run)
    assert run.train(Listener())["test_accuracy"] is None
    assert checkpoint.read(tmp_path / runs.LAST).progress.step == 0
    assert weights(run) == before


def test_max_steps_end_an_epoch_early(tmp_path, digits):
    heard = Losses()
    result = new_run(tmp_path, digits, "train.max_steps=17").train(heard)
    assert len(heard.losses) == 17
    assert [record["step"] for record in heard.records] == [15, 17]
    assert result["epochs"] == 2


def test_without_shuffling_every_epoch_has_the_same_order(tmp_path, digits):
    run = new_run(tmp_path, digits, shuffle=False)
    assert np.concatenate(list(run._batches(1, 0))).tolist() == list(range(1442))
    run = new_run(tmp_path, digits)
    first, second = (np.concatenate(list(run._batches(epoch, 0))) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(1442))
    assert first.tolist() != second.tolist()


def test_labels_of_pixels_are_learned(tmp_path, strokes):
    run, heard = new_run(tmp_path, strokes, text=PIXELS), Losses()
    result = run.train(heard)
    labels = strokes.test.labels[strokes.test.labels != 255]
    assert result["test_accuracy"] > np.bincount(labels).max() / labels.size + 0.2
    assert result["test_accuracy"] > heard.records[0]["test_accuracy"]
    assert heard.records[-1]["test_mean_iou"] > heard.records[0]["test_mean_iou"]
    assert result["best_test_accuracy"] == max(record["test_accuracy"] for record in heard.records)


def test_a_reconstruction_is_learned(tmp_path, digits):
    run, heard = new_run(tmp_path, digits, text=AUTOENCODER), Losses()
    result = run.train(heard)
    losses = [record["test_loss"] for record in heard.records]
    assert losses == sorted(losses, reverse=True)
    assert result["test_loss"] == losses[-1]
    assert result["test_accuracy"] is result["best_test_accuracy"] is None
    assert checkpoint.read(tmp_path / runs.BEST).progress.best == -losses[-1]


def test_data_and_network_must_be_of_one_task(digits, strokes):
    for text, dataset, message in (
        (SMALL, strokes, "has a label for each pixel, the model learns one for each sample: let it end in a map"),
        (PIXELS, digits, "has a label for each sample, the model learns one for each pixel: let it end in a flat out"),
    ):
        with pytest.raises(DataError, match=message):
            check_labels(Network(spec.parse(text, "small.yaml")), dataset)
    for dataset in (digits, strokes):
        check_labels(Network(spec.parse(AUTOENCODER, "small.yaml")), dataset)


def test_more_classes_than_outputs_are_refused(digits):
    network = Network(spec.parse(SMALL.replace("dense: 10", "dense: 9"), "small.yaml"))
    with pytest.raises(DataError, match=r"has labels 0 \.\. 9, the model ends in 9 outputs"):
        check_labels(network, digits)
