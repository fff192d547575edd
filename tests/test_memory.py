"""What memory there is, against files as Linux has them."""

import math

import pytest

from cnncli import memory


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


STAT = "anon 5\ninactive_file 30\nactive_file 10\n"
UNLIMITED = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 1 kB\n", "proc/self/cgroup": "0::/\n"}
MACHINES = {
    "machine": (UNLIMITED, 1024),
    "no limit": ({**UNLIMITED, "cgroup/memory.max": "max", "cgroup/memory.current": "7"}, 1024),
    "nothing known": ({}, math.inf),
    "garbage": ({"proc/meminfo": "MemAvailable: x kB", "proc/self/cgroup": "0:\n:::::\n"}, math.inf),
    "version 2": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "cgroup/a/memory.max": "500",
            "cgroup/a/memory.current": "100",
            "cgroup/a/memory.stat": STAT,
            "cgroup/a/b/memory.max": "max",
            "cgroup/a/b/memory.current": "50",
        },
        440,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "9:name=x:/\n4:memory:/a\n1:cpu:/\n0::/\n",
            "cgroup/memory/a/memory.limit_in_bytes": "300",
            "cgroup/memory/a/memory.usage_in_bytes": "250",
            "cgroup/memory/a/memory.stat": STAT,
        },
        90,
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_what_there_is(tmp_path, monkeypatch, name):
    files, expected = MACHINES[name]
    write(tmp_path, files)
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_of_address_space", lambda: math.inf)
    assert memory.available() == expected


def test_this_machine_has_some_memory():
    assert memory.available() > 2**20
    assert 2**20 < memory.resident() < 2**40


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (1536, "1.5 KiB"), (3 << 30, "3 GiB"), (1 << 80, "1.07e+09 PiB")],
)
def test_a_size_as_text(count, expected):
    assert memory.text(count) == expected
