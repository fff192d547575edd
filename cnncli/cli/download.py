"""`cnncli download`: a data set of the catalogue into the data folder."""

import sys

import click

from cnncli.cli import options


@click.command("download")
@click.argument("name")
@options.data_dir
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL_OR_FOLDER",
    help="Where the files lie, in place of the publisher's addresses; may be given several times, the best first.",
)
@options.as_json
def command(name, data_dir, mirrors, as_json):
    """Download a data set (see: cnncli datasets) and print its folder.

    Every file is checked against its published checksum; those that are there already are not fetched again, and a
    download that was interrupted goes on where it stopped. Nothing but this command uses the network.

    \b
    Examples:
      cnncli download mnist
      cnncli download mnist --data-dir ~/data
      cnncli download mnist --mirror ~/Downloads --mirror https://example.org/mnist/
    """
    from cnncli.datasets import download

    files = download(name, data_dir, mirrors, _bar if sys.stderr.isatty() else None)
    folder = str(files[0].parent)
    if as_json:
        options.print_json({"name": name, "folder": folder, "files": [file.name for file in files]})
    else:
        options.say(folder)


def _bar(name: str, size: int, there: int):
    from tqdm import tqdm

    return tqdm(desc=name, total=size, initial=there, unit="B", unit_scale=True, unit_divisor=1024)
