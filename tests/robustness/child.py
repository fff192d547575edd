"""Commands in a process of their own, measured: how they ended, what they wrote, seconds, memory above the start.

As a program, `python child.py` reads one JSON list of arguments a line from stdin, runs the command in a fork of
itself, which has imported everything already, and writes one JSON object a line to stdout.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HUNG = 60  # seconds: more than any command here may take on a machine that is busy with something else
MODULES = ("eval", "predict", "check", "summary", "datasets", "train")


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` is negative for a signal: SIGALRM where it hung.

    `seconds` are the processor's, as the machine may be busy; `mib`: the peak of its memory above the start.
    """

    code: int
    out: str
    err: str
    seconds: float
    mib: float


class Commands:
    """Runs commands in forks of one process. Use it as a context."""

    def __enter__(self):
        environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as where the user's language is set
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run(self, folder: Path, *arguments) -> Ended:
        """Run `cnncli ARGUMENTS` in a folder."""
        words = [os.fsencode(argument).decode("latin-1") for argument in (folder, *map(str, arguments))]
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))


def measured(folder: str, arguments: list[str]) -> dict:
    """Run a command in a fork."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        ours, its = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(its, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).encode())
            inside(folder, arguments, out.fileno(), err.fileno())
        _, status, usage = os.wait4(child, 0)
        seconds = usage.ru_utime + usage.ru_stime
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="backslashreplace"))
    mib = (usage.ru_maxrss - int(os.read(ours, 20))) / 1024
    os.close(ours)
    os.close(its)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "out": texts[0], "err": texts[1], "seconds": round(seconds, 3), "mib": round(mib, 1)}


def inside(folder: str, arguments: list[str], out: int, err: int) -> None:
    """What the fork does. Never returns."""
    from cnncli.cli import main

    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(folder)
    signal.alarm(HUNG)
    code = 70
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    import importlib

    for name in MODULES:
        importlib.import_module(f"cnncli.cli.{name}")
    for name in ("cnncli.datasets", "cnncli.training.session", "cnncli.training.prediction", "cnncli.pictures.summary"):
        importlib.import_module(name)
    from PIL import Image

    Image.init()
    for line in sys.stdin:
        folder, *arguments = (os.fsdecode(word.encode("latin-1")) for word in json.loads(line))
        print(json.dumps(measured(folder, arguments)), flush=True)


if __name__ == "__main__":
    serve()
