"""`cnncli check`: model files without training them."""

import sys

import click

from cnncli.cli import options
from cnncli.errors import CnncliError


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE_OR_NAME...")
@options.overrides
@options.as_json
def command(files, overrides, as_json):
    """Check model files without training them.

    Every key, its value and the shapes from layer to layer are checked. A mistake is one line that names the file and
    the line in it. All files are checked; the exit code is 2 where one of them is wrong.

    \b
    Examples:
      cnncli check my.yaml
      cnncli check models/*.yaml
      cnncli check lenet --set layers[0].conv.filters=12
    """
    results, worst = [], 0
    for file in files:
        try:
            results.append({"file": file, "ok": True, **_check(file, overrides)})
        except CnncliError as error:
            results.append({"file": file, "ok": False, "error": " ".join(str(error).split())})
            worst = max(worst, error.exit_code)
        if not as_json:
            _print(results[-1])
    if as_json:
        options.print_json({"files": results})
    sys.exit(worst)


def _check(file: str, overrides: tuple[str, ...]) -> dict:
    from cnncli import network, spec

    nodes = network.nodes(spec.read(file, overrides))
    return {
        "layers": len(nodes),
        "parameters": sum(node.learned for node in nodes),
        "input": str(nodes[0].shape),
        "output": str(nodes[-1].output),
    }


def _print(result: dict) -> None:
    if not result["ok"]:
        options.say(f"error: {result['error']}", err=True)
        return
    layers = f"{result['layers']} layer{'' if result['layers'] == 1 else 's'}"
    counts = f"{layers}, {result['parameters']:,} parameters"
    options.say(f"{result['file']}: ok, {counts}, {result['input']} -> {result['output']}")
