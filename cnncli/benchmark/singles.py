"""Measurements of single convolutions: a suite of them, and one by several algorithms."""

from cnncli.benchmark import algorithms, convolutions, programs, rounds
from cnncli.benchmark.measuring import PEAK, Options, contestants, gflops, least_ms, machine, speed
from cnncli.benchmark.peers.serving import PARTS
from cnncli.benchmark.suites import Item


def suite(name: str, items: list[Item], threads: int, options: Options) -> dict:
    """Single convolutions, each part of them."""
    limits, rows = machine(options, threads), []
    share = options.seconds / options.rounds / len(PARTS)
    with contestants(options, threads) as found:
        for item in items:
            known = [worker.make("convolution", **_item_request(worker, item, threads)) for worker in found]
            tasks = [part for part in PARTS if not (item.first and part == "data gradient")]

            def tell(text, item=item):
                options.tell(f"{item.name}, {text}")

            times = rounds.alternate(found, [*tasks, PEAK], options.rounds, share, tell)
            peaks = gflops(known[0]["peak_operations"], times["cnncli"][PEAK])
            rows.append(_item_row(item, tasks, times, found, limits, peaks, options))
        versions = {peer: next(w.version for w in found[1:] if w.name == peer) for peer in options.peers}
    return {
        "suite": name,
        "batch": items[0].batch,
        "threads": threads,
        "rounds": options.rounds,
        "machine": limits,
        "peers": versions,
        "convolutions": rows,
        "summary": {peer: rounds.summary(rows, peer) for peer in options.peers},
    }


def _item_request(worker, item, threads):
    if worker.label == "cnncli":
        return {"threads": threads, "batch": item.batch, "item": item.name}
    layer = programs.described(item.layer, item.shape, item.output) | {"groups": item.groups}
    return {"threads": threads, "batch": item.batch, "layer": layer}


def _item_row(item, tasks, times, found, limits, peaks, options) -> dict:
    row = {
        "name": item.name,
        "operations": convolutions.operations(item.layer, item.shape, item.batch),
        "bytes": convolutions.moved(item.layer, (item.shape, item.output), item.batch),
    }
    row["least_ms"] = least_ms(row, limits)
    for part in tasks:
        key = part.replace(" ", "_")
        row[key] = speed(times["cnncli"][part], row, part, peaks)
        for peer in options.peers:
            modes = [worker for worker in found[1:] if worker.name == peer]
            row[key].setdefault("peers", {})[peer] = rounds.compared(times, modes, part)
    return row


def by_algorithm(item: Item, threads: int, options: Options) -> dict:
    """The textbook's example and `item` by every algorithm: stored floats, operations and, where it was built, time."""
    found, items = [], (algorithms.edges(), item)
    with contestants(options, threads) as (worker, *_):
        for item in items:
            worker.make("algorithms", threads=threads, batch=item.batch, item=item.name)
            share = options.seconds / options.rounds / len(worker.tasks)
            times = rounds.alternate([worker], worker.tasks, options.rounds, share, options.tell)["cnncli"]
            rows = [
                {"algorithm": name, "stored_floats": stored, "operations": operations, **rounds.timing(times.get(name))}
                for name, (stored, operations) in algorithms.counts(item).items()
            ]
            shapes = {"input": str(item.shape), "output": str(item.output)}
            found.append({"name": item.name, **shapes, "batch": item.batch, "algorithms": rows})
    return {"threads": threads, "rounds": options.rounds, "convolutions": found}
