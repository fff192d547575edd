"""Checkpoints: what goes in comes out, what is damaged or of another network is one line."""

import contextlib
import re
import tracemalloc

import networks
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from signing import changed, signed

from cnncli import spec
from cnncli.datasets.batches import Normalization
from cnncli.errors import CheckpointError
from cnncli.network import Network
from cnncli.training import checkpoint
from cnncli.training.checkpoint import Checkpoint, Given, Progress
from cnncli.training.metrics import Tally

TINY = "name: tiny\ninput: {channels: 2, size: [3, 3]}\nlayers: [conv: {filters: 2, kernel: 3}, flatten, dense: 2]\n"


def tiny(text=TINY, seed=0):
    network = Network(spec.parse(text, "tiny.yaml"), seed=seed)
    normalization = Normalization(255.0, np.array([0.25, 0.5]), np.array([1.0, 2.0]))
    progress = Progress(Given("mine.npz", None, True, None, {"classes": "0f"}), 3, 0.5, Tally(1.5, 2, 3, 4), 17)
    return Checkpoint(network, ("cat", "dög"), normalization, progress)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "tiny.safetensors"
    checkpoint.write(path, tiny())
    return path


def digest_of(data):
    """Where a checkpoint's digest is."""
    found = re.search(rb"[0-9a-f]{64}", data)
    return slice(*found.span())


def signed_again(data, place=None):
    """The bytes of a changed checkpoint with their right digest."""
    data, place = bytearray(data), place or digest_of(data)
    data[place] = checkpoint.UNSIGNED.encode()
    return signed(bytes(data))


def message(path):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_what_is_written_is_read(written):
    expected, found = tiny(), checkpoint.read(written)
    assert found.network.specification == expected.network.specification
    assert found.classes == ("cat", "dög")
    assert found.progress == expected.progress
    assert found.normalization.unit == 255
    assert found.normalization.mean.tolist() == [0.25, 0.5]
    assert np.array_equal(found.network.parameters.values, expected.network.parameters.values)
    assert {name: t.shape for name, t in found.tensors.items()} == {
        "0_conv.weight": (2, 2, 3, 3), "0_conv.bias": (2,), "2_dense.weight": (2, 2), "2_dense.bias": (2,),
    }  # fmt: skip


def test_running_averages_are_part_of_it(tmp_path):
    text = TINY.replace("flatten", "batch_norm, flatten")
    wanted, path = tiny(text), tmp_path / "tiny.safetensors"
    wanted.network.parameters.state[:] = np.arange(wanted.network.parameters.state.size) + 1
    tensors = networks.saved(wanted.network.parameters)
    assert {name for name in tensors if "running" in name} == {"1_batch_norm.running_mean", "1_batch_norm.running_var"}
    checkpoint.write(path, wanted)
    found = networks.saved(checkpoint.read(path).network.parameters)
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    data = path.read_bytes()
    for name in ("1_batch_norm.running_mean", "1_batch_norm.running_var"):
        path.write_bytes(changed(data, lambda about, header, name=name: header.update(other=header.pop(name))))
        assert message(path) == f"{path}: is of another network: it has no {name}"


def test_two_writes_of_one_state_are_the_same_bytes(tmp_path, written):
    checkpoint.write(tmp_path / "again.safetensors", tiny())
    assert written.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_what_is_written_is_what_the_library_writes(tmp_path):
    text = TINY.replace("flatten", "batch_norm, flatten")
    slots = {"mean": np.arange(tiny(text).network.parameters.values.size, dtype=np.float32)}
    written = tiny(text)
    checkpoint.write(tmp_path / "a.safetensors", written, slots)
    wanted = networks.saved(written.network.parameters)
    wanted |= {f"mean/{name}": of for name, of in networks.saved(written.network.parameters, slots["mean"]).items()}
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    length = int.from_bytes((tmp_path / "a.safetensors").read_bytes()[:8], "little")
    assert length % 8 == 0  # as the format wants it for those who map files


def test_writing_takes_the_memory_of_a_tensor_and_not_of_all(tmp_path):
    layers = ", ".join(["dense: 300"] * 20)
    large = tiny(f"name: deep\ninput: {{channels: 2, size: [3, 3]}}\nlayers: [flatten, {layers}]\n")
    tracemalloc.start()
    try:
        checkpoint.write(tmp_path / "deep.safetensors", large, {"mean": large.network.parameters.values})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    of_file = (tmp_path / "deep.safetensors").stat().st_size
    assert of_file > 40 * 300 * 299 * 4 * 0.9
    assert peak < of_file / 8


def test_every_truncation_is_one_line(written):
    data = written.read_bytes()
    for length in range(len(data)):
        written.write_bytes(data[:length])
        message(written)


def test_every_flipped_byte_is_found(written):
    data = written.read_bytes()
    for i in range(len(data)):
        written.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        message(written)
    written.write_bytes(data)
    checkpoint.read(written)


def test_every_flipped_byte_of_a_header_with_a_right_digest_is_read_or_one_line(written):
    data = written.read_bytes()
    place = digest_of(data)
    for i in range(8 + int.from_bytes(data[:8], "little")):
        for flip in (0x01, 0x15, 0xFF):
            changed = data[:i] + bytes([data[i] ^ flip]) + data[i + 1 :]
            written.write_bytes(changed if place.start <= i < place.stop else signed_again(changed, place))
            with contextlib.suppress(CheckpointError):  # anything else is a traceback to the user
                checkpoint.read(written)


def test_a_checkpoint_of_another_format_says_so(written):
    written.write_bytes(signed_again(written.read_bytes().replace(b"cnncli-2", b"cnncli-1")))
    assert "not a checkpoint of this version of cnncli" in message(written)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: t\ninput: {channels: 2, size: [3, 3]}\nlayers: [conv: {filters: 3, kernel: 3}, flatten, dense: 2]\n",
         "is of another network: 0_conv.weight is float32 2x2x3x3, not float32 3x2x3x3"),
        ("name: t\ninput: {channels: 2, size: [3, 3]}\nlayers: [flatten, dense: 2]\n",
         "is of another network: it has no 1_dense.weight"),
        ("name: t\ninput: {channels: 2, size: [3, 3]}\nlayers: [conv: {filters: 2, kernel: 3}, flatten, relu]\n",
         "is of another network: this one has no 2_dense.bias"),
    ],
)  # fmt: skip
def test_tensors_of_another_network(written, text, expected):
    written.write_bytes(changed(written.read_bytes(), lambda about, header: about.update(specification=text)))
    assert message(written) == f"{written}: {expected}"


@pytest.mark.parametrize(
    "damage",
    [
        ("step", "stop"),
        ('"step": 3', '"step": -3'),
        ('"metrics": 17', '"metrics": -1'),
        ('"shuffle": true', '"shuffle": null'),
        ('"threads": null', '"threads": "x"'),
        ('"threads": null', '"threads": true'),
        ('"threads": null', '"threads": -3'),
        ('"threads": null', '"threads": 0'),
        ('"deviation": [1.0, ', '"deviation": [1e-320, '),
        ('{"classes": "0f"}', '["classes", "0f"]'),
        ("mine.npz", "mine\\u0000zz"),
    ],
)
def test_progress_that_makes_no_sense(tmp_path, written, damage):
    old, new = (text.replace('"', '\\"').encode() for text in damage)
    data = written.read_bytes()
    assert old in data
    changed = data.replace(old, new, 1)
    length = int.from_bytes(data[:8], "little") + len(changed) - len(data)
    written.write_bytes(signed_again(length.to_bytes(8, "little") + changed[8:]))
    if damage[0] != "mine.npz":  # a name is only a name
        assert "damaged, or not a checkpoint" in message(written)


def test_other_files(tmp_path):
    assert "No such file" in message(tmp_path / "missing.safetensors")
    assert "not a regular file" in message(tmp_path)
    other = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, other)
    assert "not a checkpoint of this version of cnncli" in message(other)
    other.write_bytes(b"")
    assert "damaged" in message(other)
