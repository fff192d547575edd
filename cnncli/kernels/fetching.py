"""Fetching memory ahead of its use."""

from numba import types
from numba.extending import intrinsic, overload

from cnncli.kernels.vectors import REALS, Vectors

LINE = 64  # bytes of a cache line


def _one(write):
    @intrinsic
    def emit(context, address):
        def codegen(context, builder, signature, arguments):
            Vectors(builder, 1, 4).prefetch(builder.inttoptr(arguments[0], REALS[4].as_pointer()), write=write)
            return context.get_dummy_value()

        return types.void(types.intp), codegen

    return emit


_to_read, _to_write = _one(False), _one(True)


def fetch(address, size):
    """Ask for `size` bytes from an address on, which need not be valid."""


def fetch_to_write(address, size):
    """Ask for the same to write to."""


@overload(fetch, inline="always")
def _fetch(address, size):
    def implementation(address, size):
        for offset in range(0, size, LINE):
            _to_read(address + offset)

    return implementation


@overload(fetch_to_write, inline="always")
def _fetch_to_write(address, size):
    def implementation(address, size):
        for offset in range(0, size, LINE):
            _to_write(address + offset)

    return implementation
