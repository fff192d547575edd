"""A run that was interrupted, wherever and however often, ends with the bits of one that was not."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from cnncli import datasets, kernels, spec
from cnncli.errors import DivergedError, StoppedError
from cnncli.network import Network
from cnncli.training import checkpoint, runs
from cnncli.training.checkpoint import Given
from cnncli.training.loop import Listener, Run
from cnncli.training.session import digests

HEAD = "name: small\ninput: {channels: 1, size: [8, 8]}\n"
TRAIN = "train: {epochs: 2, batch_size: 100, schedule: {one_cycle: 0.4}, warmup: 0.5, seed: 5, optimizer: "  # 8 steps
PLAIN = "[conv: {filters: 4, padding: same}, batch_norm, relu, max_pool: 2, flatten, dropout: 0.25, dense: 10]"
KMEANS = """[normalized_conv: {filters: 6, kernel: 3, init: {kmeans: {patches: 300}}, freeze: true}, relu, max_pool: 2,
  flatten, batch_norm, dense: 10]"""
WINNERS = """[normalized_conv: {filters: 6, kernel: 3, center: false, init: {winner_take_all: {patches: 300}},
  freeze: true}, relu, global_avg_pool, dense: 10]"""
RECURRENT = "[recurrent: {steps: 2, layers: [conv: {filters: 2, padding: same}, batch_norm, relu]}, flatten, dense: 10]"
MODELS = {
    "sgd": (PLAIN, "{sgd: {lr: 0.05, nesterov: true, weight_decay: 0.001}}"),
    "adam": (PLAIN, "{adam: {lr: 0.01, weight_decay: 0.001}}"),
    "adamw": (PLAIN, "adamw"),
    "rmsprop": (PLAIN, "{rmsprop: {momentum: 0.5}}"),
    "kmeans": (KMEANS, "adam"),
    "winners": (WINNERS, "adam"),
    "recurrent": (RECURRENT, "adam"),
}
STEPS, OF_EPOCH, BATCHES = 8, 4, 3  # of the run; in an epoch; in an evaluation


@pytest.fixture(scope="module")
def digits():
    found = datasets.load("digits")
    few = replace(found.train, images=found.train.images[:350], labels=found.train.labels[:350])
    test = replace(found.test, images=found.test.images[:250], labels=found.test.labels[:250])
    return replace(found, train=few, test=test)


def text_of(name):
    layers, optimizer = MODELS[name]
    return f"{HEAD}layers: {layers}\ndata: {{augment: [flip, shift: 1]}}\n{TRAIN}{optimizer}}}\n"


def new_run(folder, digits, text, *overrides):
    specification = spec.parse(text, "small.yaml", overrides)
    folder.mkdir()
    given = Given("digits", None, True, None, digests(digits))
    return Run(Network(specification, seed=specification.train.seed), digits, folder, given)


def resumed(folder, digits):
    found = checkpoint.read(folder / runs.LAST)
    run = Run(found.network, digits, folder, Given("digits", None, True, None, digests(digits)), found.normalization)
    run.restore(found)
    return run


def after(asked):
    """To stop when it is asked for the `asked`-th time: after each step and each batch of an evaluation."""
    left = iter(range(asked, 0, -1))
    return lambda: next(left) == 1


def bits(folder):
    """Of all tensors, and what the metrics say but for the time it took."""
    found = hashlib.sha256()
    for name in (runs.LAST, runs.BEST):
        for tensor, values in sorted(checkpoint.read(folder / name).tensors.items()):
            found.update(tensor.encode() + values.tobytes())
    for line in (folder / runs.METRICS).read_text().splitlines():
        found.update(line.split(', "seconds"')[0].encode())
    return found.hexdigest()


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """The bits of undisturbed runs, by the name of the model."""
    known = {}

    def of(name):
        if name not in known:
            folder = tmp_path_factory.mktemp("whole") / name
            new_run(folder, digits, text_of(name)).train(Listener())
            known[name] = bits(folder)
        return known[name]

    return of


@pytest.mark.parametrize("name", MODELS)
def test_stopped_every_few_steps_it_ends_with_the_same_bits(tmp_path, digits, whole, name):
    folder, run, steps, threads = tmp_path / "cut", None, [], 0
    for asked in (3, 1, 2, 4, 1, 3, 2, None):
        threads = threads % kernels.most_threads() + 1  # another number in each life
        kernels.set_threads(threads)
        run = resumed(folder, digits) if run else new_run(folder, digits, text_of(name))
        if asked is None:
            run.train(Listener())
        else:
            with pytest.raises(StoppedError, match=r"^stopped after step \d of 8: go on with cnncli train --resume /"):
                run.train(Listener(), stop=after(asked))
            steps.append(run.progress.step)
    # the third stop and the last two are in evaluations, which begin anew
    assert steps == [3, 4, 4, 5, 6, 8, 8]
    assert bits(folder) == whole(name)


@pytest.mark.parametrize("asked", range(1, STEPS + 2 * BATCHES + 1))
def test_stopped_at_any_moment_it_ends_with_the_same_bits(tmp_path, digits, whole, asked):
    with pytest.raises(StoppedError):
        new_run(tmp_path / "cut", digits, text_of("adam")).train(Listener(), stop=after(asked))
    run = resumed(tmp_path / "cut", digits)
    assert run.progress.step == min(asked, OF_EPOCH) + min(max(asked - OF_EPOCH - BATCHES, 0), OF_EPOCH)
    run.train(Listener())
    assert bits(tmp_path / "cut") == whole("adam")


def test_weights_learned_from_patches_are_the_same_when_they_are_learned_again(tmp_path, digits, whole):
    """As after a crash between the first checkpoint and the first step."""
    run = new_run(tmp_path / "cut", digits, text_of("kmeans"))

    class Died(Listener):
        def stepped(self, loss):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(Died())
    run = resumed(tmp_path / "cut", digits)
    assert run.progress.step == 0
    run.train(Listener())
    assert bits(tmp_path / "cut") == whole("kmeans")


def test_what_was_kept_goes_on_to_the_same_bits(tmp_path, digits, whole):
    folder = tmp_path / "cut"
    with pytest.raises(StoppedError):
        new_run(folder, digits, text_of("sgd"), "train.save_every=1", "train.keep=3").train(Listener(), stop=after(3))
    assert [path.name for path in runs.resumable(folder)] == [
        "last.safetensors",
        "step-2.safetensors",
        "step-1.safetensors",
    ]
    runs.go_back_to(folder / "step-2.safetensors")
    run = resumed(folder, digits)
    assert run.progress.step == 2
    run.train(Listener())
    assert bits(folder) == whole("sgd")


def poisoned(monkeypatch, run, tensor, step, value):
    """Let one gradient be `value` in one step, as from a kernel that overflows."""
    update, calls = run.optimizer.update, []

    def poisoned_update(lr):
        calls.append(lr)
        if len(calls) == step:
            run.network.parameters.gradient(tensor)[-1] = value
        return update(lr)

    monkeypatch.setattr(run.optimizer, "update", poisoned_update)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_a_gradient_that_is_not_finite_ends_the_run(tmp_path, digits, monkeypatch, name, value):
    run = new_run(tmp_path / "run", digits, text_of(name), "train.save_every=2")
    poisoned(monkeypatch, run, "0_conv.weight", 4, value)
    with pytest.raises(DivergedError) as caught:
        run.train(Listener())
    last = tmp_path / "run" / runs.LAST
    assert str(caught.value) == (
        "a gradient became infinite or NaN in step 4, first in layer 0_conv: try a smaller --lr; "
        f"the last good checkpoint is {last}, of step 2"
    )
    assert checkpoint.read(last).progress.step == 2
    assert all(np.isfinite(tensor).all() for tensor in checkpoint.read(last).tensors.values())


def test_a_loss_that_is_not_finite_names_the_first_layer(tmp_path, digits):
    run = new_run(tmp_path / "run", digits, text_of("adam"), "train.save_every=1")
    with pytest.raises(StoppedError):
        run.train(Listener(), stop=after(2))
    run = resumed(tmp_path / "run", digits)
    run.network.parameters.value("6_dense.weight")[3] = np.nan
    with pytest.raises(
        DivergedError, match="the loss became nan in step 3, first in layer 6_dense: try a smaller --lr"
    ):
        run.train(Listener())
    assert checkpoint.read(tmp_path / "run" / runs.LAST).progress.step == 2


def test_a_test_loss_that_is_not_finite_names_the_first_layer(tmp_path, digits):
    images = digits.test.images.astype(np.float32)
    images[-1] = np.inf
    test = replace(digits.test, images=images)
    run = new_run(tmp_path / "run", replace(digits, test=test), text_of("adam"))
    with pytest.raises(DivergedError, match=r"^the test loss became \w+ after step 4, first in layer 0_conv: try"):
        run.train(Listener())
    assert checkpoint.read(tmp_path / "run" / runs.LAST).progress.step == 0
    assert not (tmp_path / "run" / runs.METRICS).exists()


def test_a_resumed_run_does_not_hold_its_checkpoint(tmp_path, digits):
    with pytest.raises(StoppedError):
        new_run(tmp_path / "cut", digits, text_of("adam")).train(Listener(), stop=after(1))
    found = checkpoint.read(tmp_path / "cut" / runs.LAST)
    assert found.tensors
    Run(found.network, digits, tmp_path / "cut", found.progress.given, found.normalization).restore(found)
    assert not found.tensors
