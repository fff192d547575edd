"""The side of a worker process: requests are JSON lines on stdin, each is answered by a JSON line on stdout.

    {"make": KIND, ...}              prepare work of a kind; answers {"tasks": [NAME, ...], and what is known of it}
    {"run": NAME, "seconds": S}      one round of a task; answers {"ms": ..., "idle": CPU seconds burnt since the last}

An answer {"error": TEXT} stands for what went wrong. The end of stdin ends the process. Only the standard library is
needed: the interpreter of a peer need not have anything of cnncli.
"""

import json
import os
import signal
import statistics
import sys
import time

WARM_S = 0.005  # threads wake and caches fill: these calls do not count
CHUNK_S = 0.002  # calls are timed in chunks of this length: long for a clock, short for a scheduler
WAIT_S, MOST_WAITS = 0.005, 60
PARTS = ("forward", "data gradient", "weight gradient")


def milliseconds(call, seconds: float) -> float:
    """The median milliseconds of `call` over chunks of calls that together take about `seconds`.

    The first calls do not count, unless one took all of the time.
    """
    start = now = time.perf_counter()
    while now == start or now - start < min(WARM_S, seconds):
        before = now
        call()
        now = time.perf_counter()
    once, until, found = now - before, now + seconds, []
    if once >= seconds:
        return once * 1e3
    while not found or time.perf_counter() < until:
        inner = max(1, int(CHUNK_S / once))
        start = time.perf_counter()
        for _ in range(inner):
            call()
        once = (time.perf_counter() - start) / inner
        found.append(once)
    return statistics.median(found) * 1e3


def settle() -> None:
    """Wait until this process's threads sleep: some libraries let them spin for work, on cores that others now need."""
    for _ in range(MOST_WAITS):
        before = time.process_time()
        time.sleep(WAIT_S)
        if time.process_time() - before < WAIT_S / 10:
            return


def peak_mib() -> float:
    """The most memory that this process had resident. Linux: not what a parent had, which getrusage would count."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def first_training(step, started: float) -> dict:
    """Run a first training step, and three more; when the first was done, and the memory that training takes."""
    step()
    first = time.perf_counter() - started
    for _ in range(3):
        step()
    return {"first_step_seconds": first, "peak_rss_mib": peak_mib()}


def serve(version: str, makers: dict) -> None:
    """Answer requests until stdin ends. `makers`: KIND -> function(request) -> (task by name, what is known)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Control-C is for the parent, which then closes stdin
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    tasks, rest = {}, time.process_time()
    answers.write(json.dumps({"version": version}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "make" in request:
                tasks.clear()
                made, known = makers[request["make"]](request)
                tasks.update(made)
                for call in made.values():  # what compiles when it is first called does it now
                    call()
                answer = {"tasks": list(tasks), **known}
            else:
                idle = time.process_time() - rest
                answer = {"ms": milliseconds(tasks[request["run"]], request["seconds"]), "idle": idle}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        settle()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        rest = time.process_time()
