"""`cnncli benchmark`."""

import contextlib
import sys
from pathlib import Path

import click

from cnncli.cli import options
from cnncli.errors import printable

EXAMPLE = "6x14>16 5 p0"  # LeNet's second convolution: its dense matrix takes 7.5 MB
SUITES = ("resnet50", "resnet18", "vgg16", "mobilenet", "lenet", "cifar")
PEERS = ("torch", "jax", "onnxruntime", "openvino")


def _counts(context, parameter, value):
    return [options.thread_count(context, parameter, part) for part in value.split(",")]


def _peers(context, parameter, value):
    names = list(dict.fromkeys(value.split(","))) if value else []
    for name in names:
        if name not in PEERS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(PEERS)}")
    return names


@click.command("benchmark")
@click.option("--model", "-m", metavar="FILE_OR_NAME", help=f"{options.MODEL_HELP}  [default: lenet]")
@options.overrides
@options.batch_size
@click.option(
    "--threads", "-t", default="auto", show_default=True, callback=_counts, metavar="N,N,...", help="One row for each."
)
@click.option("--layers", is_flag=True, help="Also each layer: forward, data gradient and weight gradient.")
@click.option("--suite", type=click.Choice(SUITES), help="The convolutions of a known network, one by one.")
@click.option(
    "--algorithms",
    is_flag=False,
    flag_value=EXAMPLE,
    metavar="[CONVOLUTION]",
    help=f"One convolution, by default {EXAMPLE!r} (channels x size > filters kernel; also /STRIDE, p0, dw), as direct "
    "convolution, im2col with BLAS, and product with a dense and with a sparse matrix; and the textbook's example.",
)
@click.option(
    "--against", callback=_peers, metavar="NAME,...", help=f"Compare with other libraries: {', '.join(PEERS)}."
)
@click.option(
    "--peer-python",
    "pythons",
    multiple=True,
    metavar="PATH",
    help="A Python that has libraries to compare with. May be repeated.",
)
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="How often each is measured.")
@click.option(
    "--seconds",
    type=options.Finite(0.01),
    help="How long each contestant is measured  [default: 12; 1 for each single convolution]",
)
@click.option("--cold", is_flag=True, help="Begin with an empty kernel cache: the first step compiles.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the result, as a PNG file.")
@options.as_json
def command(model, overrides, batch_size, threads, layers, suite, algorithms, against, pythons, rounds, seconds, cold,
            plot, as_json):  # fmt: skip
    """Measure how fast a network trains and runs here.

    Data is synthetic and in memory; a training step is forward, backward and the optimiser's update, latency is the
    inference of one image. Each time is the median over the rounds, in brackets its quartiles. Compiling is apart from
    running. What the machine can do is measured too: multiply-adds in registers, and bytes from and to memory.

    With --against, every library runs in a process of its own with as many threads, in the layout that suits it best,
    and takes turns with cnncli. A ratio is their time over ours, the median over the pairs: above 1 cnncli is faster.

    \b
    Examples:
      cnncli benchmark
      cnncli benchmark --model mnist-fast --batch-size 256 --threads 1,2
      cnncli benchmark --model my.yaml --layers --json
      cnncli benchmark --suite resnet50 --against torch --plot resnet50.png
      cnncli benchmark --algorithms
    """
    _check(model or overrides, layers or cold, suite, algorithms, against)
    options.use_threads(max((count for count in threads if count), default=None))
    from cnncli import kernels, spec
    from cnncli.benchmark import measuring, peers, singles, suites
    from cnncli.cli import benchmark_tables as tables

    found = peers.interpreters(against, list(pythons), "convolution" if suite else "network")
    counts = [count or kernels.threads() for count in threads]
    with _telling() as tell:
        how = measuring.Options(rounds, seconds or (1.0 if suite or algorithms else 12.0), found, cold, tell)
        if suite:
            items, show = suites.suite(suite, batch_size), tables.print_suites
            results = [singles.suite(suite, items, count, how) for count in counts]
        elif algorithms:
            show = tables.print_algorithms
            results = [singles.by_algorithm(suites.parse(algorithms, batch_size or 1), count, how) for count in counts]
        else:
            specification, show = spec.read(model or "lenet", overrides), tables.print_networks
            batch = batch_size or specification.train.batch_size
            results = [measuring.network(specification, batch, count, layers, how) for count in counts]
    if plot:
        from cnncli.pictures import benchmark as pictures

        pictures.draw(results, plot)
    if as_json:
        options.print_json(results[0] if len(results) == 1 else {"results": results})
    else:
        show(results)


def _check(of_model, of_network, suite, algorithms, against):
    """Raises a UsageError where options do not go together."""
    if suite and algorithms:
        raise click.UsageError("give --suite or --algorithms, not both")
    single = "--suite" if suite else "--algorithms"
    if (suite or algorithms) and (of_model or of_network):
        raise click.UsageError(f"{single} has convolutions of its own: no --model, --set, --layers or --cold")
    if algorithms and against:
        raise click.UsageError("--algorithms compares within cnncli: no --against")


@contextlib.contextmanager
def _telling():
    """A function that shows what is being measured, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from tqdm import tqdm

    with tqdm(bar_format="{desc}  {elapsed}", leave=False) as bar:
        yield lambda text: bar.set_description_str(printable(text))
