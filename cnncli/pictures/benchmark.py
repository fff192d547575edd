"""Benchmarks as bars: ratios to other libraries with a line where both are equally fast, else times or speeds."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")  # Okabe and Ito 2008: told apart by colour-blind readers too
PARTS = {"forward": "forward", "data_gradient": "data gradient", "weight_gradient": "weight gradient"}
TASKS = {"train": "training step", "infer": "inference", "latency": "latency of one image"}

Bars = dict[str, list[tuple[str, float]]]  # series -> (label, height) of each bar


def draw(results: list[dict], path: Path) -> None:
    """The results of `cnncli benchmark` as a PNG file."""
    first = results[0]
    if "suite" in first:
        title, bars, axis = _suites(results)
    elif "convolutions" in first:
        title, bars, axis = _algorithms(results)
    else:
        title, bars, axis = _networks(results)
    figure = _bars(title, bars, axis, equal=axis.endswith("cnncli"), log=axis == "ms")
    with path.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)


def _suites(results) -> tuple[str, Bars, str]:
    first, bars = results[0], {}
    for result in results:
        for key, part in PARTS.items():
            rows = [row for row in result["convolutions"] if key in row]
            for peer in result["peers"]:
                name = f"{part}, {peer}, {_threads(result['threads'])}"
                bars[name] = [(row["name"], row[key]["peers"][peer]["ratio"]) for row in rows]
            if rows and not result["peers"]:
                bars[f"{part}, {_threads(result['threads'])}"] = [(row["name"], row[key]["of_peak"]) for row in rows]
    title = f"{first['suite']}, batch {first['batch']}"
    return title, bars, _against(first["peers"]) if first["peers"] else "share of the machine's peak"


def _networks(results) -> tuple[str, Bars, str]:
    first = results[0]
    title, peers = f"{first['net']}, batch {first['batch']}", [peer["name"] for peer in first["peers"]]
    bars: Bars = {}
    for result in results:
        threads = _threads(result["threads"])
        for peer in result["peers"]:
            for task, name in TASKS.items():
                if peer[task]:
                    bars.setdefault(f"{peer['name']}, {threads}", []).append((name, peer[task]["ratio"]))
        if not peers:
            speeds = [("training", result["train_images_s"]), ("inference", result["infer_images_s"])]
            bars[threads] = speeds
    return title, bars, _against(peers) if peers else "images a second"


def _algorithms(results) -> tuple[str, Bars, str]:
    bars = {
        f"{found['name']}, {_threads(result['threads'])}": [
            (row["algorithm"], row["ms"] or 0) for row in found["algorithms"]
        ]
        for result in results
        for found in result["convolutions"]
    }
    return "one convolution by several algorithms", bars, "ms"


def _height(value: float) -> str:
    """What stands on a bar; nothing where there is none."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value else ""


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _against(peers) -> str:
    return f"{' or '.join(peers)} takes so many times as long as cnncli"


def _bars(title: str, bars: Bars, axis: str, equal: bool, log: bool) -> Figure:
    """Bars side by side, a group for each label. `equal` draws the line of 1."""
    labels = list(dict.fromkeys(label for series in bars.values() for label, _ in series))
    figure = Figure(figsize=(max(6.4, 0.16 * len(labels) * (len(bars) + 1) + 2), 4.8), layout="constrained")
    axes, width = figure.subplots(), 0.8 / len(bars)
    for i, (name, series) in enumerate(bars.items()):
        places = [labels.index(label) + (i - (len(bars) - 1) / 2) * width for label, _ in series]
        hatch = "//" if i >= len(COLOURS) else None
        drawn = axes.bar(
            places, [h for _, h in series], width, label=name, color=COLOURS[i % len(COLOURS)], hatch=hatch
        )
        if len(labels) * len(bars) <= 16:
            axes.bar_label(drawn, fmt=_height, fontsize=8)
    if equal:
        axes.axhline(1.0, color="black", linewidth=1, linestyle="--", label="equally fast")
    axes.set(title=title, ylabel=axis, yscale="log" if log else "linear")
    axes.set_xticks(
        range(len(labels)), labels, rotation=45 if len(labels) > 4 else 0, ha="right" if len(labels) > 4 else "center"
    )
    figure.legend(loc="outside lower center", ncols=4)
    return figure
