"""Measurements: contestants are started, take turns, and their times become a result, as `--json` prints it."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cnncli import spec
from cnncli.benchmark import programs, rounds, workers
from cnncli.benchmark.layers import SEPARATOR
from cnncli.benchmark.networks import LEARNING_RATE
from cnncli.benchmark.peers import PEERS
from cnncli.benchmark.peers.serving import PARTS
from cnncli.benchmark.rounds import short
from cnncli.benchmark.workers import Worker
from cnncli.errors import CnncliError

TASKS = ("train", "infer", "latency")
PEAK = "peak"  # the task of multiply-adds in registers, beside single layers
LAYER_S = 0.02  # a round of one part of a layer, where --seconds gives a network no less


@dataclass(frozen=True)
class Options:
    """`peers` maps names to interpreters, `seconds` are for each contestant, `tell` hears of what is being measured."""

    rounds: int
    seconds: float
    peers: dict[str, str] = field(default_factory=dict)
    cold: bool = False
    tell: Callable[[str], None] = lambda text: None


@contextlib.contextmanager
def contestants(options: Options, threads: int) -> Iterator[list[Worker]]:
    """cnncli, then each mode of each peer."""
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="cnncli-cold-")) if options.cold else None
        options.tell("starting")
        found = [stack.enter_context(workers.ours(threads, cache))]
        for name, python in options.peers.items():
            for mode in PEERS[name].modes:
                found.append(stack.enter_context(workers.peer(name, mode, python, threads)))
        yield found


def machine(options: Options, threads: int) -> dict:
    """The machine's limits, measured in a process of its own: its arrays are large."""
    options.tell("the machine's peak and bandwidth")
    with workers.ours(threads) as worker:
        found = worker.make("machine", threads=threads)
    digits = {"peak_gflops": 1, "bandwidth_gbs": 1}
    return {name: round(value, digits[name]) if name in digits else value for name, value in found.items()}


def network(specification: "spec.Specification", batch: int, threads: int, by_layer: bool, options: Options) -> dict:
    """One network, trained and run with one number of threads."""
    limits = machine(options, threads)
    starts = _starts(specification, batch, threads, options)
    with contestants(options, threads) as found:
        known = {}
        for worker in found:
            options.tell(f"first step, {worker.label}")
            known[worker.label] = worker.make("network", **_request(worker, specification, batch, threads, by_layer))
        _same_size(known)
        starts["cnncli"] = _start(found[0], known["cnncli"])
        share = options.seconds / options.rounds / len(TASKS)
        times = rounds.alternate(found, TASKS, options.rounds, share, options.tell)
        result = {
            "net": specification.name,
            "batch": batch,
            "threads": threads,
            **_speeds(times["cnncli"], batch),
            **starts["cnncli"],
            "idle_cpu_seconds": round(found[0].idle_seconds, 3),
            "compile_seconds": round(known["cnncli"]["compile_seconds"], 3),
            "rounds": options.rounds,
            "machine": limits,
            "peers": [_peer(name, found, starts, times, batch) for name in options.peers],
            "layers": _layers(found[0], known["cnncli"], limits, options) if by_layer else None,
        }
    return result


def _request(worker, specification, batch, threads, by_layer):
    common = {"batch": batch, "threads": threads}
    if worker.label == "cnncli":
        return {**common, "source": specification.source, "name": specification.name, "layers": by_layer}
    return {**common, "program": programs.program(specification), "lr": LEARNING_RATE}


def _same_size(known):
    """Raises CnncliError where a peer has built another network."""
    for label, theirs in known.items():
        if theirs["parameters"] != known["cnncli"]["parameters"]:
            counts = f"{theirs['parameters']} parameters, cnncli's has {known['cnncli']['parameters']}"
            raise CnncliError(f"{label}: its network has {counts}")


def _speeds(times: dict[str, list[float]], batch: int) -> dict:
    """Milliseconds, images a second and spread of the tasks that were run."""
    found, spread = {}, {}
    for task in times:
        stats = rounds.middle(times[task])
        name, scale = ("latency_us", 1e3) if task == "latency" else (f"{task}_ms", 1.0)
        found[name] = short(stats["median"] * scale)
        spread[name] = [short(stats["q1"] * scale), short(stats["q3"] * scale)]
        if task != "latency":
            found[f"{task}_images_s"] = round(batch / stats["median"] * 1e3, 1)
    return {**found, "spread": spread}


def _starts(specification, batch, threads, options) -> dict[str, dict]:
    """How each peer starts and what memory it takes, as its users run it: before those that keep freed memory."""
    found = {}
    for name, python in options.peers.items():
        for mode in PEERS[name].modes:
            with workers.peer(name, mode, python, threads, keeps=False) as worker:
                options.tell(f"first step, {worker.label}")
                known = worker.make("network", **_request(worker, specification, batch, threads, False))
                found[worker.label] = _start(worker, known)
    return found


def _start(worker: Worker, known: dict) -> dict:
    """What is None is of training, which the worker does not do."""
    first, peak = known.get("first_step_seconds"), known.get("peak_rss_mib")
    return {
        "start_seconds": round(worker.start_seconds, 3),
        "first_step_seconds": first and round(first, 3),
        "peak_rss_mib": peak and round(peak),
    }


def _peer(name, found, starts, times, batch) -> dict:
    """A peer's modes, and for each task the best of them beside cnncli."""
    modes = [worker for worker in found[1:] if worker.name == name]
    return {
        "name": name,
        "version": modes[0].version,
        "modes": {
            worker.mode: _speeds(times[worker.label], batch)
            | starts[worker.label]
            | {"idle_cpu_seconds": round(worker.idle_seconds, 3)}
            for worker in modes
        },
        **{task: rounds.compared(times, modes, task) for task in TASKS},
    }


def _layers(worker, known, limits, options) -> list[dict]:
    share = min(LAYER_S, options.seconds / options.rounds)
    tasks = [task for task in worker.tasks if SEPARATOR in task]
    times = rounds.alternate([worker], [*tasks, PEAK], options.rounds, share, options.tell)["cnncli"]
    peaks = gflops(known["peak_operations"], times[PEAK])
    rows = []
    for row in known["layers"]:
        parts = {task.partition(SEPARATOR)[2]: task for task in tasks if task.partition(SEPARATOR)[0] == row["layer"]}
        if parts:
            rows.append({**row, "least_ms": least_ms(row, limits)})
            for part, task in parts.items():
                rows[-1][part.replace(" ", "_")] = speed(times[task], row, part, peaks)
    return rows


def speed(times: list[float], row: dict, part: str, peaks: list[float]) -> dict:
    """Milliseconds of a part and, where it has the layer's operations, GFLOP/s and the share of the peak.

    The share is the median over the rounds, each compared with the peak of the same round.
    """
    found = rounds.timing(times)
    if row["operations"] and part in PARTS:
        shares = [ours / peak for ours, peak in zip(gflops(row["operations"], times), peaks, strict=True)]
        found["gflops"] = round(row["operations"] / found["ms"] / 1e6, 1)
        found["of_peak"] = round(rounds.middle(shares)["median"], 3)
    return found


def gflops(operations: int, times: list[float]) -> list[float]:
    """GFLOP/s of each round, from milliseconds."""
    return [operations / ms / 1e6 for ms in times]


def least_ms(row: dict, limits: dict) -> float:
    """The milliseconds that the machine needs for the operations at its peak, or for the bytes at its bandwidth."""
    return short(max(row["operations"] / limits["peak_gflops"], row["bytes"] / limits["bandwidth_gbs"]) / 1e6)
