"""`cnncli datasets`: the catalogue."""

import click

from cnncli.cli import options


@click.command("datasets")
@options.data_dir
@options.as_json
def command(data_dir, as_json):
    """List the data sets that cnncli knows by name, where they lie, and what else it reads.

    --dataset takes one of these names, or the path of an .npz file or of a folder.

    \b
    Examples:
      cnncli datasets
      cnncli datasets --data-dir ~/data
      cnncli datasets --json
    """
    from cnncli.datasets import DATASETS, FORMATS

    found = [_describe(name, entry, data_dir) for name, entry in DATASETS.items()]
    if as_json:
        options.print_json({"datasets": found, "formats": FORMATS})
    else:
        rows = [[d["name"], _text(d) + ("\n" if d is not found[-1] else "")] for d in found]
        options.print_table(["name", "what it holds, and where it lies"], rows)
        click.echo()
        options.print_table(["by path", "what is read"], [[kind, text] for kind, text in FORMATS.items()])


def _describe(name, entry, data_dir) -> dict:
    from cnncli.datasets import locate

    folder = locate(name, data_dir)
    return {
        "name": name,
        "title": entry.title,
        "input": list(entry.input),
        "train": entry.counts[0],
        "test": entry.counts[1],
        "classes": list(entry.classes),
        "licence": entry.licence,
        "bundled": entry.bundled,
        "folder": folder and str(folder),
    }


def _text(d: dict) -> str:
    """Lines, because a row of all this is longer than a terminal is wide."""
    size, classes = "x".join(map(str, d["input"])), len(d["classes"])
    samples = f"{d['train']:,} + {d['test']:,} samples of {size} in {classes} classes"
    where = d["folder"] or f"not downloaded (cnncli download {d['name']})"
    return f"{d['title']}\n{samples}\nlicence: {d['licence']}\n{where}"
