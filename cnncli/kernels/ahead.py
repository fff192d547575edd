"""Compiling ahead, in as many processes as help: kernels compile one after another, each on one core.

What will be needed is listed first (`native.listing`). Each process compiles calls of that list until none is left;
what it compiled lies in the cache, where the process that runs it finds it. No call is made twice.
"""

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait

from llvmlite import binding as llvm
from numba.core import event

from cnncli import kernels
from cnncli.errors import CnncliError
from cnncli.kernels.native import NAMES, listing
from cnncli.kernels.tile import load

# A process takes two seconds before it compiles its first kernel, the others half a second each.
LEAST = 5  # kernels for each process


def compile_calls(calls: list[tuple], report: Callable[[int, int], None] = lambda done, of: None) -> None:
    """Make the `calls` (function, arguments) that `native.listing` gave, each once, on every core.

    `report` is told how many are done, of how many. Raises CnncliError where a process fails, and where the cache
    cannot take what is compiled: it would be compiled again.
    """
    _check(_not_kept(test=True))
    calls = sorted(dict.fromkeys(calls), key=lambda call: call[0] is not load)  # the tile takes longest
    processes = min(kernels.most_threads(), len(calls) // LEAST)
    report(0, len(calls))
    if processes > 1:
        with event.trigger_event("numba:compile"):
            _share(calls, processes, report)
        return
    for done, (function, arguments) in enumerate(calls, 1):
        function(*arguments)
        _check(_not_kept())
        report(done, len(calls))


def _share(calls: list[tuple], processes: int, report) -> None:
    """Give every process a call, and another whenever it has made one."""
    left, done, busy, workers = iter(calls), 0, {}, []
    try:
        for _ in range(processes):
            pipe, worker = _start()
            workers.append(worker)
            busy[pipe] = next(left)
            pipe.send(busy[pipe])
        while busy:
            for pipe in wait(list(busy)):
                _check(_answer(pipe, busy[pipe]))
                done += 1
                report(done, len(calls))
                busy[pipe] = next(left, None)
                pipe.send(busy[pipe])
                if not busy[pipe]:
                    del busy[pipe]
    finally:
        for worker in workers:
            if busy:  # else they have been told that there is nothing left
                worker.terminate()
            worker.join()


def _start():
    """A process that makes calls, deaf to Ctrl-C from its first moment: the one that started it ends it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(theirs,), daemon=True)
    with _held():
        worker.start()
    theirs.close()
    return ours, worker


@contextmanager
def _held():
    """A process that is started inside never hears of Ctrl-C; this thread does at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts, with the first process, it lets Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check(problem: str | None) -> None:
    if problem:
        raise CnncliError(problem)


def _not_kept(test: bool = False) -> str | None:
    problem = kernels.cache_problem(test)
    return problem and f"compiled kernels cannot be kept: {problem}"


def _answer(pipe: Connection, call) -> str | None:
    try:
        return pipe.recv()
    except EOFError:
        return _failed(*call, "its process was ended")


def _failed(_, arguments, reason: str) -> str:
    name = " ".join(str(getattr(argument, "__qualname__", argument)) for argument in arguments)
    return f"a kernel could not be compiled: {name}: {reason}"


def _work(pipe: Connection) -> None:
    """Make calls until there is none, or nobody who asks: in a process of its own, whose kernels never run."""
    with suppress(EOFError, BrokenPipeError):
        while call := pipe.recv():
            for name in NAMES:  # of the modules that the call brought
                llvm.add_symbol(name, 1)
            pipe.send(_make(*call))


def _make(function, arguments) -> str | None:
    """Make a call alone, without those that it would make itself; returns what went wrong, in a line."""
    try:
        with listing():
            function.__wrapped__(*arguments)
    except Exception as error:
        return _failed(function, arguments, " ".join(f"{type(error).__name__}: {error}".split()))
    return _not_kept()
