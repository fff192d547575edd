"""The wheel: what it carries, and that what it installs works far from the checkout."""

import importlib.util
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLEAN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def run(*command, cwd) -> str:
    """The stdout of a command that must succeed, in a folder other than the checkout."""
    ended = subprocess.run(command, cwd=cwd, env=CLEAN, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout. Where hatchling is not installed, pip fetches it."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--quiet", "--wheel-dir", folder]
    if importlib.util.find_spec("hatchling"):
        options.append("--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *options, ROOT, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def installed_cnncli(wheel, tmp_path_factory) -> Path:
    """The command `cnncli` that the wheel installs, in an environment that borrows this one's other packages."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / Path(sys.executable).name
    install = ["install", "--no-deps", "--no-index", "--quiet", wheel]
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=home)
    place = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (place / "borrowed.pth").write_text("\n".join(borrowed))  # searched after this environment's own
    found = run(python, "-c", "import cnncli; print(cnncli.__file__)", cwd=home).strip()
    assert Path(found).is_relative_to(place)
    return scripts / ("cnncli.exe" if os.name == "nt" else "cnncli")


def files(folder: str, pattern: str) -> set[str]:
    found = (ROOT / folder).rglob(pattern)
    return {path.relative_to(ROOT).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts}


def test_carries_the_package_the_zoo_and_the_digits(names):
    assert files("cnncli", "*.py") <= names
    zoo, digits = files("models", "*.yaml"), files("data/digits", "*")
    assert zoo
    assert digits
    assert {f"cnncli/{name}" for name in zoo | digits} <= names


def test_carries_the_licence(names):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_carries_nothing_else(names):
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"cnncli"}
    unwanted = [name for name in names if "test" in name.lower() or "__pycache__" in name or "/." in name]
    assert unwanted == []


def test_installed_lists_its_models(installed_cnncli, tmp_path):
    out = run(installed_cnncli, "models", cwd=tmp_path)
    assert {row.split()[0] for row in out.splitlines()[1:]} == {path.stem for path in (ROOT / "models").glob("*.yaml")}


def test_installed_checks_a_model(installed_cnncli, tmp_path):
    assert run(installed_cnncli, "check", "lenet", cwd=tmp_path).startswith("lenet: ok, ")


def test_installed_has_the_digits(installed_cnncli, tmp_path):
    folder = Path(run(installed_cnncli, "download", "digits", cwd=tmp_path).strip())
    assert folder.is_relative_to(installed_cnncli.parent.parent)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (ROOT / "data" / "digits").iterdir()}


def test_trains_in_an_empty_folder(installed_cnncli, tmp_path):
    out = run(installed_cnncli, "train", "--model", "lenet.yaml", "--epochs", "1", "--quiet", cwd=tmp_path)
    assert out.startswith("runs/lenet-digits-1: test accuracy ")
    assert "accuracy" in run(installed_cnncli, "eval", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
