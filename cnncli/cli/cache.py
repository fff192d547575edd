"""`cnncli cache`: the folders of compiled kernels, one for each version of their sources."""

import re
import shutil
import sys
from pathlib import Path

import click

from cnncli.cli import options

OURS = re.compile(r"[0-9a-f]{16}")  # how `kernels` names its folders: nothing else is ever removed


@click.group("cache")
def command():
    """Show, fill or clear the cache of compiled kernels.

    Kernels are compiled when they are first used and kept in a folder, so that the next run starts at once. Every
    version of cnncli, Numba and NumPy has its own. CNNCLI_CACHE names another place.

    \b
    Examples:
      cnncli cache info
      cnncli cache warm
      cnncli cache clear --stale
    """


@command.command("info")
@options.as_json
def info(as_json):
    """Show where the compiled kernels lie and how much they take.

    \b
    Examples:
      cnncli cache info
      cnncli cache info --json
    """
    from cnncli import kernels

    stale = [folder for folder in _folders() if folder != kernels.CACHE]
    result = {**_measure(), "stale_folders": len(stale), "stale_bytes": sum(map(_bytes, stale))}
    if as_json:
        options.print_json(result)
    else:
        pairs = {"folder": result["folder"], "kernels": f"{result['entries']}, {_mega(result['bytes'])}"}
        others = f"{_many(len(stale))} of other versions, {_mega(result['stale_bytes'])}"
        options.print_pairs({**pairs, "stale": others if stale else "none"})


@command.command("warm")
@options.as_json
def warm(as_json):
    """Compile every kernel now, on every core, so that the first training run need not.

    \b
    Examples:
      cnncli cache warm
      CNNCLI_CACHE=/opt/kernels cnncli cache warm
    """
    from tqdm import tqdm

    from cnncli.training.warming import warm

    click.echo("compiling the kernels...", err=True)
    with tqdm(unit="kernel", leave=False, disable=not sys.stderr.isatty()) as bar:

        def report(done, of):
            bar.total = of
            bar.update(done - bar.n)

        seconds = warm(report)
    result = {**_measure(), "seconds": round(seconds, 3)}
    if as_json:
        options.print_json(result)
    else:
        options.say(f"{result['folder']}: {result['entries']} kernels, {_mega(result['bytes'])}, in {seconds:.1f} s")


@command.command("clear")
@click.option("--stale", is_flag=True, help="Only the folders of other versions.")
@options.as_json
def clear(stale, as_json):
    """Remove the compiled kernels. They are compiled again when they are needed.

    \b
    Examples:
      cnncli cache clear
      cnncli cache clear --stale
    """
    from cnncli import kernels

    removed = [folder for folder in _folders() if not (stale and folder == kernels.CACHE)]
    freed = sum(map(_bytes, removed))
    for folder in removed:
        shutil.rmtree(folder)
    if as_json:
        options.print_json({"home": str(kernels.cache_home()), "folders": len(removed), "bytes": freed})
    else:
        options.say(f"{kernels.cache_home()}: removed {_many(len(removed))}, {_mega(freed)}")


def _folders() -> list[Path]:
    """All kernel caches, of any version. A link of such a name is somebody else's."""
    from cnncli import kernels

    home = kernels.cache_home()
    found = sorted(home.iterdir()) if home.is_dir() else []
    return [path for path in found if OURS.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _measure() -> dict:
    """The cache of this version."""
    from cnncli import kernels

    entries = sum(1 for _ in kernels.CACHE.rglob("*.nbc"))
    return {"folder": str(kernels.CACHE), "entries": entries, "bytes": _bytes(kernels.CACHE)}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _many(folders: int) -> str:
    return f"{folders} folder{'' if folders == 1 else 's'}"


def _mega(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
