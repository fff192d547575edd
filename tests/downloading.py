"""`cnncli download` as a process, of a data set whose files a test makes, from mirrors of the test's."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

PROCESS = """
import dataclasses, json, resource, sys
from cnncli.cli import main
from cnncli.datasets import DATASETS, File
given = json.loads(sys.argv[1])
files = tuple(File(*file) for file in given["files"])
archive = given["archive"] and File(*given["archive"])
DATASETS["made"] = dataclasses.replace(DATASETS["cifar-10"], files=files, archive=archive, folder="")
if given["largest"] is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (given["largest"], given["largest"]))
main(["download", "made", "--data-dir", given["home"], *given["options"]])
"""


def start(home: Path, mirror: str, files: dict, archive: dict | None = None, largest: int | None = None):
    """The started process (Popen, its output piped), which may write files of at most `largest` bytes.

    `files` and `archive` are names and contents; the files end up in HOME/made.
    """
    given = {
        "files": list(map(_described, files.items())),
        "archive": next(map(_described, archive.items())) if archive else None,
        "home": str(home),
        "options": ["--mirror", mirror],
        "largest": largest,
    }
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-c", PROCESS, json.dumps(given)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **streams)


def _described(file: tuple[str, bytes]) -> list:
    name, content = file
    return [name, hashlib.sha256(content).hexdigest(), len(content)]


def ended(process: subprocess.Popen, hung: float = 60) -> tuple[int, str, str]:
    """The exit code of a process, and what it wrote on stdout and stderr."""
    out, err = process.communicate(timeout=hung)
    return process.returncode, out, err
