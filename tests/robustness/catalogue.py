"""Every case of the tables of hostile input by its command: `python tests/robustness/catalogue.py [WORD]`."""

import sys
import tempfile
from pathlib import Path

from child import Commands
from hostile_checkpoints import CASES as CHECKPOINTS
from hostile_data import CASES as DATA
from hostile_specifications import CASES as SPECIFICATIONS

CASES = SPECIFICATIONS + DATA + CHECKPOINTS
SECONDS, MIB = 1.0, 256


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def problems(case, commands, folder) -> tuple:
    arguments = case.make(folder)
    before = listing(folder)
    ended = commands.run(folder, *arguments)
    found = []
    if ended.code != case.code:
        found.append(f"exit code {ended.code} in place of {case.code}")
    if case.code and (ended.err.count("\n") != 1 or not ended.err.startswith("error: ")):
        found.append("not one line")
    if case.code:
        found += [f"does not say {word!r}" for word in case.says if word not in ended.err]
    if "Traceback" in ended.err:
        found.append("a traceback")
    if listing(folder) != before:
        found.append("left something behind")
    if ended.seconds > SECONDS:
        found.append("slow")
    if ended.mib > MIB:
        found.append("too much memory")
    return ended, found


def main(word=""):
    bad = 0
    with Commands() as commands:
        for case in CASES:
            if word not in case.name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                ended, found = problems(case, commands, Path(folder))
            bad += bool(found)
            line = (ended.err or ended.out).strip()
            print(
                f"{'FAIL' if found else 'ok  '} {ended.seconds:6.3f} s {ended.mib:7.1f} MiB {case.name}: {line[:200]!r} {found or ''}"
            )
    print(len(CASES), "cases", bad, "bad")


if __name__ == "__main__":
    main(*sys.argv[1:])
