"""Numba's disk cache as something that may fail: the kernels are compiled then, and not kept.

Numba raises where the disk is full (without a file's name), may not be written, or holds what a crash cut short.
"""

import os
import tempfile
from pathlib import Path

from numba import config
from numba.core import caching, ccallback, dispatcher

_problem: str | None = None


class _Place(caching.UserProvidedCacheLocator):
    """The folder that numba is told, even if it cannot be made: numba would go on beside the source.

    There it would keep kernels under names that know neither versions nor other files.
    """

    @classmethod
    def from_function(cls, function, file):
        return cls(function, file) if os.path.exists(file) else None


class _Results(caching.CompileResultCacheImpl):
    _locator_classes = (_Place, *caching.CompileResultCacheImpl._locator_classes)


class _Cache(caching.FunctionCache):
    """The cache of one function. After a first problem nothing more is written."""

    _impl_class = _Results

    def load_overload(self, signature, context):
        try:
            return super().load_overload(signature, context)
        except (OSError, MemoryError):  # the file may be whole
            return None
        except Exception:  # pickle and numba fail in any way on a file that was cut short
            _attempt(self.flush)  # else what is compiled in its place could not be kept
            return None

    def save_overload(self, signature, compiled):
        if not _problem:
            _attempt(super().save_overload, signature, compiled)


def _attempt(function, *arguments) -> None:
    global _problem
    try:
        function(*arguments)
    except OSError as error:
        _problem = f"{config.CACHE_DIR}: {error.strerror or error}"


def _write_byte() -> None:
    """An empty file can be made on a full disk."""
    folder = Path(config.CACHE_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")


def problem(test: bool = False) -> str | None:
    """Why kernels are not kept, as far as that has shown: the folder and the reason. `test` writes a byte first."""
    if test and not _problem:
        _attempt(_write_byte)
    return _problem


def install(folder: Path) -> None:
    """Have numba keep its functions in a folder, from now on."""
    config.CACHE_DIR = str(folder)
    dispatcher.FunctionCache = ccallback.FunctionCache = _Cache
