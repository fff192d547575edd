"""What all commands have in common: a file, a help with examples, `--json`, and errors of one line."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cnncli import __version__, cli

HEAVY = ("numba", "numpy", "pydantic", "rich", "matplotlib")
SHOW_HELP = """
import json, sys
from cnncli.cli import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted(name for name in json.loads(sys.argv[2]) if name in sys.modules)))
"""


def process(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, **options)


def load(name: str) -> click.Command:
    return importlib.import_module(f"cnncli.cli.{name.replace('-', '_')}").command


def leaves(command: click.Command, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    """A command or, of a group, the commands in it, each with its path."""
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [found for name, inner in command.commands.items() for found in leaves(inner, *path, name)]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_has_a_file(name):
    assert (Path(cli.__file__).parent / f"{name.replace('-', '_')}.py").is_file()
    assert load(name).name == name


def test_top_level_help(run):
    ended = run("--help")
    assert (ended.code, ended.err) == (0, "")
    assert "Examples:" in ended.out
    for name, summary in cli.COMMANDS.items():
        assert f"  {name} " in ended.out
        assert summary in ended.out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_has_a_summary_and_examples(run, name):
    for path, command in [((name,), load(name)), *leaves(load(name), name)]:
        ended = run(*path, "--help")
        assert (ended.code, ended.err) == (0, "")
        assert f"Usage: cnncli {' '.join(path)} " in ended.out
        assert "Example" in ended.out
        assert f"cnncli {' '.join(path)}" in ended.out.partition("Example")[2]
        assert command.get_short_help_str(limit=200).endswith(".")
        assert run(*path, "-h").out == ended.out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_results_come_as_json_too(name):
    for path, command in leaves(load(name), name):
        flags = [option for parameter in command.params for option in parameter.opts]
        assert "--json" in flags, path


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_is_explained(name):
    for path, command in leaves(load(name), name):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_start_imports_nothing_heavy(arguments):
    if not arguments:  # the package alone
        code = f"import cnncli, json, sys; print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
        ended = process("-c", code)
    else:
        ended = process("-c", SHOW_HELP, json.dumps(arguments), json.dumps(HEAVY))
    assert ended.stderr == ""
    assert json.loads(ended.stdout.splitlines()[-1]) == []


def test_unknown_command_is_one_line(mistake):
    code, line = mistake("trian")
    assert code == 2
    assert "trian" in line


def test_unknown_option_is_one_line(mistake):
    code, line = mistake("models", "--jsno")
    assert code == 2
    assert "--jsno" in line
    assert "cnncli models --help" in line


def test_version(run):
    assert run("--version").out == f"cnncli, version {__version__}\n"


def test_as_a_module():
    ended = process("-m", "cnncli", "models", "lenet")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "name: lenet" in ended.stdout


def test_mistake_as_a_process_has_no_traceback(tmp_path):
    (tmp_path / "my.yaml").write_text("input: {channels: 1, size: [8, 8]}\nlayers:\n  - dens: 3\n")
    ended = process("-m", "cnncli", "summary", "--model", "my.yaml", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: my.yaml:3: ")
    assert ended.stderr.count("\n") == 1


def test_reader_that_leaves_early():
    command = [sys.executable, "-m", "cnncli", "models", "lenet"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    started.stdout.close()
    with started.stderr as stderr:
        assert stderr.read() == b""
    assert started.wait(timeout=120) == 1
