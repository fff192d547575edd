"""The libraries to compare with: none is a dependency, each runs as a script in an interpreter that has it."""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cnncli.errors import SpecificationError

SCRIPTS = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """`needs` are the modules it imports, `modes` the arguments of its script: each is a worker of its own.

    `tasks` are what it can be asked: "network" (train, infer and latency), "inference" (the latter two), "convolution".
    """

    script: str
    needs: tuple[str, ...]
    modes: tuple[str, ...]
    tasks: tuple[str, ...]


PEERS = {
    "torch": Peer("torch_peer.py", ("torch",), ("eager", "channels_last"), ("network", "convolution")),
    "jax": Peer("jax_peer.py", ("jax",), ("NCHW", "NHWC"), ("network", "convolution")),
    "onnxruntime": Peer("onnxruntime_peer.py", ("onnxruntime", "onnx"), ("",), ("network",)),
    "openvino": Peer("openvino_peer.py", ("openvino", "onnx"), ("",), ("network",)),
}
FIND = "import importlib.util, sys; sys.exit(any(importlib.util.find_spec(n) is None for n in sys.argv[1:]))"


def interpreters(names: list[str], pythons: list[str], task: str) -> dict[str, str]:
    """The interpreter for each peer: this one, or the first of `pythons` that has what it needs.

    Raises SpecificationError where none has, or the peer cannot do `task`.
    """
    found = {}
    for name in names:
        if task not in PEERS[name].tasks:
            able = ", ".join(other for other, peer in PEERS.items() if task in peer.tasks)
            raise SpecificationError(f"--against {name}: it is compared in whole networks only (here: {able})")
        having = [python for python in (sys.executable, *pythons) if has(python, PEERS[name].needs)]
        if not having:
            needs = " and ".join(PEERS[name].needs)
            raise SpecificationError(f"--against {name}: {needs} not installed here; see --peer-python")
        found[name] = having[0]
    return found


def has(python: str, modules: tuple[str, ...]) -> bool:
    """Whether an interpreter can import `modules`."""
    if python == sys.executable:
        return all(importlib.util.find_spec(module) for module in modules)
    try:
        return subprocess.run([python, "-c", FIND, *modules], capture_output=True).returncode == 0
    except OSError as error:
        raise SpecificationError(f"--peer-python {python}: {error.strerror}") from None
