"""`cnncli predict`."""

from pathlib import Path

import click

from cnncli.cli import options


@click.command("predict")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--run", "-r", metavar="RUN_OR_CHECKPOINT", help="The network [default: the newest run].")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to name.")
@click.option("--out", "-o", metavar="DIR", type=click.Path(path_type=Path), help="Where maps and pictures go.")
@click.option("--invert", is_flag=True, help="Dark on light becomes light on dark, as MNIST's digits are.")
@options.threads
@options.as_json
def command(images, run, top, out, invert, threads, as_json):
    """Say what a trained network sees in images.

    Each image is turned to grey or colour and resized as the network's input asks. A network that labels pixels
    writes a map of them, one that reconstructs its input a picture, into the folder --out.

    \b
    Examples:
      cnncli predict digit.png
      cnncli predict --run runs/lenet-mnist-1 --invert scan-*.png --json
      cnncli predict --run runs/unet-membranes-1 --out labels slice-*.png
    """
    options.use_threads(threads)
    from cnncli.training.prediction import predict

    results = predict(run, list(images), invert, out)
    if as_json:
        options.print_json({"predictions": results})
        return
    for result in results:
        shares = result.get("probabilities") or result.get("shares")
        text = ", ".join(f"{name} ({share:.1%})" for name, share in list((shares or {}).items())[:top])
        if "map" in result:
            text = f"{result['map']}: {text}"
        elif "picture" in result:
            text = f"{result['picture']}, loss {result['loss']:.4g}"
        options.say(f"{result['file']}: {text}")
