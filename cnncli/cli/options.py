"""Options and arguments that several commands share, and how results are printed."""

import json
import math
import os
import re
import sys
from itertools import zip_longest
from pathlib import Path

import click

from cnncli.errors import SpecificationError, printable

LONG = 200  # rows: rich took 11 s for a table of 65,528, which nobody reads on a screen

MODEL_HELP = "A YAML file, or the name of a model of the zoo (see: cnncli models)."

model = click.option("--model", "-m", required=True, metavar="FILE_OR_NAME", help=MODEL_HELP)
overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change an entry of the model: train.optimizer.sgd.lr=0.01.",
)
dataset = click.option(
    "--dataset",
    "-d",
    metavar="NAME_OR_PATH",
    help="digits (bundled), mnist, cifar-10 ..., an .npz file, or a folder of images or others: see `cnncli datasets`.",
)
data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="The folder with downloaded data sets [default: the user's cache].",
)
batch_size = click.option("--batch-size", "-b", type=click.IntRange(1), help="Images a step [default: the model's].")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
seed = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Decides every random number [default: the model's]."
)


class Finite(click.FloatRange):
    """A float within a range, which NaN is never and infinity is not either."""

    name = "float range"

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def thread_count(context, parameter, value):
    if value == "auto":
        return None
    try:
        count = int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor auto") from None
    if not 1 <= count <= 1024:
        raise click.BadParameter(f"{count} is not in 1..1024")
    return count


threads = click.option(
    "--threads",
    "-t",
    default="auto",
    show_default=True,
    callback=thread_count,
    metavar="N",
    help="Threads, or auto: one a core, or in training as many as measure fastest.",
)


UNITS = {"": 1, "K": 1e3, "KI": 2**10, "M": 1e6, "MI": 2**20, "G": 1e9, "GI": 2**30, "T": 1e12, "TI": 2**40}


def byte_count(context, parameter, value):
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?) *([KMGT]I?|)B?", value.strip().upper())
    if not found:
        raise click.BadParameter(f"{value!r} is no size: write 512MB, 2GB, 1.5GiB")
    return int(float(found[1]) * UNITS[found[2]])


max_memory = click.option(
    "--max-memory",
    callback=byte_count,
    metavar="SIZE",
    help="The most memory, such as 2GB, to begin a training with [default: what there is].",
)


def use_threads(count: int | None) -> None:
    """Let the kernels use `count` threads, before the first of them is imported. None: one a core."""
    if count is None:
        return
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count > usable and "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(count))
    from cnncli import kernels

    if count > kernels.most_threads():
        raise SpecificationError(f"--threads {count}: this process may use {kernels.most_threads()}")
    kernels.set_threads(count)


def print_json(result: dict) -> None:
    """One JSON object on stdout. What is not a finite number becomes null: JSON has no NaN."""
    click.echo(json.dumps(_finite(result), allow_nan=False))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def say(text: str, err: bool = False) -> None:
    """A line on stdout, or stderr: names of files and what is in them may hold what a terminal would obey."""
    click.echo(printable(text), err=err)


def print_table(columns: list[str], rows: list[list], right: tuple[int, ...] = ()) -> None:
    """A table on stdout: plain text, columns aligned; those of the indices `right` to the right.

    A cell that is a list has a line for each of its elements.
    """
    from rich.console import Console

    texts = [[_lines(cell) for cell in row] for row in rows]
    console = Console(markup=False, highlight=False, emoji=False)
    if console.is_terminal and len(texts) <= LONG:
        console.print(_folding(columns, texts, right))
    else:
        click.echo("\n".join(_aligned(columns, texts, right)))


def _lines(cell) -> list[str]:
    return [printable(str(line)) for line in (cell if isinstance(cell, list) else [cell])]


def _folding(columns, texts, right):
    """A table of rich's: what is too long for the terminal goes on below, in its column."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="" if os.environ.get("NO_COLOR") else "bold")
    for i, name in enumerate(columns):
        table.add_column(printable(name), justify="right" if i in right else "left", overflow="fold")
    for row in texts:
        table.add_row(*("\n".join(lines) for lines in row))
    return table


def _aligned(columns, texts, right) -> list[str]:
    """A table's lines as long as they are: a pipe or a file has no width."""
    from rich.cells import cell_len

    heads = [printable(name) for name in columns]
    lines = [heads, *(line for row in texts for line in zip_longest(*row, fillvalue=""))]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]

    def padded(i, text):
        space = " " * (widths[i] - cell_len(text))
        return space + text if i in right else text + space

    return ["  ".join(padded(i, text) for i, text in enumerate(line)).rstrip() for line in lines]


def print_pairs(pairs: dict[str, object]) -> None:
    """A line on stdout for each name with its value, the values aligned."""
    width = max(map(len, pairs))
    for name, value in pairs.items():
        say(f"{name:<{width}}  {value}")
