"""Summaries: what a network holds, costs and sees, against counts by hand and against what training allocates."""

import pytest

from cnncli import spec
from cnncli.kernels.optimizers import SLOTS
from cnncli.network import Network
from cnncli.pictures.summary import summarize
from cnncli.training.optimizers import Optimizer

LENET_PARAMETERS = {
    "0_conv": 5 * 5 * 1 * 6 + 6,
    "3_conv": 5 * 5 * 6 * 16 + 16,
    "7_dense": 400 * 120 + 120,
    "9_dense": 120 * 84 + 84,
    "11_dense": 84 * 10 + 10,
}
LENET_MULTIPLY_ADDS = {
    "0_conv": 28 * 28 * 5 * 5 * 1 * 6,  # at each of 28 x 28 pixels, 5 x 5 of 1 channel for each of 6 filters: 117,600
    "3_conv": 10 * 10 * 5 * 5 * 6 * 16,  # 240,000
    "7_dense": 400 * 120,  # 16 channels of 5 x 5
    "9_dense": 120 * 84,
    "11_dense": 84 * 10,
}
# a convolution of 5 adds 4 pixels times the distance of two neighbours, which each pooling by 2 doubles
LENET_FIELDS = {"0_conv": 5, "2_max_pool": 5 + 1, "3_conv": 6 + 4 * 2, "5_max_pool": 14 + 1 * 2, "6_flatten": 16}


def of(layers: str, size="[32, 32]", batch=1):
    end = "" if "flatten" in layers or "global" in layers else "  - flatten\n"  # a network ends in a flat output
    text = f"input: {{channels: 1, size: {size}}}\nlayers:\n{layers}{end}"
    return summarize(spec.parse(text, "test.yaml"), batch)


def fields(layers: str, size="[32, 32]"):
    return [row.field for row in of(layers, size).rows if row.kind != "flatten"]


def test_lenet_parameters():
    found = summarize(spec.read("lenet"))
    assert {row.path: row.parameters for row in found.rows if row.parameters} == LENET_PARAMETERS
    assert found.parameters == sum(LENET_PARAMETERS.values()) == 61_706


def test_lenet_multiply_adds():
    found = summarize(spec.read("lenet"))
    assert {row.path: row.multiply_adds for row in found.rows if row.multiply_adds} == LENET_MULTIPLY_ADDS
    assert found.multiply_adds == sum(LENET_MULTIPLY_ADDS.values()) == 416_520


def test_depthwise_multiply_adds():
    rows = of("  - depthwise_conv: {kernel: 3, padding: same, multiplier: 2}\n  - global_avg_pool\n  - dense: 3\n").rows
    assert [row.multiply_adds for row in rows[:2]] == [32 * 32 * 9 * 2, 0]
    assert [row.parameters for row in rows[:2]] == [2 * 9 + 2, 0]
    assert rows[1].field == (32 + 2, 32 + 2)


def test_unshared_and_tiled_convolution():
    layers = "  - local_conv: {filters: 6, kernel: 5}\n  - tiled_conv: {filters: 4, tiles: 2, stride: 3}\n"
    local, tiled, _ = of(layers).rows
    assert (local.parameters, local.multiply_adds) == (28 * 28 * (25 + 1) * 6, 28 * 28 * 25 * 6)
    assert (tiled.parameters, tiled.multiply_adds) == (4 * (54 + 1) * 4, 9 * 9 * 54 * 4)
    assert (local.field, tiled.field, tiled.stride) == ((5, 5), (7, 7), (3, 3))


def test_transposed_convolution():
    layer = "transposed_conv: {filters: 6, kernel: 5, stride: 2, padding: same}"
    first, second, third, _ = of(f"  - {layer}\n  - conv: {{filters: 4}}\n  - {layer}\n").rows
    assert (str(first.output), first.parameters, first.multiply_adds) == ("6x64x64", 25 * 6 + 6, 32 * 32 * 25 * 6)
    assert (first.window, first.stride) == ((3, 3), (0.5, 0.5))  # an output lies in 2 or 3 of the windows of 5
    assert [row.field for row in (first, second, third)] == [(3, 3), (4, 4), (5, 5)]


def test_lenet_receptive_fields():
    found = {row.path: row.field for row in summarize(spec.read("lenet")).rows}
    assert {path: found[path] for path in LENET_FIELDS} == {path: (n, n) for path, n in LENET_FIELDS.items()}
    assert found["7_dense"] == found["11_dense"] == (28, 28)  # behind a dense layer the whole input


def test_lenet_shapes_and_windows():
    rows = {row.path: row for row in summarize(spec.read("lenet")).rows}
    assert [str(rows[path].output) for path in ("0_conv", "5_max_pool", "11_dense")] == ["6x28x28", "16x5x5", "10"]
    assert (rows["5_max_pool"].window, rows["5_max_pool"].stride) == ((2, 2), (2, 2))
    assert (rows["1_relu"].window, rows["7_dense"].stride) == (None, None)


def test_field_of_strides_and_dilation():
    assert fields("  - conv: {filters: 1, kernel: 3, stride: 2}\n  - conv: {filters: 1, kernel: 3}\n") == [
        (3, 3),
        (3 + 2 * 2, 3 + 2 * 2),
    ]
    assert fields("  - conv: {filters: 1, kernel: 3, dilation: 4}\n") == [(9, 9)]


def test_field_behind_an_enlarged_image():
    rows = of("  - upsample: {mode: linear}\n  - conv: {filters: 1, kernel: 3}\n  - pad: 1\n  - upsample: 3\n").rows
    assert [(row.window, row.stride) for row in (rows[0], rows[3])] == [((2, 2), (0.5, 0.5)), ((1, 1), (1 / 3, 1 / 3))]
    assert [row.field for row in rows[:4]] == [(2, 2), (3, 3), (3, 3), (3, 3)]


def test_field_has_the_axes_of_the_input():
    assert fields("  - conv: {filters: 1, kernel: [3, 5]}\n") == [(3, 5)]
    assert fields("  - conv: {filters: 1, kernel: 7}\n  - flatten\n", "[32]") == [(7,)]
    assert fields("  - max_pool: 2\n  - max_pool: 2\n", "[8, 8, 8]") == [(2, 2, 2), (4, 4, 4)]


@pytest.mark.parametrize("name", [name for name, _ in spec.models()])
def test_memory_is_what_training_allocates(name):
    specification = spec.read(name)
    batch_size = 3
    found = summarize(specification, batch_size)
    network = Network(specification)
    arrays = network.plan(batch_size, training=True).arrays
    assert found.activation_memory == sum({a.ctypes.data: a.nbytes for a in arrays}.values())
    frozen = sum(node.learned for node in spec.nodes(specification) if getattr(node.layer, "freeze", False))
    assert found.parameters == network.parameters.count + frozen
    slots = Optimizer(specification.train.optimizer, network.parameters, network.arena).slots
    assert found.weight_memory == 4 * (2 + len(slots)) * sum(p.size for p in network.parameters.declared.values())


def test_every_optimizer_has_its_slots():
    assert set(SLOTS) == set(spec.OPTIMIZERS)


def test_batch_size_is_the_models_unless_given():
    assert summarize(spec.read("lenet")).batch_size == 64
    assert summarize(spec.read("lenet"), 128).activation_memory == 2 * summarize(spec.read("lenet")).activation_memory


def test_network_that_fits_no_memory():
    found = of("  - flatten\n  - dense: 65536\n  - dense: 65536\n", "[256, 256]", batch=10**6)
    assert found.parameters == 2 * (65536 * 65536 + 65536)
    assert found.weight_memory == 4 * 3 * found.parameters
