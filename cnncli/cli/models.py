"""`cnncli models`: the zoo."""

import re
from itertools import takewhile
from pathlib import Path

import click

from cnncli.cli import options
from cnncli.errors import SpecificationError


@click.command("models")
@click.argument("name", required=False)
@options.as_json
def command(name, as_json):
    """List the models that come with cnncli, or print one.

    Every command takes the name of one of them as --model NAME. With NAME, its YAML is printed: a copy to change.

    \b
    Examples:
      cnncli models
      cnncli models lenet > my.yaml
    """
    from cnncli import spec

    zoo = spec.models()
    if name is not None:
        zoo = [(name.removesuffix(".yaml"), _find(name.removesuffix(".yaml"), dict(zoo)))]
        if not as_json:
            click.echo(zoo[0][1].read_text("utf-8"), nl=False)
            return
    described = [_describe(model, path) for model, path in zoo]
    if name is not None:
        options.print_json({**described[0], "yaml": zoo[0][1].read_text("utf-8")})
    elif as_json:
        options.print_json({"models": described})
    else:
        rows = [
            [m["name"], "x".join(map(str, m["input"])), m["layers"], f"{m['parameters']:,}", m["description"]]
            for m in described
        ]
        options.print_table(["name", "input", "layers", "parameters", "description"], rows, right=(1, 2, 3))


def _find(name: str, zoo: dict[str, Path]) -> Path:
    from cnncli.spec.words import quote, suggest

    if name not in zoo:
        raise SpecificationError(f"no model of the zoo is called {quote(name)}{suggest(name, zoo)}")
    return zoo[name]


def _describe(name: str, path: Path) -> dict:
    from cnncli import spec
    from cnncli.pictures.summary import summarize

    text = path.read_text("utf-8")
    summary = summarize(spec.parse(text, str(path)))
    return {
        "name": name,
        "input": [summary.input.channels, *summary.input.axes],
        "layers": len(summary.rows),
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "description": _description(text),
    }


def _description(text: str) -> str:
    """The first clause of the comment that a file begins with, without its citations in parentheses."""
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = re.sub(r"\s*\([^()]*\)", "", " ".join(line.strip("# ") for line in lines))
    return re.split(r"[.:;](?:\s|$)", comment)[0]
