"""What the machine can do: the most multiply-adds a second, and the most bytes a second from and to memory.

`multiply_adds` keeps ACCUMULATORS sums in registers, so that no addition waits for the one before it: two ports with a
latency of four or five need ten. `triad` is McCalpin's STREAM kernel of that name, on arrays that no cache holds.
"""

import numpy as np
from numba import njit, prange, types
from numba.extending import intrinsic, overload

from cnncli.kernels.vectors import HOST, I64, REALS, Vectors, at, integer, phis

LANES = HOST.bytes // 4
ACCUMULATORS = 24 if HOST.registers == 32 else 12
FLOPS_PER_TURN = 2 * LANES * ACCUMULATORS


def _emit_loop(builder, turns, factor, start, target):
    """ACCUMULATORS sums, each `turns` times sum = sum * factor + start, then all of them into `target`."""
    v = Vectors(builder, LANES, 4)
    function, entry = builder.function, builder.block
    loop, end = (function.append_basic_block(name) for name in ("turn", "end"))
    factors, starts = v.splat(factor), v.splat(start)
    first = [builder.fmul(starts, v.constant(float(i))) for i in range(ACCUMULATORS)]  # equal ones would be merged
    builder.branch(loop)
    builder.position_at_end(loop)
    (turn,) = phis(I64, [integer(0)], entry, builder)
    sums = phis(v.type, first, entry, builder)
    added = [v.multiply_add(value, factors, starts) for value in sums]
    following = builder.add(turn, integer(1))
    turn.add_incoming(following, loop)
    for phi, value in zip(sums, added, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, turns), loop, end)
    builder.position_at_end(end)
    for i, value in enumerate(added):
        v.store(value, at(builder, target, integer(i * LANES)), v.everything)


@intrinsic
def _multiply_add_loop(context, turns, factor, start, address):
    def codegen(context, builder, signature, arguments):
        turns, factor, start, address = arguments
        _emit_loop(builder, turns, factor, start, builder.inttoptr(address, REALS[4].as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.float32, types.float32, types.intp), codegen


def _turns(sums, turns, factor, start):
    """The loop in NumPy, for one thread."""
    values = start * np.arange(ACCUMULATORS, dtype=sums.dtype)
    for _ in range(turns):
        values = values * factor + start
    sums[:] = np.repeat(values, LANES)


@overload(_turns)
def _compiled_turns(sums, turns, factor, start):
    def implementation(sums, turns, factor, start):
        _multiply_add_loop(turns, factor, start, sums.ctypes.data)

    return implementation


@njit(parallel=True, cache=True, error_model="numpy")
def multiply_adds(sums, turns, factor, start):
    """`turns` turns of the loop on each thread: FLOPS_PER_TURN operations a turn and row of `sums`.

    `sums` is (threads, ACCUMULATORS * LANES) float32 and takes the results, so that nothing is left out.
    """
    for thread in prange(sums.shape[0]):
        _turns(sums[thread], turns, np.float32(factor), np.float32(start))


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"})
def triad(a, b, c, factor):
    """a = b + factor * c, (parts, n) float32, one part a thread."""
    for part in prange(a.shape[0]):
        to, first, second = a[part], b[part], c[part]
        for i in range(to.size):
            to[i] = first[i] + np.float32(factor) * second[i]
