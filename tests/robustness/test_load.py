"""Load: what grows must not grow. Short versions of the scripts beside this file, which say how to run them in full."""

import contextlib
import subprocess
import sys

import checkpoints
import million
import soak

from cnncli.training import runs

HUNG = 120  # seconds
LAYERS = {
    "convolutions": "  - conv: {filters: 8, kernel: 3, padding: same}\n  - relu\n" * 499
    + "  - flatten\n  - dense: 10\n",
    "branches": "  - branches: {paths: [[], [conv: {filters: 1, kernel: 1}]], merge: add}\n  - relu\n  - relu\n" * 250,
    "repeat": "  - repeat: {times: 500, layers: [conv: {filters: 4, kernel: 3, padding: same}, relu]}\n",
}


def test_a_thousand_layers(tmp_path):
    """In half a second each on an idle machine, most of which is the start of Python."""
    for kind, layers in LAYERS.items():
        (tmp_path / kind).write_text("name: long\ninput: {channels: 1, size: [28, 28]}\nlayers:\n" + layers)
        command = [sys.executable, "-m", "cnncli", "check", str(tmp_path / kind)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=HUNG)
        assert f"{tmp_path / kind}: ok, 1000 layers, " in ended.stdout


def test_rounds_of_training_take_no_more_and_more():
    first, last, rounds = soak.soak(0, rounds=6)
    assert rounds == 6
    assert (first.descriptors, first.threads) == (last.descriptors, last.threads)
    assert last.memory <= 1.1 * first.memory


def test_memory_beyond_the_images_does_not_follow_their_number():
    few, many = (million.measure("idx", count) for count in (20_000, 200_000))
    assert many[1] - many[0] <= few[1] - few[0] + 64e6


def test_checkpoints(tmp_path):
    with contextlib.chdir(tmp_path):
        run = checkpoints.small_run(tmp_path / "one")
        first, last = checkpoints.write_and_read(run, 50)
        assert (first.descriptors, first.threads) == (last.descriptors, last.threads)
        assert last.memory <= 1.1 * first.memory
        newest = checkpoints.put_runs(run.folder / runs.LAST, 300)
        assert runs.checkpoint_of(None) == newest
        with runs.create(None, "mlp-digits") as free:
            assert free.name == "mlp-digits-301"
