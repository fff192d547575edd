"""Turns, medians, ratios by pairs and their mean, without any clock."""

import pytest

from cnncli.benchmark import rounds


class Contestant:
    """A worker that takes what it is told to."""

    def __init__(self, name, mode, milliseconds, log):
        self.name, self.mode, self.label = name, mode, f"{name} {mode}".strip()
        self.tasks, self._left, self._log = list(milliseconds), milliseconds, log

    def run(self, task, seconds):
        self._log.append((self.label, task))
        return self._left[task].pop(0)


@pytest.fixture
def log():
    return []


@pytest.fixture
def contestants(log):
    return [
        Contestant("cnncli", "", {"train": [2.0, 4.0, 2.0], "infer": [1.0, 1.0, 1.0]}, log),
        Contestant("peer", "a", {"train": [9.0, 9.0, 9.0], "infer": [2.0, 2.0, 3.0]}, log),
        Contestant("peer", "b", {"train": [4.0, 4.0, 6.0]}, log),
    ]


def test_contestants_take_turns_within_a_round(contestants, log):
    heard = []
    times = rounds.alternate(contestants, ["train", "infer"], 3, 0.1, heard.append)
    assert log[:5] == [
        ("cnncli", "train"),
        ("peer a", "train"),
        ("peer b", "train"),
        ("cnncli", "infer"),
        ("peer a", "infer"),
    ]
    assert log == log[:5] * 3
    assert len(heard) == len(log)
    assert times["peer b"] == {"train": [4.0, 4.0, 6.0]}


def test_the_better_mode_is_compared_by_pairs(contestants):
    times = rounds.alternate(contestants, ["train", "infer"], 3, 0.1, lambda text: None)
    peers = contestants[1:]
    # pairs 4/2, 4/4, 6/2; the ratio of the medians would be 2 as well, the mean is not
    assert rounds.compared(times, peers, "train") == {"mode": "b", "ms": 4.0, "ratio": 2.0, "spread": [1.5, 2.5]}
    assert rounds.compared(times, peers, "infer")["mode"] == "a"
    assert rounds.compared(times, peers, "latency") is None


def test_middle_of_few():
    assert rounds.middle([3.0]) == {"median": 3.0, "q1": 3.0, "q3": 3.0}
    assert rounds.middle([4.0, 1.0, 2.0, 3.0, 5.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}
    assert rounds.timing(None) == {"ms": None, "spread": None}


def test_summary_is_the_geometric_mean_and_the_minimum():
    def part(ratio):
        return {"peers": {"peer": {"ratio": ratio}}}

    rows = [{"name": "first", "forward": part(2.0)}, {"name": "second", "forward": part(0.5), "data_gradient": part(8)}]
    assert rounds.summary(rows, "peer") == {
        "forward": {"geometric_mean": 1.0, "minimum": 0.5, "at": "second"},
        "data_gradient": {"geometric_mean": 8.0, "minimum": 8, "at": "second"},
        "all": {"geometric_mean": 2.0, "minimum": 0.5, "at": "second"},
    }
