"""A pytest plugin for the suite with kernels as plain Python, where all of it would take a day: `make coverage`.

    NUMBA_DISABLE_JIT=1 PYTHONPATH=tests python -m pytest -p plain_python

Of each test of kernels, layers and networks, those in `tests` itself, at most MOST cases run, spread over its table; a
test that takes longer than LIMIT seconds is skipped, and says so.
"""

import signal
from collections import defaultdict
from pathlib import Path

import pytest

MOST, LIMIT = 12, 30
SKIPPED = {
    "test_processors.py": "runs the suite in processes of its own",
    "test_same_bits.py": "trains for minutes as plain Python",
    "test_steps_allocate_nothing": "is of compiled code: Python allocates",
    "test_a_disk_that_fills": "limits the size of files, of that with the lines too",
    "test_a_full_disk_while_unpacking_leaves_the_archive": "limits the size of files, of that with the lines too",
    "test_deep_nesting_is_refused_at_once": "is timed",
    "test_a_thousand_layers_take_less_than_half_a_second": "is timed",
}
HERE = Path(__file__).parent


def pytest_configure(config):
    for warning in (
        "overflow encountered",  # scalars of NumPy say what compiled code does silently
        "invalid value encountered",
        ":pytest.PytestUnraisableExceptionWarning",  # of what a test that was cut off leaves behind
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{warning}")


def pytest_collection_modifyitems(config, items):
    cases, kept = defaultdict(list), set()
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
        for name, reason in SKIPPED.items():
            if name in (item.path.name, item.nodeid.partition("[")[0].rpartition("::")[2]):
                item.add_marker(pytest.mark.skip(reason=reason))
    for of_function in cases.values():
        step = -(-len(of_function) // MOST) if of_function[0].path.parent == HERE else 1
        kept.update(id(item) for item in of_function[::step])
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    def over(number, frame):
        pytest.skip(f"longer than {LIMIT} s as plain Python")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(LIMIT)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
