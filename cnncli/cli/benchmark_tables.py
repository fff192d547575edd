"""The tables of `cnncli benchmark`."""

import click

from cnncli.cli import options

PARTS = {"forward": "forward", "data_gradient": "data gradient", "weight_gradient": "weight gradient"}
SPEEDS = "GFLOP/s: operations of direct convolution in the time; peak: their share of the machine's peak"
LEAST = (
    "least ms: the longer of the operations at the peak and of the MB (input, output, weights, once) at the bandwidth"
)


ALGORITHMS = """
stored floats: the weights, the windows that im2col makes of the input, the entries of a matrix (a sparse one holds as
many column numbers besides). operations: multiplications, and one addition fewer for each output. A matrix without a
time is too large to be built. Edge detection: Goodfellow, Bengio and Courville 2016, figure 9.6."""


def print_machine(limits: dict) -> None:
    """What the machine can do."""
    bits, size = limits["vector_bits"], limits["bandwidth_bytes"] / 2**20
    options.say(
        f"{limits['processor']}, {_threads(limits['threads'])}: peak {limits['peak_gflops']:,.0f} GFLOP/s "
        f"(float32 multiply-adds in {bits}-bit registers), memory {limits['bandwidth_gbs']:.1f} GB/s "
        f"(a = b + s*c over {size:,.0f} MiB, 12 bytes an element counted)"
    )


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def print_networks(results: list[dict]) -> None:
    """A row for each number of threads; then the peers, the layers."""
    first = results[0]
    options.say(f"{first['net']}, batch {first['batch']}")
    for result in results:
        print_machine(result["machine"])
    click.echo()
    heads = ["threads", "train ms", "images/s", "infer ms", "images/s", "latency us"]
    rows = [_network_row(result) for result in results]
    if len(results) > 1:
        heads += ["train speed-up", "infer speed-up"]
        for row, result in zip(rows, results, strict=True):
            row += [f"{first[name] / result[name]:.2f}" for name in ("train_ms", "infer_ms")]
    options.print_table(heads, rows, right=range(len(heads)))
    for result in results:
        click.echo(f"{_threads(result['threads'])}: {_start(result)}")
    for result in results:
        _print_peers(result)
        if result["layers"]:
            _print_layers(result)


def _network_row(result):
    names = ("train_ms", "infer_ms", "latency_us")
    train, infer, latency = (f"{result[n]:,.4g} ({_spread(result['spread'][n])})" for n in names)
    images = (f"{result[name]:,.0f}" for name in ("train_images_s", "infer_images_s"))
    return [result["threads"], train, next(images), infer, next(images), latency]


def _spread(pair, digits=".4g"):
    return f"{pair[0]:{digits}} - {pair[1]:{digits}}"


def _start(result):
    first = f"first training step after {result['first_step_seconds']:.2f} s"
    if "compile_seconds" in result:
        first += f", of it {result['compile_seconds']:.2f} s to compile or load kernels"
    return f"imports {result['start_seconds']:.2f} s, {first}; peak memory of training {result['peak_rss_mib']} MiB"


def _print_peers(result):
    rows = []
    for peer in result["peers"]:
        for task, name in (("train", "training step"), ("infer", "inference"), ("latency", "latency")):
            if found := peer[task]:
                ours = result["latency_us"] / 1e3 if task == "latency" else result[f"{task}_ms"]
                label = f"{peer['name']} {peer['version']} {found['mode']}"
                rows.append([name, label, f"{ours:.4g}", f"{found['ms']:.4g}", f"{found['ratio']:.2f}",
                             _spread(found["spread"], ".2f")])  # fmt: skip
    if rows:
        click.echo(f"\n{_threads(result['threads'])}, {result['rounds']} rounds; ratio: their time over ours, by pairs")
        options.print_table(["", "against", "our ms", "their ms", "ratio", "quartiles"], rows, right=(2, 3, 4, 5))
        for peer in result["peers"]:
            for mode, known in peer["modes"].items():
                if known["first_step_seconds"] is not None:
                    options.say(f"{peer['name']} {mode}: {_start(known)}")


def _print_layers(result):
    click.echo(f"\nlayers, {_threads(result['threads'])}. {SPEEDS}.\n{LEAST}.")
    heads, rows = ["layer", "output", "MB", "least ms"], []
    for part in PARTS.values():
        heads += [f"{part} ms", "GFLOP/s", "peak"]
    for row in result["layers"]:
        cells = [row["layer"], row["output"], f"{row['bytes'] / 1e6:.2f}", f"{row['least_ms']:.3g}"]
        for part in PARTS:
            cells += _speed(row.get(part))
        rows.append(cells)
    others = sum(row["bias_gradient"]["ms"] for row in result["layers"] if "bias_gradient" in row)
    options.print_table(heads, rows, right=range(2, len(heads)))
    click.echo(f"bias gradients: {others:.3g} ms together")


def _speed(part):
    if part is None:
        return ["", "", ""]
    speed = [f"{part['gflops']:,.0f}", f"{part['of_peak']:.0%}"] if "gflops" in part else ["", ""]
    return [f"{part['ms']:.3g}", *speed]


def print_suites(results: list[dict]) -> None:
    """A row for each convolution, and the ratios' mean and minimum."""
    for result in results:
        options.say(f"{result['suite']}, batch {result['batch']}, {result['rounds']} rounds")
        print_machine(result["machine"])
        peers = "".join(f"; {name}: {name} {version}'s time over ours" for name, version in result["peers"].items())
        options.say(f"{SPEEDS}{peers}.")
        click.echo(f"{LEAST}.\nOf a first layer nobody needs the data gradient.\n")
        heads, rows = ["convolution", "MFLOP", "MB", "least ms"], []
        for part in PARTS.values():
            heads += [f"{part} ms", "GFLOP/s", "peak", *result["peers"]]
        for row in result["convolutions"]:
            cells = [
                row["name"],
                f"{row['operations'] / 1e6:,.0f}",
                f"{row['bytes'] / 1e6:.1f}",
                f"{row['least_ms']:.3g}",
            ]
            for part in PARTS:
                cells += _speed(row.get(part)) + _ratios(row.get(part), result["peers"])
            rows.append(cells)
        options.print_table(heads, rows, right=range(1, len(heads)))
        for peer, parts in result["summary"].items():
            for part, found in parts.items():
                options.say(
                    f"{peer}, {PARTS.get(part, part)}: geometric mean {found['geometric_mean']:.2f}, "
                    f"minimum {found['minimum']:.2f} ({found['at']})"
                )


def _ratios(part, peers):
    return [f"{part['peers'][peer]['ratio']:.2f}" if part else "" for peer in peers]


def print_algorithms(results: list[dict]) -> None:
    """The textbook's example, then the convolution that was asked for."""
    for result in results:
        click.echo(f"{_threads(result['threads'])}, {result['rounds']} rounds")
        for found in result["convolutions"]:
            click.echo()
            options.say(f"{found['name']}: {found['input']} -> {found['output']}, batch {found['batch']}")
            rows = [
                [row["algorithm"], f"{row['stored_floats']:,}", f"{row['operations']:,}", *_time(row)]
                for row in found["algorithms"]
            ]
            heads = ["", "stored floats", "operations", "ms", "quartiles"]
            options.print_table(heads, rows, right=(1, 2, 3, 4))
    click.echo(ALGORITHMS)


def _time(row):
    return ["", ""] if row["ms"] is None else [f"{row['ms']:.4g}", _spread(row["spread"])]
