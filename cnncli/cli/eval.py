"""`cnncli eval`."""

import click

from cnncli.cli import options


@click.command("eval")
@click.argument("run_or_checkpoint", required=False)
@options.dataset
@options.data_dir
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True, help="Which images.")
@options.batch_size
@options.threads
@options.as_json
def command(run_or_checkpoint, dataset, data_dir, split, batch_size, threads, as_json):
    """Measure a trained network on a data set.

    RUN_OR_CHECKPOINT is a run's folder (its best checkpoint is taken) or a .safetensors file; by default the newest
    run in runs/, on the data set that it was trained on.

    \b
    Examples:
      cnncli eval
      cnncli eval runs/lenet-mnist-1 --split train
      cnncli eval best.safetensors --dataset mnist --data-dir ~/data --json
    """
    options.use_threads(threads)
    from cnncli.network import PIXELS
    from cnncli.training import session

    path, evaluation = session.evaluate_checkpoint(run_or_checkpoint, dataset, data_dir, split, batch_size)
    summary = evaluation.summary()
    if as_json:
        options.print_json({"checkpoint": str(path), "split": split, **summary})
        return
    on = f"on {summary['count']:,} {split} images"
    if "accuracy" not in summary:
        options.say(f"{path}: loss {summary['loss']:.4g} {on}")
        return
    shares, columns = [("accuracy", "accuracy"), ("top-5", "top5_accuracy")], {"F1": "f1"}
    if evaluation.task == PIXELS:
        shares, columns = [("accuracy", "accuracy"), ("mean IoU", "mean_iou")], {"F1": "f1", "IoU": "iou"}
    measured = ", ".join(f"{name} {_percent(summary[key], 2)}" for name, key in shares)
    options.say(f"{path}: {measured}, loss {summary['loss']:.4f} {on}")
    click.echo()
    columns = {"precision": "precision", "recall": "recall", **columns}
    rows = [[r["class"], *(_percent(r[key]) for key in columns.values()), r["count"]] for r in summary["per_class"]]
    head = ["class", *columns, "pixels" if evaluation.task == PIXELS else "images"]
    options.print_table(head, rows, right=tuple(range(1, len(head))))
    if len(evaluation.classes) <= 20:
        click.echo("\nconfusion: a row for each class, a column for what it was taken for")
        rows = [[name, *row] for name, row in zip(evaluation.classes, summary["confusion"], strict=True)]
        options.print_table(["", *evaluation.classes], rows, right=tuple(range(1, len(rows) + 1)))


def _percent(value, digits=1):
    return "-" if value is None else f"{value:.{digits}%}"
