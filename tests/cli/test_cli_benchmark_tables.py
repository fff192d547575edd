"""The tables and the picture of results that are known: which numbers stand where."""

import pytest

from cnncli.cli import benchmark_tables as tables
from cnncli.pictures.benchmark import draw

MACHINE = {
    "processor": "A Processor",
    "threads": 1,
    "vector_bits": 512,
    "peak_gflops": 1234.4,
    "bandwidth_gbs": 20.25,
    "bandwidth_bytes": 192 << 20,
}
START = {"start_seconds": 0.5, "first_step_seconds": 1.25, "peak_rss_mib": 200}


def compared(ms, ratio):
    return {"mode": "compiled", "ms": ms, "ratio": ratio, "spread": [ratio - 0.25, ratio + 0.25]}


def network(threads, train_ms, peers, layers=None):
    """A result of `cnncli benchmark`, as --json prints it."""
    spread = {name: [1.0, 3.0] for name in ("train_ms", "infer_ms", "latency_us")}
    times = {"train_ms": train_ms, "infer_ms": 2.0, "latency_us": 7.5, "spread": spread}
    images = {"train_images_s": 64_000 / train_ms, "infer_images_s": 32_000.0}
    known = {"net": "lenet", "batch": 64, "threads": threads, "compile_seconds": 0.75, "rounds": 7}
    return {**known, **times, **images, **START, "machine": MACHINE, "peers": peers, "layers": layers}


MODES = {"eager": START, "compiled": START | {"first_step_seconds": None}}
TORCH = {"name": "torch", "version": "2.0", "modes": MODES, "train": compared(12.0, 3.0), "infer": None}
TORCH["latency"] = compared(0.15, 20.0)
PART = {"ms": 0.5, "spread": [0.4, 0.6], "gflops": 100.0, "of_peak": 0.081}
LAYER = {"layer": "0_conv", "output": "6x28x28", "bytes": 2_500_000, "operations": 50_000_000, "least_ms": 0.0405}
LAYERS = [LAYER | {"forward": PART, "bias_gradient": {"ms": 0.25}}, LAYER | {"layer": "1_relu", "forward": {"ms": 0.1}}]


def row(text, begins):
    """The first line that begins so, its cells one space apart."""
    return " ".join(next(line for line in text.splitlines() if line.startswith(begins)).split())


def test_networks(capsys):
    tables.print_networks([network(1, 4.0, [TORCH], LAYERS), network(2, 2.5, [])])
    text = capsys.readouterr().out
    assert text.startswith("lenet, batch 64\nA Processor, 1 thread: peak 1,234 GFLOP/s")
    one, two = (row(text, f"{' ' * 6}{threads}") for threads in (1, 2))
    assert one == "1 4 (1 - 3) 16,000 2 (1 - 3) 32,000 7.5 (1 - 3) 1.00 1.00"
    assert two == "2 2.5 (1 - 3) 25,600 2 (1 - 3) 32,000 7.5 (1 - 3) 1.60 1.00"
    assert row(text, "training step") == "training step torch 2.0 compiled 4 12 3.00 2.75 - 3.25"
    assert row(text, "latency") == "latency torch 2.0 compiled 0.0075 0.15 20.00 19.75 - 20.25"
    assert "inference " not in text
    starts = "imports 0.50 s, first training step after 1.25 s"
    assert f"2 threads: {starts}, of it 0.75 s to compile or load kernels; peak memory of training 200 MiB" in text
    assert f"torch eager: {starts}; peak memory" in text
    assert "torch compiled:" not in text  # it does not train
    assert row(text, "0_conv") == "0_conv 6x28x28 2.50 0.0405 0.5 100 8%"
    assert row(text, "1_relu") == "1_relu 6x28x28 2.50 0.0405 0.1"
    assert "bias gradients: 0.25 ms together" in text


def suite(peers):
    part = PART | {"peers": {name: {"ratio": 1.5} for name in peers}}
    row = {"name": "6x14>16 5 p0", "operations": 50_000_000, "bytes": 2_500_000, "least_ms": 0.04, "forward": part}
    found = {"geometric_mean": 1.5, "minimum": 1.25, "at": "6x14>16 5 p0"}
    result = {"suite": "lenet", "batch": 2, "threads": 1, "rounds": 7, "machine": MACHINE, "peers": peers}
    return result | {"convolutions": [row], "summary": {name: {"forward": found, "all": found} for name in peers}}


def test_suites(capsys):
    tables.print_suites([suite({"torch": "2.0"})])
    text = capsys.readouterr().out
    assert "torch: torch 2.0's time over ours" in text
    assert row(text, "6x14>16") == "6x14>16 5 p0 50 2.5 0.04 0.5 100 8% 1.50"
    for part in ("forward", "all"):
        assert f"torch, {part}: geometric mean 1.50, minimum 1.25 (6x14>16 5 p0)" in text


def algorithms():
    rows = [
        {"algorithm": "direct", "stored_floats": 2, "operations": 267_960, "ms": 0.125, "spread": [0.1, 0.2]},
        {"algorithm": "dense matrix", "stored_floats": 8_000_000_000, "operations": 16_006_054_680, "ms": None},
    ]
    found = {"name": "edges", "input": "1x280x320", "output": "1x280x319", "batch": 1, "algorithms": rows}
    return {"threads": 2, "rounds": 7, "convolutions": [found]}


def test_algorithms(capsys):
    tables.print_algorithms([algorithms()])
    text = capsys.readouterr().out
    assert text.startswith("2 threads, 7 rounds\n\nedges: 1x280x320 -> 1x280x319, batch 1\n")
    assert row(text, "direct") == "direct 2 267,960 0.125 0.1 - 0.2"
    assert row(text, "dense matrix") == "dense matrix 8,000,000,000 16,006,054,680"


@pytest.mark.parametrize(
    "results",
    [
        [network(1, 4.0, [TORCH])],
        [network(1, 4.0, []), network(2, 2.5, [])],
        [suite({"torch": "2.0", "jax": "0.5"})],
        [suite({})],
        [algorithms()],
    ],
    ids=["against torch", "threads", "suite against two", "suite", "algorithms"],
)
def test_pictures(tmp_path, results):
    draw(results, tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
