"""`cnncli predict`."""

from pathlib import Path

import click

from cnncli.cli import options


@click.command("predict")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--run", "-r", metavar="RUN_OR_CHECKPOINT", help="The network [default: the newest run].")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to name.")
@click.option("--invert", is_flag=True, help="Dark on light becomes light on dark, as MNIST's digits are.")
@options.threads
@options.as_json
def command(images, run, top, invert, threads, as_json):
    """Say what a trained network sees in images.

    Each image is turned to grey or colour and resized as the network's input asks.

    \b
    Examples:
      cnncli predict digit.png
      cnncli predict --run runs/lenet-mnist-1 --invert scan-*.png --json
    """
    options.use_threads(threads)
    from cnncli.training import session

    results = session.predict(run, list(images), invert)
    if as_json:
        options.print_json({"predictions": results})
        return
    for result in results:
        named = list(result["probabilities"].items())[:top]
        click.echo(f"{result['file']}: " + ", ".join(f"{name} ({value:.1%})" for name, value in named))
