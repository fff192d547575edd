"""`cnncli datasets`: the catalogue."""

import click

from cnncli.cli import options

MEANING = {
    "classes": "a class each",
    "pixels": "a class for each pixel (pixels are counted below)",
    "unlabelled": "without classes",
}


@click.command("datasets")
@click.argument("name_or_path", required=False)
@options.data_dir
@options.as_json
def command(name_or_path, data_dir, as_json):
    """List the data sets that cnncli knows by name, where they lie, and what else it reads.

    With NAME_OR_PATH, which is what --dataset takes: read it, and say what is in it.

    \b
    Examples:
      cnncli datasets
      cnncli datasets --data-dir ~/data
      cnncli datasets ~/photos
      cnncli datasets --json
    """
    if name_or_path:
        _show(name_or_path, data_dir, as_json)
    else:
        _list(data_dir, as_json)


def _show(name_or_path, data_dir, as_json) -> None:
    from cnncli.datasets import load

    dataset = load(name_or_path, data_dir)
    counts = zip(dataset.classes, dataset.counts(dataset.train), dataset.counts(dataset.test), strict=True)
    found = {
        "name": dataset.name,
        "source": dataset.source,
        "task": dataset.task,
        "input": [dataset.channels, *dataset.axes],
        "type": str(dataset.train.images.dtype),
        "train": len(dataset.train.images),
        "test": len(dataset.test.images),
        "classes": [{"class": name, "train": train, "test": test} for name, train, test in counts],
    }
    if as_json:
        options.print_json(found)
        return
    size, samples = "x".join(map(str, found["input"])), f"{found['train']:,} + {found['test']:,} samples"
    options.say(f"{found['source']}: {samples} of {size} {found['type']}, {MEANING[found['task']]}")
    if found["classes"]:
        rows = [[row["class"], f"{row['train']:,}", f"{row['test']:,}"] for row in found["classes"]]
        click.echo()
        options.print_table(["class", "train", "test"], rows, right=(1, 2))


def _list(data_dir, as_json) -> None:
    from cnncli.datasets import DATASETS, FORMATS

    found = [_describe(name, entry, data_dir) for name, entry in DATASETS.items()]
    if as_json:
        options.print_json({"datasets": found, "formats": FORMATS})
    else:
        rows = [[d["name"], _text(d) + ([""] if d is not found[-1] else [])] for d in found]
        options.print_table(["name", "what it holds, and where it lies"], rows)
        click.echo()
        options.print_table(["by path", "what is read"], [[kind, text] for kind, text in FORMATS.items()])
        click.echo("\nfolders may lie in train/ and test/; without them a part is held out (see the README)")


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


def _text(d: dict) -> list[str]:
    """Lines, because a row of all this is longer than a terminal is wide."""
    size, classes = "x".join(map(str, d["input"])), len(d["classes"])
    samples = f"{d['train']:,} + {d['test']:,} samples of {size} in {classes} classes"
    where = d["folder"] or f"not downloaded (cnncli download {d['name']})"
    return [d["title"], samples, f"licence: {d['licence']}", where]
