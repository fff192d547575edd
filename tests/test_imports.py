"""Imports point down only, and what may not be used anywhere is not. The checker itself is tested on short sources."""

import ast
from pathlib import Path

import pytest

import cnncli

PACKAGE = Path(cnncli.__file__).parent
LEVELS = (
    ("cli",),
    ("benchmark",),
    ("training", "pictures", "exchange"),
    ("network", "datasets"),
    ("spec",),
    ("layers",),
    ("kernels",),
)
LEVEL = {package: level for level, packages in enumerate(LEVELS) for package in packages}
FOR_ALL = ("", "errors", "locks", "memory", "resources")  # "" is `cnncli` itself
ONLY_IN = {"click": "cli", "tqdm": "cli", "numba": "kernels", "llvmlite": "kernels", "matplotlib": "pictures"}
ONLY_IN |= dict.fromkeys(("torch", "jax", "onnxruntime", "openvino"), "benchmark")  # in processes of their own
NETWORK = (
    "requests",
    "urllib3",
    "socket",
    "ssl",
    "http",
    "urllib.request",
    "ftplib",
    "smtplib",
    "socketserver",
    "asyncio",
)
CONNECTED = ("cnncli.datasets.fetching", "cnncli.datasets.web")
NOWHERE = ("pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "runpy")
RUNS = ("eval", "exec", "compile", "__import__")  # what they are given
IMPORT_BY_NAME = ("cnncli.cli", "cnncli.layers")  # names that are written in cnncli, none that a user gives
MODULES = {
    ".".join(("cnncli", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def violations(source: str, module: str) -> list[str]:
    """What the source of `module`, such as `cnncli.spec.yaml`, does that it may not, with the line."""
    package = part_of(module)
    if package not in LEVEL and package not in FOR_ALL:
        return [f"{module}: {package} has no place in LEVELS"]
    found = []
    for node in ast.walk(ast.parse(source)):
        names = imported(node, module)
        reasons = [refused(package, name) for name in names] + [misused(package, node, module)]
        if module not in CONNECTED:
            reasons += [f"imports {name}: the network is for download alone" for name in names if reaches(name)]
        found += [f"{module}:{node.lineno}: {reason}" for reason in reasons if reason]
    return found


def part_of(module: str) -> str:
    """`spec` of `cnncli.spec.yaml`; `__main__` counts as `cli`."""
    part = module.split(".")[1] if "." in module else ""
    return "cli" if part == "__main__" else part


def imported(node: ast.AST, module: str) -> list[str]:
    """The full names of the modules that a statement imports, or a call with a literal name."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = ".".join([*parent(module, node.level), *filter(None, [node.module])]) if node.level else node.module
        parts = [alias.name for alias in node.names if alias.name in LEVEL or alias.name in FOR_ALL]
        return [f"cnncli.{part}" for part in parts] or ["cnncli"] if base == "cnncli" else [base]
    if isinstance(node, ast.Call) and called(node) in ("import_module", "__import__") and node.args:
        name = node.args[0]
        return [name.value] if isinstance(name, ast.Constant) else []
    return []


def parent(module: str, level: int) -> list[str]:
    """The package that `level` dots mean in a module."""
    is_package = module in MODULES and MODULES[module].stem == "__init__"
    parts = module.split(".")
    return parts[: len(parts) - level + is_package]


def called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def refused(package: str, name: str) -> str | None:
    """Why `package` may not import `name`."""
    top = name.split(".")[0]
    if top in NOWHERE:
        return f"imports {top}: it runs what it reads"
    if ONLY_IN.get(top, package) != package:
        return f"imports {top}, which only {ONLY_IN[top]} may"
    if top != "cnncli" or part_of(name) in (package, *FOR_ALL):
        return None
    if package in FOR_ALL:
        return f"imports {name}, but everything imports {package or 'cnncli'}"
    if LEVEL.get(part_of(name), -1) <= LEVEL[package]:
        return f"imports {name}, which is not below {package}"
    return None


def reaches(name: str) -> bool:
    """Whether a module of this name opens connections. Of pooch, which does, the folder of caches is used too."""
    return any(f"{name}.".startswith(f"{network}.") for network in NETWORK)


def misused(package: str, node: ast.AST, module: str) -> str | None:
    """Why a call is not allowed in a module of `package`."""
    if not isinstance(node, ast.Call):
        return None
    builtin = isinstance(node.func, ast.Name) or getattr(getattr(node.func, "value", None), "id", "") == "builtins"
    if builtin and called(node) in RUNS:
        return f"calls {called(node)}"
    if called(node) == "import_module" and not isinstance(node.args[0], ast.Constant) and module not in IMPORT_BY_NAME:
        return "imports what it is told"
    if called(node) in ("system", "popen") or any(k.arg == "shell" for k in node.keywords):
        return "calls a shell"
    if builtin and called(node) == "print" and package != "cli":
        return "prints, which only cli may"
    allowed = (getattr(k.value, "value", None) is False for k in node.keywords if k.arg == "allow_pickle")
    return None if all(allowed) else "allows pickle"


@pytest.mark.parametrize("module", MODULES)
def test_module_keeps_the_rules(module):
    assert violations(MODULES[module].read_text("utf-8"), module) == []


def test_all_modules_are_found():
    assert {"cnncli", "cnncli.__main__", "cnncli.cli", "cnncli.cli.train", "cnncli.kernels.tile"} <= set(MODULES)


BAD = [
    ("cnncli.spec.yaml", "import click", "click, which only cli"),
    ("cnncli.spec.yaml", "from tqdm.auto import tqdm", "tqdm, which only cli"),
    ("cnncli.layers.conv", "import numba.core as core", "numba, which only kernels"),
    ("cnncli.layers.conv", "from llvmlite import ir", "llvmlite, which only kernels"),
    ("cnncli.layers.conv", "def f():\n    from cnncli.spec import parse", "cnncli.spec, which is not below layers"),
    ("cnncli.layers.conv", "from cnncli import network", "cnncli.network, which is not below layers"),
    ("cnncli.network.plan", "import cnncli.datasets.idx", "cnncli.datasets.idx, which is not below network"),
    ("cnncli.training.loop", "from cnncli.pictures import summary", "not below training"),
    ("cnncli.training.loop", "from cnncli.benchmark import rounds", "not below training"),
    ("cnncli.training.loop", "import torch", "torch, which only benchmark"),
    ("cnncli.cli.train", "from matplotlib import pyplot", "matplotlib, which only pictures"),
    ("cnncli.training.loop", "from ..cli import main", "cnncli.cli, which is not below training"),
    ("cnncli.spec", "from .. import training", "cnncli.training, which is not below spec"),
    ("cnncli.spec.yaml", "from ..network import Network", "cnncli.network, which is not below spec"),
    ("cnncli.network.plan", "import_module('cnncli.cli')", "cnncli.cli, which is not below network"),
    ("cnncli.kernels.tile", "from cnncli.layers.base import Shape", "not below kernels"),
    ("cnncli.errors", "from cnncli.spec import parse", "everything imports errors"),
    ("cnncli", "from cnncli import spec", "everything imports cnncli"),
    ("cnncli.cli.train", "from cnncli.unknown import f", "not below cli"),
    ("cnncli.unknown.file", "import json", "unknown has no place"),
    ("cnncli.cli.train", "import pickle", "imports pickle"),
    ("cnncli.datasets.npz", "from marshal import loads", "imports marshal"),
    ("cnncli.datasets.npz", "importlib.import_module('pickle')", "imports pickle"),
    ("cnncli.datasets.npz", "numpy.load(path, allow_pickle=True)", "allows pickle"),
    ("cnncli.spec.yaml", "value = eval(text)", "calls eval"),
    ("cnncli.spec.yaml", "value = compile(text, 'x', 'exec')", "calls compile"),
    ("cnncli.spec.yaml", "import yaml", "imports yaml"),
    ("cnncli.training.tensors", "__import__(name)", "calls __import__"),
    ("cnncli.training.tensors", "importlib.import_module(name)", "imports what it is told"),
    ("cnncli.training.tensors", "os.system(name)", "calls a shell"),
    ("cnncli.training.tensors", "subprocess.run(name, shell=True)", "calls a shell"),
    ("cnncli.cli.train", "builtins.exec(text)", "calls exec"),
    ("cnncli.training.loop", "if x:\n    print(x)", "prints"),
    ("cnncli.datasets.loading", "import requests", "imports requests: the network is for download alone"),
    ("cnncli.cli.info", "from urllib.request import urlopen", "the network is for download alone"),
    ("cnncli.benchmark.peers", "import http.client", "the network is for download alone"),
]
GOOD = [
    ("cnncli.cli.train", "import click, tqdm\nfrom cnncli import __version__, kernels, spec\nprint(1)"),
    ("cnncli.cli.train", "from cnncli.training import session\nfrom cnncli.cli import options"),
    ("cnncli.__main__", "from cnncli.cli import main"),
    ("cnncli.datasets.web", "import requests\nimport urllib3"),
    ("cnncli.cli.info", "from urllib.parse import urlsplit"),
    ("cnncli.datasets.batches", "from cnncli.kernels import batch\nfrom cnncli.datasets.base import Split"),
    ("cnncli.spec.files", "from . import words\nfrom ..layers import Layer\nfrom cnncli.resources import bundled"),
    ("cnncli.kernels.tile", "import numba\nfrom llvmlite import ir\nfrom cnncli import errors"),
    ("cnncli.spec.yaml", "import re\npattern = re.compile('eval')\nmodel.eval()\nregex.exec(text)\nrich.print(1)"),
    ("cnncli.datasets.npz", "numpy.load(path, allow_pickle=False)"),
]


@pytest.mark.parametrize(("module", "source", "reason"), BAD)
def test_checker_sees(module, source, reason):
    (found,) = violations(source, module)
    assert found.startswith(f"{module}:")
    assert reason in found


@pytest.mark.parametrize(("module", "source"), GOOD)
def test_checker_allows(module, source):
    assert violations(source, module) == []
