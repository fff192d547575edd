"""Damaged files for every parser, many of them: `python tests/fuzz/mutants.py COUNT [SEED [PARSER ...]]`.

Prints for each parser how many of COUNT mutants were parsed, how many refused, and how many did anything else: those
are saved in the folder `fuzz-failures`. Ends with 1 if there are any.
"""

import contextlib
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from parsers import PARSERS, Parser

WORD = re.compile(rb"[\w.$-]+")
SECONDS, BYTES = 5, 2 * 2**30  # of the processor for one mutant; of memory for the process
ENDS = (
    b"\0",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\0\0\0\x80",
    b"\xff\xff\xff\x7f",
    b"\xff" * 4,
    b"\xff" * 8,
    b"\0" * 8,
)


class HungError(BaseException):
    """A parser that does not end; no handler of exceptions may catch it."""


def mutant(rng: random.Random, parser: Parser, seeds: list[bytes]) -> bytes:
    """A valid file with one to five changes."""
    content = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        change(rng, content, parser.tokens, seeds)
    made = bytes(content)
    return parser.repair(made) if parser.repair and rng.random() < 0.7 else made


def change(rng: random.Random, content: bytearray, tokens: tuple[bytes, ...], seeds: list[bytes]) -> None:
    """One change in place."""
    place, length = rng.randrange(len(content) + 1), rng.choice((1, 1, 2, 4, 8, 32))
    kind = rng.randrange(20 if tokens else 8)
    if kind == 0 and place < len(content):
        content[place] ^= 1 << rng.randrange(8)
    elif kind == 1 and place < len(content):
        content[place] = rng.randrange(256)
    elif kind == 2:
        end = rng.choice(ENDS)
        content[place : place + len(end)] = end
    elif kind == 3:
        del content[place:]
    elif kind == 4:
        del content[place : place + length]
    elif kind == 5:
        content[place:place] = rng.randbytes(length)
    elif kind == 6:
        start = rng.randrange(len(content) + 1)
        content[place:place] = content[start : start + length] * rng.choice((1, 1, 2, 16))
    elif kind == 7:
        other = rng.choice(seeds)
        start = rng.randrange(len(other) + 1)
        content[place : place + length] = other[start : start + length]
    elif kind in (8, 9):
        content[place : place + rng.choice((0, 0, 1, 4))] = rng.choice(tokens)
    elif kind >= 10:  # a word for another keeps a text readable
        words = [word.span() for word in WORD.finditer(content)] or [(place, place)]
        (start, end), (first, last) = rng.choice(words), rng.choice(words)
        content[start:end] = rng.choice(tokens) if rng.random() < 0.7 else content[first:last]


def run(name: str, count: int, seed: int, failures: Path | None = None) -> tuple[Counter, list[str]]:
    """The outcomes of `count` mutants for a parser, and what went wrong with those that did neither."""
    parser, rng, outcomes, wrong = PARSERS[name], random.Random(f"{name} {seed}"), Counter(), []
    seeds = parser.seeds()
    for content in seeds:
        if parser.outcome(content) != "parsed":
            raise AssertionError(f"{name}: a seed is refused")
    for _ in range(count):
        content = mutant(rng, parser, seeds)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            outcomes[parser.outcome(content)] += 1
        except (Exception, HungError) as error:
            outcomes["failed"] += 1
            digest = sha256(content).hexdigest()[:12]
            place = traceback.extract_tb(error.__traceback__)[-1]
            wrong.append(
                f"{name} {digest}: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
            )
            if failures:
                failures.mkdir(exist_ok=True)
                (failures / f"{name.replace(' ', '-')}-{digest}").write_bytes(content)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return outcomes, wrong


def hung(*_) -> None:
    raise HungError("it hung")


def main(count: str, seed: str = "0", *names: str) -> int:
    warnings.simplefilter("error")  # what would stand on a user's terminal beside the one line
    resource.setrlimit(resource.RLIMIT_AS, (BYTES + address_space(), resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, hung)
    total, before = Counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in names or PARSERS:
        started = time.process_time()
        with noise() as heard:
            outcomes, wrong = run(name, int(count), int(seed), Path("fuzz-failures"))
        outcomes["failed"] += len(heard)
        total += outcomes
        numbers = "  ".join(f"{outcomes[what]:>8,} {what}" for what in ("parsed", "refused", "failed"))
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{name:20}{numbers}  {time.process_time() - started:7.1f} s  {peak:6.1f} MiB", flush=True)
        for line in (heard + sorted(wrong))[:20]:
            print(f"    {line[:300]}")
    print("  ".join(f"{number:,} {what}" for what, number in total.items()), f"of {sum(total.values()):,} mutants")
    return bool(total["failed"])


@contextlib.contextmanager
def noise() -> Iterator[list[str]]:
    """What is written on stderr meanwhile, by whatever library: a line too many for a user."""
    heard, kept = [], os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            heard += [f"{size} bytes on stderr, such as {file.read(200)!r}"] if size else []


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
