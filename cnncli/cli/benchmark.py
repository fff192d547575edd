"""`cnncli benchmark`."""

import click

from cnncli.cli import options


def _counts(context, parameter, value):
    return [options.thread_count(context, parameter, part) for part in value.split(",")]


@click.command("benchmark")
@click.option("--model", "-m", default="lenet", show_default=True, metavar="FILE_OR_NAME", help=options.MODEL_HELP)
@options.overrides
@options.batch_size
@click.option(
    "--threads", "-t", default="auto", show_default=True, callback=_counts, metavar="N,N,...", help="One row for each."
)
@click.option("--layers", is_flag=True, help="Also the time of each layer.")
@click.option("--seconds", type=click.FloatRange(0.1), default=12.0, show_default=True, help="How long to measure.")
@options.as_json
def command(model, overrides, batch_size, threads, layers, seconds, as_json):
    """Measure how fast a network trains and runs here.

    Data is synthetic and in memory. A training step is forward, backward and the optimiser's update; each time is the
    best of many repeats. Compiling is apart from running.

    \b
    Examples:
      cnncli benchmark
      cnncli benchmark --model mnist-fast --batch-size 256 --threads 1,2
      cnncli benchmark --model my.yaml --layers --json
    """
    options.use_threads(max((count for count in threads if count), default=None))
    from cnncli import spec
    from cnncli.training.benchmark import measure

    specification = spec.read(model, overrides)
    batch = batch_size or specification.train.batch_size
    results = measure(specification, batch, threads, seconds, layers)
    if as_json:
        options.print_json(results[0] if len(results) == 1 else {"results": results})
        return
    names = ("threads", "train_ms", "train_images_s", "infer_ms", "infer_images_s")
    heads = ["threads", "train ms", "train images/s", "infer ms", "infer images/s"]
    first = results[0]
    click.echo(f"{first['net']}, batch {first['batch']}")
    options.print_table(heads, [[f"{r[name]:,}" for name in names] for r in results], right=range(5))
    compiling = f"{first['compile_seconds']:.2f} s to compile or load kernels"
    click.echo(
        f"first step {first['first_step_seconds']:.2f} s, of it {compiling}; peak memory {first['peak_rss_mib']} MiB"
    )
    for result in results if layers else ():
        click.echo(f"\nlayers, {result['threads']} thread{'s' if result['threads'] > 1 else ''}")
        rows = [
            [r["layer"], f"{r['forward_ms']:.3f}", f"{r['backward_ms']:.3f}", *_speed(r, batch)]
            for r in result["layers"]
        ]
        options.print_table(["layer", "forward ms", "backward ms", "forward GFLOP/s"], rows, right=(1, 2, 3))


def _speed(row, batch):
    flops = 2 * row["multiply_adds"] * batch
    return [f"{flops / row['forward_ms'] / 1e6:.0f}" if flops else ""]
