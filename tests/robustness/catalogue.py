"""Hostile specifications, data sets and checkpoints, one command each: `python tests/robustness/catalogue.py [WORD]`.

Prints how each command ended, with the processor's seconds and the memory above its start; WORD chooses among the
names. Ends with 1 unless each gives its exit code and its one line within a second and 256 MiB, and leaves nothing
behind.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from child import Commands
from hostile_arrays import CASES as ARRAYS
from hostile_checkpoints import CASES as CHECKPOINTS
from hostile_media import CASES as MEDIA
from hostile_specifications import CASES as SPECIFICATIONS

CASES = {case.name: case for case in SPECIFICATIONS + ARRAYS + MEDIA + CHECKPOINTS}
SECONDS = 1


def main(word: str = "") -> int:
    bad, chosen = 0, [case for name, case in CASES.items() if word in name]
    with Commands() as commands:
        for case in chosen:
            with tempfile.TemporaryDirectory() as folder:
                ended, problems = case.problems(commands, Path(folder), SECONDS)
            bad += bool(problems)
            said = (ended.err or ended.out).strip()
            print(
                f"{ended.code} {ended.seconds:6.3f} s {ended.mib:6.1f} MiB  {case.name}: {said[:200]!a}",
                *problems,
                sep="; ",
            )
    print(f"{len(chosen)} tried, {len(chosen) - bad} passed")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
