"""Let the N-th system call of a short run fail, for every N: its end is one line, and the run can be gone on with.

    python tests/robustness/failing_calls.py [--processes 2]

tries every N over open, write, fsync, rename, mkdir and truncate with ENOSPC, EIO and EACCES, each in a process of its
own, while a run begins and while it is resumed.
"""

import argparse
import builtins
import errno
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import small_runs

from cnncli.errors import StoppedError

CALLS = [(os, name) for name in ("open", "write", "pwrite", "fsync", "replace", "rename", "link", "mkdir", "ftruncate")]
CALLS += [(builtins, "open"), (io, "open")]
ERRORS = errno.ENOSPC, errno.EIO, errno.EACCES
CODES = {0, 1, 2, 3, 4}  # of the documented ones, those that a fault may end in
STOP_AFTER = 4  # steps, of 8


@dataclass
class Failure:
    """The call that failed; `calls` counts all."""

    calls: int = 0
    name: str | None = None
    path: str | None = None


@contextmanager
def failing(number: int, code: int):
    """Let call `number`, counted from 1, fail with the error `code`."""
    failure, originals = Failure(), [(module, name, getattr(module, name)) for module, name in CALLS]

    def replacement(name, original):
        def call(target, *arguments, **options):
            if target in (1, 2):  # stdout, stderr
                return original(target, *arguments, **options)
            failure.calls += 1
            if failure.calls != number:
                return original(target, *arguments, **options)
            failure.name, failure.path = name, path_of(target)
            raise OSError(code, os.strerror(code), *([] if isinstance(target, int) else [target]))

        return call

    for module, name, original in originals:
        setattr(module, name, replacement(name, original))
    try:
        yield failure
    finally:
        for module, name, original in originals:
            setattr(module, name, original)


def path_of(target) -> str:
    return os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)


def problem_of(code: int, err: str, failure: Failure, folder: Path, model: Path, wanted: str) -> str | None:
    """What is wrong with how a run ended whose call failed, and with what it left."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    if code not in CODES or "Traceback" in err or len(lines) != (code != 0):
        return f"ended with {code}: {err[-300:]!r}"
    name = re.sub(r"^\.(.*)\.[^.]+\.tmp$", r"\1", Path(failure.path).name)
    if code == 1 and name not in lines[0] and str(folder) not in lines[0]:
        return f"{lines[0]!r} does not name {name}"
    if found := small_runs.leftovers(folder):
        return f"left {found}"
    if small_runs.check(folder) is None and folder.exists():
        return f"left {sorted(path.name for path in folder.iterdir())} without a checkpoint"
    small_runs.train(folder, model)
    return None if small_runs.finished(folder) == wanted else "other bits after it was resumed"


def prepare(work: Path) -> tuple[Path, Path, str]:
    """(model, the folder of a run that was stopped in the middle, the digest of one that was not)."""
    model, steps = small_runs.write_model(work), iter(range(1, 100))
    small_runs.train(work / "whole", model)
    with suppress(StoppedError):
        small_runs.train(work / "half", model, lambda: next(steps) == STOP_AFTER)
    assert small_runs.check(work / "half") == STOP_AFTER
    return model, work / "half", small_runs.finished(work / "whole")


def arguments_for(way: str, folder: Path, model: Path, half: Path) -> list[str]:
    """Those of `cnncli`, after the folder has been made ready."""
    if way == "start":
        return ["train", "--model", str(model), "--out", str(folder), "-q", "-t", "1"]
    shutil.copytree(half, folder)
    return ["train", "--resume", str(folder), "-q", "-t", "1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--call", nargs=3, help=argparse.SUPPRESS)  # number, error, then the command's arguments
    options, rest = parser.parse_known_args()
    if options.call:
        call(*map(int, options.call[:2]), rest)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.processes) as pool:
        work = Path(name)
        prepared = prepare(work)
        tried, problems = 0, []
        for way in ("start", "resume"):
            for code in ERRORS:
                first = 1
                while first:
                    numbers = range(first, first + 4 * options.processes)
                    ended = list(pool.map(lambda n, w=way, c=code: attempt(w, n, c, work, prepared), numbers))
                    hit = [problem for was_hit, problem in ended if was_hit]
                    found = [problem for problem in hit if problem]
                    tried, problems = tried + len(hit), problems + found
                    print("\n".join(found), end="\n" if found else "", flush=True)
                    first = numbers.stop if len(hit) == len(numbers) else 0
                print(f"{way}, {errno.errorcode[code]}: {tried} calls failed, {len(problems)} problems", flush=True)
        sys.exit(bool(problems))


def attempt(way: str, number: int, code: int, work: Path, prepared) -> tuple[bool, str | None]:
    """Whether there is such a call, and what went wrong after it failed."""
    model, half, wanted = prepared
    folder = work / f"{way}-{code}-{number}"
    arguments = arguments_for(way, folder, model, half)
    command = [sys.executable, __file__, "--call", str(number), str(code), "-", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    *err, told = ended.stderr.splitlines()
    _, name, path = told.split("\t")
    try:
        if name == "None":
            return False, None if ended.returncode == 0 else f"undisturbed, it ended with {ended.returncode}"
        problem = problem_of(ended.returncode, "\n".join(err), Failure(number, name, path), folder, model, wanted)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    shutil.rmtree(folder, ignore_errors=True)
    return True, problem and f"{way}, call {number} ({name} {path}), {errno.errorcode[code]}: {problem}"


def call(number: int, code: int, arguments: list[str]) -> None:
    """Run a command whose call fails, and tell in the last line on stderr which one that was."""
    from cnncli.cli import main as command

    with failing(number, code) as failure:
        try:
            command(arguments)
        finally:
            sys.stderr.write(f"failed\t{failure.name}\t{failure.path}\n")


if __name__ == "__main__":
    main()
