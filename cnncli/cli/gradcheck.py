"""`cnncli gradcheck`."""

import click

from cnncli.cli import options


@click.command("gradcheck")
@options.model
@options.overrides
@click.option(
    "--samples", type=click.IntRange(1), default=8, show_default=True, help="Elements checked of each parameter."
)
@options.seed
@options.threads
@options.as_json
def command(model, overrides, samples, seed, threads, as_json):
    """Check a network's gradients against finite differences, in float64.

    Some elements of every parameter's gradient are compared; exit code 1 if any of them is off.

    \b
    Examples:
      cnncli gradcheck --model lenet
      cnncli gradcheck --model my.yaml --samples 50
    """
    options.use_threads(threads)
    from cnncli import spec
    from cnncli.network.gradcheck import check_gradients

    rows = check_gradients(spec.read(model, overrides), samples, seed or 0)
    passed = all(row.passed for row in rows)
    if as_json:
        options.print_json({"passed": passed, "parameters": [vars(row) | {"passed": row.passed} for row in rows]})
    else:
        table = [[r.name, r.checked, f"{r.worst:.1e}", "ok" if r.passed else "WRONG"] for r in rows]
        options.print_table(["parameter", "checked", "worst error / allowed", ""], table, right=(1, 2))
    if not passed:
        raise click.exceptions.Exit(1)
