"""Programs: kernels with their arguments in a table, which one compiled function walks. No Python between two kernels.

A `kernel` is a serial loop over a range of tasks. It is compiled for the types of its arguments as a C function of
four integers: the address of a descriptor that holds the arguments, the first and the last task, and the thread. `run`,
the only function with threads in it, hands out the tasks. So no kernel compiles a parallel loop of its own; a whole
inference is one call from Python; and steps that are not worth a thread's waking run without. LeNet's inference of one
image took 25 us as seven calls of parallel kernels, 15 of serial ones, and takes 10 as one program.

With NUMBA_DISABLE_JIT=1 a step calls the Python function with its arguments.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from types import FunctionType

import numpy as np
from llvmlite import ir
from numba import cfunc, config, get_thread_id, njit, prange, types
from numba.core import cgutils, event
from numba.extending import intrinsic
from numba.np import numpy_support
from numba.np.arrayobj import make_array, populate_array

from cnncli.kernels.native import call, compiles
from cnncli.kernels.vectors import I64, at, integer

WORTH = 6000  # nanoseconds of work that are worth waking threads for: a parallel region costs 2000 to 3000
MULTIPLY_ADDS, ELEMENTS = 64, 4  # that one thread does in a nanosecond, about

_kept: list = []  # compiled code lives as long as what compiled it


def _type(word: str):
    """The type of an argument: one of the words of a layout, such as float32:2 (an array), int64, tuple:3, float64."""
    name, _, count = word.partition(":")
    if name == "tuple":
        return types.UniTuple(types.int64, int(count))
    scalar = numpy_support.from_dtype(np.dtype(name))
    return types.Array(scalar, int(count), "C") if count else scalar


def _word(argument) -> str:
    if isinstance(argument, np.ndarray):
        return f"{argument.dtype}:{argument.ndim}"
    if isinstance(argument, tuple):
        return f"tuple:{len(argument)}"
    if isinstance(argument, bool | np.bool_):
        return "bool"
    return str(argument.dtype) if isinstance(argument, np.generic) else type(argument).__name__ + "64"


def _numbers(argument) -> list[int]:
    """An argument's words in the descriptor: an array's address and shape, an integer, the bits of a float."""
    if isinstance(argument, np.ndarray):
        return [argument.ctypes.data, *argument.shape]
    if isinstance(argument, tuple):
        return list(argument)
    if isinstance(argument, float | np.floating):
        return [int(np.float64(argument).view(np.int64))]
    return [int(argument)]


@intrinsic(prefer_literal=True)
def _unpack(context, descriptor, layout):
    """The arguments in a descriptor as a tuple."""
    kinds = [_type(word) for word in layout.literal_value.split()]
    result = types.Tuple(kinds)

    def codegen(context, builder, signature, arguments):
        words, place = builder.inttoptr(arguments[0], I64.as_pointer()), 0

        def take():
            nonlocal place
            place += 1
            return builder.load(at(builder, words, integer(place - 1)))

        values = []
        for kind in kinds:
            if isinstance(kind, types.Array):
                values.append(_emit_array(context, builder, kind, take(), [take() for _ in range(kind.ndim)]))
            elif isinstance(kind, types.UniTuple):
                values.append(context.make_tuple(builder, kind, [take() for _ in range(kind.count)]))
            elif isinstance(kind, types.Float):
                values.append(context.cast(builder, builder.bitcast(take(), ir.DoubleType()), types.float64, kind))
            else:
                values.append(context.cast(builder, take(), types.int64, kind))
        return context.make_tuple(builder, result, values)

    return result(descriptor, layout), codegen


def _emit_array(context, builder, kind, address, shape):
    itemsize = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides = [integer(itemsize)]
    for length in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], length))
    array = make_array(kind)(context, builder)
    data = builder.inttoptr(address, context.get_data_type(kind.dtype).as_pointer())
    populate_array(
        array,
        data=data,
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=integer(itemsize),
        meminfo=None,
    )
    return array._getvalue()


def _entry(descriptor, first, last, thread):
    _function(first, last, *_unpack(descriptor, _layout))  # noqa: F821 - each kernel's entry has globals of its own


def _entry_with_thread(descriptor, first, last, thread):
    _function(first, last, thread, *_unpack(descriptor, _layout))  # noqa: F821 - as above


@dataclass(frozen=True)
class Kernel:
    """`function(first, last, *arguments)`, which does the tasks from `first` to before `last`.

    If its third parameter is called `thread` it is told the number of the thread that runs it, below `most_threads()`:
    for memory to work in, which decides nothing.
    """

    function: Callable

    @property
    def of_thread(self) -> bool:
        return "thread" in self.function.__code__.co_varnames[2:3]

    def step(self, tasks: int, *arguments, multiply_adds: int = 0) -> "Step":
        """The kernel with its arguments: contiguous arrays, numbers, tuples of integers.

        Whether it is worth threads is told by its `multiply_adds`, if it has any, else by its largest array.
        """
        if not all(a.flags.c_contiguous for a in arguments if isinstance(a, np.ndarray)):
            raise ValueError("a kernel takes contiguous arrays alone")
        elements = max(a.size for a in arguments if isinstance(a, np.ndarray))
        nanoseconds = multiply_adds / MULTIPLY_ADDS if multiply_adds else elements / ELEMENTS
        return Step(self, tasks, arguments, tasks > 1 and nanoseconds > WORTH)

    def __str__(self) -> str:
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def __reduce__(self):
        # pickled by its name
        return resolve_name, (str(self),)

    @compiles
    def address(self, layout: str) -> int:
        """The C function for arguments of a layout, compiled or loaded."""
        jitted = njit(error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
        own = {**globals(), "_function": jitted(self.function), "_layout": layout}
        entry = FunctionType((_entry_with_thread if self.of_thread else _entry).__code__, own)
        # numba's cache knows a function by its name and code, not by its globals
        entry.__qualname__ = f"{self.function.__module__}.{self.function.__qualname__}.{layout}".replace(" ", ".")
        entry.__qualname__ = entry.__qualname__.replace(":", "")
        with event.trigger_event("numba:compile"):
            compiled = cfunc(types.void(*[types.intp] * 4), cache=True, error_model="numpy")(entry)
        _kept.append(compiled)
        return compiled.address


def kernel(function: Callable) -> Kernel:
    """Declare a kernel."""
    return Kernel(function)


@dataclass(frozen=True)
class Step:
    """A kernel with its arguments, ready to run."""

    kernel: Kernel
    tasks: int
    arguments: tuple
    parallel: bool


class Program:
    """Steps that run one after another: a call without arguments."""

    def __init__(self, steps: Iterable[Step]):
        self.steps, self._descriptors, rows = list(steps), [], []
        if config.DISABLE_JIT:
            return
        for step in self.steps:
            words = [number for argument in step.arguments for number in _numbers(argument)]
            self._descriptors.append(np.array(words, np.int64))
            address = step.kernel.address(" ".join(_word(argument) for argument in step.arguments))
            if address:  # else it is only listed
                rows.append((address, self._descriptors[-1].ctypes.data, step.tasks, step.parallel))
        self._table = np.array(rows, np.int64).reshape(-1, 4)

    def __call__(self) -> None:
        if config.DISABLE_JIT:
            for step in self.steps:
                step.kernel.function(0, step.tasks, *([0] if step.kernel.of_thread else []), *step.arguments)
        else:
            run(self._table)


# Without the lock of Python's interpreter: a second Ctrl-C is heard by a thread while this runs.
@njit(parallel=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, nogil=True)
def run(steps):
    """Run steps (address, descriptor, tasks, whether the tasks are worth threads) in order."""
    for s in range(steps.shape[0]):
        address, descriptor, tasks = steps[s, 0], steps[s, 1], steps[s, 2]
        if steps[s, 3]:
            for task in prange(tasks):
                call(address, (descriptor, task, task + 1, get_thread_id()))
        else:
            call(address, (descriptor, 0, tasks, 0))
