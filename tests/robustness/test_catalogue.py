"""Every case of the tables of hostile input ends as it must. `catalogue.py` shows how."""

import pytest
from catalogue import CASES
from child import HUNG, Commands


@pytest.fixture(scope="module")
def commands():
    with Commands() as running:
        yield running


def test_names_are_different():
    assert len(CASES) >= 250


@pytest.mark.parametrize("name", CASES)
def test_hostile_input_is_one_line(commands, tmp_path, name):
    _, problems = CASES[name].problems(commands, tmp_path, HUNG)
    assert problems == []
