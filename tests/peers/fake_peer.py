"""A peer that computes nothing: a worker as `cnncli.benchmark.peers` starts them, with what may go wrong."""

import sys
import time

sys.path.insert(0, sys.argv[2])
from serving import PARTS, first_training, serve

SLEEP_S = {"quick": 0.0, "slow": 0.02}[sys.argv[1]]


def work():
    time.sleep(SLEEP_S)


def network(request):
    print("what a library says")  # must not mix with the answers
    learned = sum(
        layer["output"][0] * (layer["input"][0] * (layer["kernel"][0] ** 2 if "kernel" in layer else 1) + 1)
        for layer in request["program"]["layers"]
        if layer["kind"] in ("conv", "dense")
    )
    known = first_training(work, time.perf_counter()) | {"parameters": learned}
    return dict.fromkeys(("train", "infer", "latency"), work), known


def convolution(request):
    return dict.fromkeys(PARTS, work), {"asked": request["layer"]}


def broken(request):
    raise ValueError("cannot do that")


def dies(request):
    sys.exit("out of everything")


serve("1.0", {"network": network, "convolution": convolution, "broken": broken, "dies": dies})
