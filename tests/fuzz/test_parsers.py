"""Every parser on damaged files, bounded: mutants, what hypothesis finds, and all that ever went wrong (`corpus/`).

`mutants.py` and `fuzz_parser.py` look for longer. A file in corpus/PARSER/ is one that once ended in a traceback, a
hang, or numbers that are none; what is too large for a file is in `tests/robustness`, as the code that makes it.
"""

import random
import warnings
from pathlib import Path

import mutants
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parsers import PARSERS, Parser

from cnncli.errors import DataError

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*/*"))
MUTANTS = 300
PIECES = st.tuples(st.integers(0, 2**16), st.integers(0, 16), st.binary(max_size=8))


@pytest.fixture(scope="module", params=PARSERS)
def name(request):
    return request.param


def test_mutants_are_read_or_refused(name):
    outcomes, wrong = mutants.run(name, MUTANTS, seed=0)
    assert wrong == []
    assert outcomes.total() == MUTANTS
    assert outcomes["parsed"]
    assert outcomes["refused"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(name, content):
    PARSERS[name].outcome(content)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 9), pieces=st.lists(PIECES, min_size=1, max_size=4))
def test_changed_files_are_read_or_refused(name, number, pieces):
    parser = PARSERS[name]
    seeds = parser.seeds()
    content = bytearray(seeds[number % len(seeds)])
    for place, removed, piece in pieces:
        place %= len(content) + 1
        content[place : place + removed] = piece
    changed = bytes(content)
    parser.outcome(parser.repair(changed) if parser.repair and number % 2 else changed)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_once_went_wrong_does_not(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PARSERS[path.parent.name.replace("-", " ")].outcome(path.read_bytes())


def test_the_corpus_is_there():
    assert len(CORPUS) >= 10
    assert sum(path.stat().st_size for path in CORPUS) < 2**16


@pytest.mark.parametrize(
    ("parse", "problem"),
    [
        (lambda content: 1 / (content != b"ab"), "ZeroDivisionError"),
        (lambda content: [0][len(content)], "IndexError"),
        (lambda content: warnings.warn("odd", stacklevel=1), "UserWarning"),
    ],
)
def test_the_runner_sees_what_is_wrong(monkeypatch, tmp_path, parse, problem):
    def fails(content):
        if content != b"seed":
            parse(b"ab")

    monkeypatch.setitem(PARSERS, "bad", Parser(fails, DataError, lambda: [b"seed"]))
    outcomes, wrong = mutants.run("bad", 20, 0, tmp_path / "failures")
    assert outcomes["failed"] > 10
    assert all(line.startswith("bad ") and problem in line for line in wrong)
    assert len(list((tmp_path / "failures").iterdir())) == len({line.split()[1] for line in wrong})


def test_the_same_seed_makes_the_same_mutants():
    parser = PARSERS["idx"]
    one, two = ([mutants.mutant(rng, parser, parser.seeds()) for _ in range(20)] for rng in map(random.Random, (3, 3)))
    assert one == two
    assert len(set(one)) > 10
