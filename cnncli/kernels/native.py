"""Compiled functions by their addresses: what is written in LLVM is compiled once, as C functions that kernels call.

A C function here takes addresses and counts, all int64, and returns nothing. Its variants (so many channels, with or
without pooling) are compiled when a plan first asks for one, each in a tenth of a second, and cached: a kernel takes
the address as an argument, so that it compiles once whatever the variants.

What is compiled can also be listed first, and compiled elsewhere: see `ahead`.
"""

from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache, wraps

from llvmlite import ir
from numba import cfunc, config, types
from numba.core import cgutils, event
from numba.extending import intrinsic

from cnncli.kernels.vectors import I64, at, integer

_listed: list | None = None


@contextmanager
def listing():
    """Inside, what would be compiled is only listed, as calls (function, arguments): programs made here do nothing."""
    global _listed
    outer, _listed = _listed, []
    try:
        yield _listed
    finally:
        _listed = outer


def compiles(make: Callable) -> Callable:
    """`make`, which compiles or loads and returns an address, called once for its arguments; 0 inside `listing`."""
    cached = lru_cache(maxsize=None)(make)

    @wraps(make)
    def once(*arguments):
        if _listed is None:
            return cached(*arguments)
        _listed.append((once, arguments))
        return 0

    return once


@compiles
def address_of(make, *variant) -> int:
    """The address of the C function `make(*variant)`, compiled or loaded; 0 where nothing is compiled.

    `make` returns a Python function of integers alone that closes over nothing but numbers: the cache knows it by them.
    """
    if config.DISABLE_JIT:
        return 0
    function = make(*variant)
    # an index of its own in the cache: numba's is not safe where two processes add to it
    function.__qualname__ = ".".join(map(str, (make.__qualname__, *variant)))
    signature = types.void(*[types.intp] * function.__code__.co_argcount)
    with event.trigger_event("numba:compile"):  # a cfunc does not tell of it by itself
        compiled = cfunc(signature, cache=True, error_model="numpy")(function)
    _kept.append(compiled)
    return compiled.address


def named(name: str, parameters: int):
    """The C function that `llvmlite.binding.add_symbol` will give a name, for kernels to call by it."""
    NAMES.append(name)
    return types.ExternalFunction(name, types.void(*[types.intp] * parameters))


NAMES: list[str] = []
_kept: list = []  # the code lives as long as what compiled it


@intrinsic
def call(context, address, arguments):
    """Call the C function at an address with a tuple of integers."""

    def codegen(context, builder, signature, values):
        address, group = values
        integers = [
            context.cast(builder, value, of, types.intp)
            for value, of in zip(cgutils.unpack_tuple(builder, group), signature.args[1], strict=True)
        ]
        kind = ir.FunctionType(ir.VoidType(), [I64] * len(integers)).as_pointer()
        builder.call(builder.inttoptr(address, kind), integers)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen


@intrinsic
def packed(context, integers):
    """The address of a tuple's integers, side by side on the stack of the function that calls this."""

    def codegen(context, builder, signature, values):
        words = cgutils.unpack_tuple(builder, values[0])
        block = cgutils.alloca_once(builder, I64, size=len(words))
        for i, (word, of) in enumerate(zip(words, signature.args[0], strict=True)):
            builder.store(context.cast(builder, word, of, types.intp), at(builder, block, integer(i)))
        return builder.ptrtoint(block, I64)

    return types.intp(integers), codegen
