"""Memory that this process can still take, of what the system grants and of what there is."""

import math
import os
from contextlib import suppress
from pathlib import Path

try:
    import resource
except ImportError:  # not on every system
    resource = None

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available() -> float:
    """Bytes that this process can still take: of the machine, of its control groups, of its address space."""
    return min(_of_machine(), _of_groups(), _of_address_space())


def resident() -> int:
    """Bytes of memory that this process holds; 0 where nobody tells."""
    with suppress(OSError, ValueError, IndexError):
        return int((PROC / "self" / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _of_machine() -> float:
    with suppress(OSError, ValueError):
        for line in (PROC / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return math.inf


def _of_groups() -> float:
    """The least that is left to a control group that this process is in. File caches count as free."""
    found = math.inf
    with suppress(OSError, ValueError):
        for line in (PROC / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                root = CGROUPS / controllers
                inner = root / path.lstrip("/")
                for folder in (inner, *inner.parents):
                    if folder.is_relative_to(root):
                        found = min(found, _of_group(folder))
    return found


def _of_group(folder: Path) -> float:
    # version 2, and version 1
    for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        with suppress(OSError, ValueError):  # "max": no limit
            free = int((folder / most).read_text()) - int((folder / used).read_text())
            cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return free + int(cached["inactive_file"]) + int(cached["active_file"])
    return math.inf


def _of_address_space() -> float:
    if not resource:
        return math.inf
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return math.inf
    with suppress(OSError, ValueError):
        return most - int((PROC / "self" / "statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return most


def text(count: float) -> str:
    """A number of bytes for a reader: 512 B, 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} PiB"
