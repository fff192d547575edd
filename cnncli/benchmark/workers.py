"""The side of the command: worker processes, started, asked and ended."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

from cnncli.benchmark.peers import PEERS, SCRIPTS
from cnncli.errors import CnncliError


class Worker:
    """A process that answers requests (`peers/serving.py`). `start_seconds` is until it had imported what it needs.

    `idle_seconds` is how long its processors worked while it was not asked to: what it took from the others.
    """

    def __init__(self, name: str, mode: str, command: list[str], environment: dict[str, str]):
        self.name, self.mode, started = name, mode, time.perf_counter()
        self.label = f"{name} {mode}".strip()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment
        )
        self.idle_seconds = 0.0
        try:
            self.version, self.tasks = self._answer()["version"], []
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - started

    def make(self, kind: str, **request) -> dict:
        """Prepare work, and what is known of it; `tasks` are then its names."""
        known = self._ask({"make": kind, **request})
        self.tasks = known.pop("tasks")
        return known

    def run(self, task: str, seconds: float) -> float:
        """Milliseconds of one round of a task."""
        answer = self._ask({"run": task, "seconds": seconds})
        self.idle_seconds += answer["idle"]
        return answer["ms"]

    def _ask(self, request: dict) -> dict:
        with contextlib.suppress(BrokenPipeError):  # it has ended: the answer says how
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise CnncliError(f"{self.label}: its process ended with {code}: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise CnncliError(f"{self.label}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def ours(threads: int, cache: str | None = None) -> Worker:
    """cnncli itself. `cache` names another folder for the compiled kernels."""
    variables = environment(threads) | {"NUMBA_NUM_THREADS": str(threads)}
    if cache:
        variables["CNNCLI_CACHE"] = cache
    return Worker("cnncli", "", [sys.executable, "-m", "cnncli.benchmark.ours"], variables)


# glibc gives large blocks back to the system when they are freed, and each step pays to get them again: PyTorch's step
# of LeNet took 5.2 ms, of VGG-11 1,110; with these 3.6 and 825. It costs memory: VGG-11 3.1 GiB in place of 2.5.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}


def peer(name: str, mode: str, python: str, threads: int, keeps: bool = True) -> Worker:
    """A peer in one of its modes; `keeps` lets it hold on to freed memory, which makes it faster."""
    variables = environment(threads) | (KEEP_MEMORY if keeps else {})
    if python != sys.executable:
        variables.pop("PYTHONPATH", None)  # it is for this interpreter
    command = [python, str(SCRIPTS / PEERS[name].script), mode]
    return Worker(name, mode, command, variables)


def environment(threads: int) -> dict[str, str]:
    """The variables of a process that may use so many threads."""
    count = str(threads)
    return {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
