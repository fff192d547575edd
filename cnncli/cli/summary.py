"""`cnncli summary`: a network's layers and what they cost."""

import dataclasses

import click

from cnncli import memory
from cnncli.cli import options

COLUMNS = ["layer", "output", "window", "parameters", "multiply-adds", "memory", "sees"]


@click.command("summary")
@options.model
@options.overrides
@options.batch_size
@options.as_json
def command(model, overrides, batch_size, as_json):
    """Show a network's layers, shapes, parameters and costs.

    Shapes are channels first. Multiply-adds are for one sample, forward. Memory is a layer's output and its gradient
    while training in batches. Sees is the receptive field: how much of the input one output depends on.

    \b
    Examples:
      cnncli summary --model lenet
      cnncli summary --model my.yaml --batch-size 256
      cnncli summary --model lenet --json
    """
    from cnncli import spec
    from cnncli.pictures.summary import summarize

    summary = summarize(spec.read(model, overrides), batch_size)
    if as_json:
        options.print_json(_as_dict(summary))
    else:
        options.print_table(COLUMNS, _rows(summary), right=(1, 2, 3, 4, 5, 6))
        click.echo()
        options.print_pairs(_totals(summary))


def _rows(summary) -> list[list]:
    rows = [["input", summary.input, "", "", "", memory.text(summary.input_memory), ""]]
    for row in summary.rows:
        named = not row.path.partition("@")[0].endswith(f"_{row.kind}")
        rows.append(
            [
                f"{row.path} ({row.kind})" if named else row.path,
                row.output,
                _window(row),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.multiply_adds:,}" if row.multiply_adds else "",
                memory.text(row.memory) if row.memory else "",
                _by("x", row.field),
            ]
        )
    return rows


def _totals(summary) -> dict[str, str]:
    weights, activations = memory.text(summary.weight_memory), memory.text(summary.activation_memory)
    return {
        "parameters": f"{summary.parameters:,}",
        "multiply-adds": f"{summary.multiply_adds:,} for one sample, forward",
        "memory": f"{weights} for parameters, gradients and {summary.optimizer}'s state",
        "": f"{activations} for layers and their gradients, in batches of {summary.batch_size}",
    }


def _window(row) -> str:
    """`5x5`, or with a stride `2x2/2`."""
    if row.window is None:
        return ""
    stride = row.stride[:1] if len(set(row.stride)) == 1 else row.stride
    return _by("x", row.window) + (f"/{_by('x', stride)}" if set(stride) != {1} else "")


def _by(separator: str, numbers) -> str:
    return separator.join(str(n) if isinstance(n, int) else f"{n:.3g}" for n in numbers)


def _as_dict(summary) -> dict:
    layers = []
    for row in summary.rows:
        layer = dataclasses.asdict(row)
        layer["output"] = [row.output.channels, *row.output.axes]
        layer["receptive_field"] = layer.pop("field")
        layers.append(layer)
    return {
        "name": summary.name,
        "input": [summary.input.channels, *summary.input.axes],
        "batch_size": summary.batch_size,
        "optimizer": summary.optimizer,
        "layers": layers,
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "weight_memory": summary.weight_memory,
        "activation_memory": summary.activation_memory,
    }
