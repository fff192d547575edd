"""The command line: one file a command, loaded when it is called. A command parses, calls one function and prints."""

import importlib
import os
import sys
from contextlib import suppress

# Before NumPy is imported: its OpenBLAS cuts sums by the number of its threads, as many as there are cores. The
# eigenvectors of 75 columns and products of 300 had other bits on two threads, and with them what initialisers learn.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import click

from cnncli import __version__
from cnncli.cli import environment
from cnncli.errors import CnncliError, one_line

COMMANDS = {
    "train": "Train a network and write its checkpoints.",
    "eval": "Measure a trained network on a data set.",
    "predict": "Say what a trained network sees in images.",
    "benchmark": "Measure how fast a network trains and runs here.",
    "summary": "Show a network's layers, shapes, parameters and costs.",
    "check": "Check a model file without training it.",
    "gradcheck": "Check a network's gradients against finite differences.",
    "models": "List the models that come with cnncli.",
    "datasets": "List the data sets that cnncli knows, or say what is in one.",
    "download": "Download a data set.",
    "cache": "Show, fill or clear the cache of compiled kernels.",
    "info": "Show versions, processor and folders, to paste into a report.",
}


class Commands(click.Group):
    """A group that imports a command's file when the command is called: the help needs none of them."""

    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"cnncli.cli.{name.replace('-', '_')}").command

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="cnncli")
def cli():
    """Train convolutional networks on the CPU, from a YAML file.

    \b
    Examples:
      cnncli train --model lenet                 LeNet on the bundled digits
      cnncli train --model my.yaml --dataset mnist --data-dir ~/data
      cnncli eval                                the newest run, on its test images
      cnncli benchmark                           LeNet's speed on this machine
    """
    environment.check()


def fail(message: str, code: int) -> None:
    """One line on stderr, and the exit code. Names of files may hold what a terminal would obey."""
    with suppress(OSError):  # the terminal has left: the code still tells
        click.echo(f"error: {one_line(message)}", err=True)
    sys.exit(code)


def _open_streams() -> None:
    """Give a process that began without one of its streams, as by `2>&-`, one to nowhere.

    The next file that it opens would have the number of that stream, and what a library says would be written into it.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the stream's own
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w"))  # noqa: SIM115 (as long as the process)


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Whatever a user may do wrong ends in one line and the documented exit code."""
    _open_streams()
    if hasattr(sys.stdout, "reconfigure"):  # names of files may be no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(cli.main(arguments, prog_name="cnncli", standalone_mode=False))
    except CnncliError as error:
        fail(str(error), error.exit_code)
    except click.UsageError as error:
        hint = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
        fail(error.format_message() + hint, 2)
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        fail("interrupted", 130)
    except BrokenPipeError:
        # the reader of our output left, as `head` does: nothing to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        fail(f"{error.filename or 'input/output'}: {error.strerror or error}", 1)
    except MemoryError:
        fail("out of memory: try a smaller --batch-size, or a smaller model (cnncli summary shows what needs it)", 1)
    except (RuntimeWarning, ValueError) as error:
        if problem := environment.problem(error):
            fail(problem, 2)
        raise
