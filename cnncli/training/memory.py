"""Whether a run fits into memory, before it takes any: the system grants more than it has, and ends who uses it."""

import math
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from cnncli import network
from cnncli.errors import SpecificationError
from cnncli.kernels.optimizers import SLOTS
from cnncli.spec import Specification

try:
    import resource
except ImportError:  # not on every system
    resource = None

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def check(specification: Specification, samples: int = 1, held: int = 0, most: int | None = None) -> None:
    """Raise SpecificationError where training on so many samples cannot fit into memory.

    `held`: bytes of what is needed that are taken already. `most` bounds the whole process, in bytes.
    """
    batch = min(specification.train.batch_size, samples)
    layers = needs(specification, batch)
    needed, room = layers.total() - held, available() if most is None else most - resident()
    if needed > room:
        path, size = layers.most_common(1)[0]
        what = "the input" if path == "input" else f"layer {path}"
        limit = f"{_text(max(room, 0))} are " + ("available" if most is None else "left of --max-memory")
        raise SpecificationError(
            f"training in batches of {batch} needs {_text(needed)} of memory, {limit}: {what} takes most, "
            f"{_text(size)}: try a smaller --batch-size or a smaller model (see: cnncli summary)"
        )


def needs(specification: Specification, batch: int) -> Counter[str]:
    """Bytes by the path of the layer, at least: parameters, gradients, the optimiser's slots, and what the layers make
    of a batch in training and in evaluation.
    """
    nodes = network.nodes(specification)
    layers = network.weights(nodes, len(SLOTS[specification.train.optimizer.kind]))
    for training in (True, False):
        for path, size in network.activations(nodes, training).items():
            layers[path] += batch * size
    return layers


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


def _text(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
