"""`cnncli train`."""

from pathlib import Path

import click

from cnncli.cli import options
from cnncli.cli.signals import Stop
from cnncli.errors import StoppedError

OVERRIDES = {
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "seed": "train.seed",
    "save_every": "train.save_every",
}
NOT_WITH_RESUME = {name: f"--{name.replace('_', '-')}" for name in ("model", "out", "lr", "no_shuffle", *OVERRIDES)} | {
    "overrides": "--set"
}


@click.command("train")
@click.option("--model", "-m", metavar="FILE_OR_NAME", help=options.MODEL_HELP)
@options.dataset
@options.data_dir
@click.option(
    "--epochs", "-e", type=click.IntRange(0), help="Passes over the training images; 0 writes the first checkpoint."
)
@options.batch_size
@click.option("--lr", type=options.Finite(0, min_open=True), help="The learning rate at the schedule's peak.")
@options.seed
@options.threads
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder [default: runs/MODEL-DATASET-N].")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with this run; it knows the rest."
)
@click.option("--other-versions", is_flag=True, help="Resume although versions, or the processor, have changed.")
@click.option("--save-every", metavar="N", help="Steps between checkpoints, or 5min, or 1epoch [default: 1epoch].")
@options.max_memory
@click.option("--no-shuffle", is_flag=True, help="Take the images in their order in every epoch.")
@options.overrides
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--verbose", "-v", is_flag=True, help="Also say versions and memory.")
def command(resume, other_versions, threads, max_memory, as_json, quiet, verbose, **given):
    """Train a network and write its checkpoints.

    The run's folder gets the model, a line of metrics an epoch, best.safetensors and last.safetensors. Ctrl-C, SIGTERM
    and SIGHUP let it finish the step and save; a second one ends it at once.

    \b
    Examples:
      cnncli train --model lenet
      cnncli train --model lenet --dataset mnist --data-dir ~/data --epochs 4
      cnncli train --model my.yaml --lr 0.05 --set train.schedule=cosine
      cnncli train --resume runs/lenet-digits-1
    """
    unwanted = [option for name, option in NOT_WITH_RESUME.items() if _is_given(given[name])]
    if resume and unwanted:
        raise click.UsageError(f"--resume goes on as the run began: {unwanted[0]} cannot change it")
    if other_versions and not resume:
        raise click.UsageError("--other-versions is for --resume RUN")
    if not resume and not given["model"]:
        raise click.UsageError("give --model FILE_OR_NAME (cnncli models lists the zoo), or --resume RUN")
    options.use_threads(threads)
    from cnncli.cli.progress import Progress
    from cnncli.training import session

    def train(stop):
        if resume:
            where = {"dataset": given["dataset"], "data_dir": given["data_dir"]}
            return session.resume(
                resume, listener, threads, max_memory, **where, other_versions=other_versions, stop=stop
            )
        return session.start(_request(given, threads, max_memory), listener, stop)

    listener = Progress(quiet, verbose)
    try:
        result = _until_stopped(train)
    finally:
        listener.close()
    if as_json:
        options.print_json(result)
    else:
        print_result(result)


def _is_given(value) -> bool:
    return value is not None and value is not False and value != ()  # 0 is given


def _request(given: dict, threads: int | None, max_memory: int | None):
    from cnncli.training.session import Request

    changes = [f"{key}={given[name]}" for name, key in OVERRIDES.items() if given[name] is not None]
    return Request(
        model=given["model"],
        dataset=given["dataset"] or "digits",
        data_dir=given["data_dir"],
        out=given["out"],
        changes=(*given["overrides"], *changes),
        lr=given["lr"],
        shuffle=not given["no_shuffle"],
        threads=threads,
        max_memory=max_memory,
    )


def _until_stopped(train) -> dict:
    """`train(stop)`, whose end by a signal is one line and the signal's exit code."""
    with Stop() as stop:
        try:
            return train(stop)
        except (StoppedError, KeyboardInterrupt) as error:
            ended = StoppedError(str(error) or "interrupted")
            ended.exit_code = stop.exit_code
            raise ended from None


def print_result(result: dict) -> None:
    """The result in a line, and what to do with it."""
    if result["test_loss"] is None:
        text = "the first checkpoint is written" if not result["epochs"] else "was complete: nothing to do"
        options.say(f"{result['run']}: {text}")
        return
    speed = f"{result['train_seconds']:.1f} s, {result['images_per_second']:,.0f} images/s"
    measured = f"test loss {result['test_loss']:.4g}"
    if result["test_accuracy"] is not None:
        measured = f"test accuracy {result['test_accuracy']:.2%}, best {result['best_test_accuracy']:.2%}"
    options.say(f"{result['run']}: {measured} ({speed})")
