"""What happens to sums before they are stored: one table, for the register tile, Winograd's outputs and NumPy."""

from typing import NamedTuple

import numpy as np
from llvmlite import ir

from cnncli.kernels.vectors import I1, integer

STORE, ACCUMULATE, BIAS, BIAS_RELU, GATE, ADD, ADD_RELU, ACCUMULATE_GATE = range(8)


class Operation(NamedTuple):
    """The steps of an operation, in their order; `gate` is a second array."""

    accumulates: bool = False  # adds what is there
    biased: bool = False
    adds: bool = False  # the gate's value: a residual connection
    gates: bool = False  # 0 where the gate is not positive: the gradient of a relu
    relu: bool = False


OPERATIONS = {
    STORE: Operation(),
    ACCUMULATE: Operation(accumulates=True),
    BIAS: Operation(biased=True),
    BIAS_RELU: Operation(biased=True, relu=True),
    GATE: Operation(gates=True),
    ADD: Operation(biased=True, adds=True),
    ADD_RELU: Operation(biased=True, adds=True, relu=True),
    ACCUMULATE_GATE: Operation(accumulates=True, gates=True),
}
BIASED = tuple(op for op, does in OPERATIONS.items() if does.biased)
WITH_GATE = tuple(op for op, does in OPERATIONS.items() if does.adds or does.gates)


def emit_epilogue(v, op, sums, masks, y, beside, bias, done, apart=False):
    """Store the vectors `sums` as `op`, a number known when it runs, says; go on at the block `done`.

    masks: of each sum, or None where all lanes are stored. y(i): the address of the i-th sum's place. beside(): a call
    that gives the i-th address in the gate. bias(asked): for each sum what is added, 0 where not `asked`. One block
    each serves the operations that read the same arrays: a branch is cheaper than masked loads that are not needed.
    With `apart` each has its own: three per cent of a Winograd convolution, but more code in each variant of the tile.
    """
    builder, reads = v.builder, {}
    for case, does in OPERATIONS.items():
        key = case if apart else (does.accumulates, does.adds, does.gates)
        reads.setdefault(key, []).append(case)
    blocks = [builder.append_basic_block("epilogue") for _ in reads]
    switch = builder.switch(op, blocks[0])
    for block, cases in zip(blocks, reads.values(), strict=True):
        accumulates, _, adds, gates, _ = OPERATIONS[cases[0]]
        for case in cases:
            switch.add_case(integer(case), block)
        builder.position_at_end(block)
        biased, relus = ([case for case in cases if getattr(OPERATIONS[case], name)] for name in ("biased", "relu"))
        added = bias(_any(builder, op, biased, cases)) if biased else None
        floor = builder.select(_any(builder, op, relus, cases), v.zero, v.constant(float("-inf"))) if relus else None
        other = beside() if adds or gates else None
        for i, value in enumerate(sums):
            if accumulates:
                value = builder.fadd(v.load(y(i), masks[i]), value)
            if biased:
                value = builder.fadd(value, added[i])
            if adds:
                value = builder.fadd(value, v.load(other(i), masks[i]))
            if gates:
                passes = builder.fcmp_ordered(">", v.load(other(i), masks[i]), v.zero)
                value = builder.select(passes, value, v.zero)
            if relus:
                value = v.maximum(value, floor)
            v.store(value, y(i), v.everything if masks[i] is None else masks[i])
        builder.branch(done)


def _any(builder, op, some, of):
    """Whether `op`, one of `of`, is one of `some`."""
    if some == of:
        return ir.Constant(I1, 1)
    result = ir.Constant(I1, 0)
    for case in some:
        result = builder.or_(result, builder.icmp_signed("==", op, integer(case)))
    return result


def apply(op, sums, y, bias, beside):
    """What is stored, in NumPy. `y`, `bias` and `beside` are calls that give the arrays which the operation reads."""
    does = OPERATIONS[op]
    if does.accumulates:
        sums = y() + sums
    if does.biased:
        sums = sums + bias()
    if does.adds:
        sums = sums + beside()
    if does.gates:
        sums = np.where(beside() > 0, sums, 0)
    return np.maximum(sums, 0) if does.relu else sums
