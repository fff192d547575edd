"""cnncli as a contestant: the worker process `python -m cnncli.benchmark.ours`."""

from cnncli import __version__, kernels, spec
from cnncli.benchmark import algorithms, convolutions, layers, machine, networks, suites
from cnncli.benchmark.measuring import PEAK
from cnncli.benchmark.peers.serving import serve


def network(request):
    kernels.set_threads(request["threads"])
    specification = spec.parse(request["source"], request["name"])
    tasks, known, plan = networks.tasks(specification, request["batch"])
    if request["layers"]:
        known["layers"] = layers.rows(plan)
        return with_peak(tasks | layers.tasks(plan), known)
    return tasks, known


def with_peak(tasks, known):
    """Also the loop of multiply-adds: a shared machine's peak changes from one minute to the next."""
    call, operations = machine.multiply_adds()
    return {**tasks, PEAK: call}, {**known, "peak_operations": operations}


def convolution(request):
    kernels.set_threads(request["threads"])
    item = suites.parse(request["item"], request["batch"])
    return with_peak(convolutions.bound(item.layer, item.shape, item.batch).tasks, {})


def by_algorithm(request):
    kernels.set_threads(request["threads"])
    edges = algorithms.edges()
    item = edges if request["item"] == edges.name else suites.parse(request["item"], request["batch"])
    return algorithms.tasks(item)[0], {}


def limits(request):
    kernels.set_threads(request["threads"])
    return {}, machine.measure()


if __name__ == "__main__":
    serve(__version__, {"network": network, "convolution": convolution, "algorithms": by_algorithm, "machine": limits})
