"""`cnncli info`: what somebody who helps needs to know of this machine."""

import os
import platform

import click

from cnncli import __version__
from cnncli.cli import options
from cnncli.errors import DataError

PLAIN = ("cnncli", "python", "numba", "llvmlite", "numpy", "system", "processor")


@click.command("info")
@options.as_json
def command(as_json):
    """Show versions, processor and folders, to paste into a report.

    \b
    Examples:
      cnncli info
      cnncli info --json
    """
    result = _collect()
    if as_json:
        options.print_json(result)
        return
    vectors = f"{result['vector_registers']} of {8 * result['vector_bytes']} bits"
    fma = "with" if result["fma"] else "without"
    options.print_pairs(
        {
            **{name: result[name] for name in PLAIN},
            "cores": f"{result['usable_cores']} of {result['cores']} usable",
            "vectors": f"{vectors}, {fma} fused multiply-add",
            "threads": f"{result['threads']}, by the first that works of {', '.join(result['threading_layers'])}",
            "kernel cache": result["cache"],
            "data sets": result["data"],
        }
    )


def _collect() -> dict:
    from cnncli import kernels
    from cnncli.benchmark import machine
    from cnncli.kernels.vectors import HOST

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cnncli": __version__,
        "python": platform.python_version(),
        **kernels.versions(),
        "system": platform.platform(),
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "vector_bytes": HOST.bytes,
        "vector_registers": HOST.registers,
        "fma": HOST.fma,
        "threads": kernels.threads(),
        "threading_layers": kernels.threading_layers(),
        "cache": str(kernels.CACHE),
        "data": _data_home(),
    }


def _data_home() -> str:
    """The folder, or why there is none: this command is for what does not work."""
    from cnncli.datasets import data_home

    try:
        return str(data_home())
    except DataError as error:
        return str(error)
