"""The register tile: one batch-reduce matrix product under every convolution and dense layer.

    y[y_rows[r] + c] (op)= sum over o < outer, k < inner of
        a[a_rows[r] + a_outer[o] + k * a_step] * b[b_outer[o] + k * b_step + c]

for `rows` rows r and the `lanes * vectors` columns c of the variant; the sums stay in registers over both loops. It is
the batch-reduce product of Georganas et al. 2019 ("High-Performance Deep Learning via a Single Building Block") with
its addresses in tables, as in the indirect convolution of Dukhan 2019, so that one tile serves every number of axes,
stride, dilation, group and border: the tables say it all, and no loop in a kernel knows about them.

Addresses and strides are integers (bytes for addresses, elements for the rest), so it compiles once for each element
type, whatever arrays the callers hold; all variants live in one C function behind a switch, which kernels call by its
name. (Linked into every kernel, it was optimised again with each: 10 s a kernel in place of 0.6 s.) With
NUMBA_DISABLE_JIT=1 `tile` is its definition in NumPy.
"""

import ctypes

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import cfunc, config, types
from numba.core import event
from numba.extending import intrinsic, overload, register_jitable

from cnncli.kernels.epilogue import (  # noqa: F401 - the tile's operations, for its callers
    ACCUMULATE,
    ACCUMULATE_GATE,
    ADD,
    ADD_RELU,
    BIAS,
    BIAS_RELU,
    BIASED,
    GATE,
    STORE,
    WITH_GATE,
    apply,
    emit_epilogue,
)
from cnncli.kernels.native import compiles, named, packed
from cnncli.kernels.vectors import HOST, I64, REALS, Vectors, at, integer, opaque, phis

NARROW, SINGLE, WIDE = range(3)  # half a register of columns, one register, two

# Rows that the registers hold. 28 accumulators, 2 weights and 1 input fill 31 of 32 registers; with 16, 12 + 2 + 1.
# More rows of one vector would need more addresses than there are registers for them.
MOST_ROWS = {NARROW: 28, SINGLE: 16, WIDE: 14} if HOST.registers == 32 else {NARROW: 12, SINGLE: 12, WIDE: 6}
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28)


# How the rows of `a` lie: TABLE, anyhow; STRIDED, at equal distances, told by the first two entries; a larger number,
# in runs of so many consecutive elements. Then a few address registers serve all rows, where a table needs one for each
# and reloads most of them from the stack. It matters most to narrow tiles, which are bound by their loads (LeNet's
# first convolution: forward 1.7 times faster, weight gradient 1.6). On Sapphire Rapids, against tables throughout:
# 16 to 16 channels of 32x32 forward 1.09, data gradient 1.06, weight gradient 1.18; two vectors 1.00-1.09.
# PANEL rows are consecutive too; before the sums their rows of y are fetched.
# APART, with strided rows: every turn of the outer loop has sums of its own, to be stored; from one to the next a, b
# and y go on by `bias`, `gate` and `gate_rows` elements.
TABLE, STRIDED, APART, PANEL = 0, 1, 98, 99
RUN_ROWS = {3: (9, 18, 27), 5: (25,), 7: (21, 28)} if HOST.registers == 32 else {}
# Rows of a block that is one run, by the widest kind of a layer: a window's elements have one address register.
LONG_RUNS = {SINGLE: 28, WIDE: 14} if HOST.registers == 32 else {SINGLE: 12, WIDE: 6}


LINE = 64  # bytes of a line of the caches, almost everywhere


def lanes(kind: int, itemsize: int) -> int:
    """Columns of one vector of a kind of tile."""
    return HOST.bytes // itemsize // (2 if kind == NARROW else 1)


@register_jitable
def variant(kind: int, mode: int, rows: int) -> int:
    """The number of a variant; `mode` is TABLE, STRIDED or the length of a run."""
    return 10000 * kind + 100 * mode + rows


KINDS = (NARROW, SINGLE, WIDE)
VARIANTS = [
    *((kind, TABLE, rows) for kind in KINDS for rows in ROWS if rows <= MOST_ROWS[kind]),
    *((kind, STRIDED, rows) for kind in (NARROW, SINGLE) for rows in ROWS if rows <= MOST_ROWS[kind]),
    *((NARROW, run, rows) for run, many in RUN_ROWS.items() for rows in many),
    *((kind, rows, rows) for widest, rows in LONG_RUNS.items() for kind in KINDS if kind <= widest),
    *((kind, PANEL, MOST_ROWS[WIDE]) for kind in KINDS),
    *((kind, APART, rows) for kind in (SINGLE, WIDE) for rows in ROWS if rows <= MOST_ROWS[kind]),
]


def _row_places(v, table, rows, mode):
    """The offset of the first row, and a function that gives a row's pointer from that of the first.

    STRIDED rows take few registers: their distances are odd multiples of one, scaled by the addressing.
    """
    builder = v.builder
    first = builder.load(table)
    if mode in (STRIDED, APART):
        if rows == 1:
            return first, lambda pointer, row: pointer
        step = builder.sub(builder.load(at(builder, table, integer(1))), first)
        if rows > 16:  # more registers than there are: the chain it is
            return first, lambda pointer, row: at(builder, pointer, builder.mul(step, integer(row)))
        bytes_apart = builder.mul(step, integer(v.itemsize))
        # opaque: LLVM would make each distance from the one before, a chain of additions
        distances = {n: opaque(builder, builder.mul(bytes_apart, integer(n))) for n in range(1, rows, 2)}

        def strided(pointer, row):
            if not row:
                return pointer
            scale = min(row & -row, 8)  # x86 scales by 1, 2, 4 or 8
            scaled = builder.bitcast(pointer, ir.IntType(8 * scale).as_pointer())
            return builder.bitcast(at(builder, scaled, distances[row // scale]), pointer.type)

        return first, strided
    run = max(1, mode)
    starts = [builder.load(at(builder, table, integer(row))) for row in range(run, rows, run)]
    starts = [integer(0)] + [builder.sub(start, first) for start in starts]
    offsets = [builder.add(starts[row // run], integer(row % run)) for row in range(rows)]
    return first, lambda pointer, row: at(builder, pointer, offsets[row])


def _ask(v, first, last, vectors, address, table, write):
    """Prefetch rows `first` to before `last` of an array, which are written or read after the sums."""
    builder = v.builder
    before, loop, end = builder.block, *(builder.function.append_basic_block(name) for name in ("ask", "asked"))
    builder.cbranch(builder.icmp_signed("<", first, last), loop, end)
    builder.position_at_end(loop)
    (row,) = phis(I64, [first], before, builder)
    start = builder.load(at(builder, table, row))
    for c in range(0, vectors, max(1, LINE // (v.lanes * v.itemsize))):
        v.prefetch(at(builder, address, builder.add(start, integer(c * v.lanes))), write=write)
    following = builder.add(row, integer(1))
    row.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, last), loop, end)
    builder.position_at_end(end)


def _emit_asking(v, rows, vectors, o, outer, results):
    """In turn o of the outer loop, ask for its share of the cache lines of the results.

    A store waits until its line is in the cache, and a tile writes two lines of each pixel, which is no plain stream.
    Spread over the turns, for it is slower to ask for all at once (they may fill the core's queue of misses). One
    thread on Sapphire Rapids, against none and (all at once): 3x224>64 7/2 1.35 times as fast (1.24), 64x56>256 1
    1.83 (1.77); with an addition, asking for that as well and (not): 64x56>64 3 1.11 (1.07), 256x14>1024 1 1.36 (1.31).
    """
    builder = v.builder
    y, y_rows, _, _, gate, gate_rows, op = results()
    share = builder.udiv(builder.add(outer, integer(rows - 1)), outer)
    # what accumulates is by spans or taps, and was written lately (LeNet's second data gradient took 4 % longer)
    share = builder.select(builder.icmp_signed("==", op, integer(ACCUMULATE)), integer(0), share)
    first = builder.mul(o, share)
    last = builder.add(first, share)
    last = builder.select(builder.icmp_signed("<", last, integer(rows)), last, integer(rows))
    _ask(v, first, last, vectors, y, y_rows, write=True)
    with builder.if_then(builder.icmp_signed(">=", op, integer(min(WITH_GATE)))):
        _ask(v, first, last, vectors, gate, gate_rows, write=False)


def _emit_sums(v, rows, vectors, mode, arguments, results=None, following=None):
    """The two loops. Returns the rows * vectors sums, row by row.

    Asks for the lines of `results`, if any, and with each k for the line at k times the second number of `following`,
    an address and elements, if any.
    """
    builder = v.builder
    a, a_rows, a_outer, a_step, b, b_outer, b_step, outer, inner = arguments
    function, entry = builder.function, builder.block
    names = ("outer", "inner", "inner_end", "outer_end")
    outer_block, inner_block, inner_end, outer_end = (function.append_basic_block(name) for name in names)
    first, place = _row_places(v, a_rows, rows, mode)
    a = at(builder, a, first)
    zeros = [v.zero] * (rows * vectors)
    builder.cbranch(builder.icmp_signed(">", outer, integer(0)), outer_block, outer_end)

    builder.position_at_end(outer_block)
    (o,) = phis(I64, [integer(0)], entry, builder)
    outer_sums = phis(v.type, zeros, entry, builder)
    a_start = at(builder, a, builder.load(at(builder, a_outer, o)))
    b_start = at(builder, b, builder.load(at(builder, b_outer, o)))
    if results:
        _emit_asking(v, rows, vectors, o, outer, results)
    if following:
        # what a PANEL's caller reads soon lies together; other rows of a read as these, from where the outer sum is
        soon = following[0] if mode == PANEL else at(builder, following[0], builder.load(at(builder, a_outer, o)))
    asked = builder.block
    builder.branch(inner_block)

    builder.position_at_end(inner_block)
    (k,) = phis(I64, [integer(0)], asked, builder)
    a_here, b_here = phis(a.type, [a_start, b_start], asked, builder)
    inner_sums = phis(v.type, outer_sums, asked, builder)
    if following:
        v.prefetch(at(builder, soon, builder.mul(following[1], k)), v.SECOND if mode == PANEL else v.NEAREST)
    weights = [v.load(at(builder, b_here, integer(c * v.lanes))) for c in range(vectors)]
    sums = []
    for row in range(rows):
        x = v.splat(builder.load(place(a_here, row)))
        sums += [v.multiply_add(x, weights[c], inner_sums[row * vectors + c]) for c in range(vectors)]
    k_next = builder.add(k, integer(1))
    k.add_incoming(k_next, inner_block)
    a_here.add_incoming(at(builder, a_here, a_step), inner_block)
    b_here.add_incoming(at(builder, b_here, b_step), inner_block)
    for phi, value in zip(inner_sums, sums, strict=True):
        phi.add_incoming(value, inner_block)
    builder.cbranch(builder.icmp_signed("<", k_next, inner), inner_block, inner_end)

    builder.position_at_end(inner_end)
    o_next = builder.add(o, integer(1))
    o.add_incoming(o_next, inner_end)
    for phi, value in zip(outer_sums, sums, strict=True):
        phi.add_incoming(value, inner_end)
    builder.cbranch(builder.icmp_signed("<", o_next, outer), outer_block, outer_end)

    builder.position_at_end(outer_end)
    totals = phis(v.type, zeros, entry, builder)
    for phi, value in zip(totals, sums, strict=True):
        phi.add_incoming(value, inner_end)
    return totals


def _emit_fetch(v, rows, vectors, results):
    """Fetch the rows of y."""
    builder = v.builder
    y, y_rows, *_ = results()
    for row in range(rows):
        start = at(builder, y, builder.load(at(builder, y_rows, integer(row))))
        for c in range(vectors):
            v.prefetch(at(builder, start, integer(c * v.lanes)), v.NEAREST, write=True)


def _emit_apart(v, rows, vectors, operands, results, done):
    """Sums of each turn of the outer loop, and their stores."""
    builder = v.builder
    a, a_rows, a_outer, a_step, b, b_outer, b_step, outer, inner = operands
    y, y_rows, tail, *steps, _ = results
    a_plane, b_plane, y_plane = (builder.ptrtoint(step, I64) for step in steps)
    before, loop = builder.block, builder.function.append_basic_block("apart")
    builder.branch(loop)
    builder.position_at_end(loop)
    (o,) = phis(I64, [integer(0)], before, builder)
    a, b, y = (at(builder, start, builder.mul(o, step)) for start, step in ((a, a_plane), (b, b_plane), (y, y_plane)))
    sums = _emit_sums(v, rows, vectors, APART, (a, a_rows, a_outer, a_step, b, b_outer, b_step, integer(1), inner))
    masks = [v.everything] * (vectors - 1) + [v.below(tail)]
    for i, value in enumerate(sums):
        row, c = divmod(i, vectors)
        start = builder.add(builder.load(at(builder, y_rows, integer(row))), integer(c * v.lanes))
        v.store(value, at(builder, y, start), masks[c])
    o_next = builder.add(o, integer(1))
    o.add_incoming(o_next, builder.block)
    builder.cbranch(builder.icmp_signed("<", o_next, outer), loop, done)


def _emit_results(v, rows, vectors, sums, arguments, done):
    """Store the sums."""
    builder = v.builder
    y, y_rows, tail, bias, gate, gate_rows, op = arguments()
    masks = [v.everything] * (vectors - 1) + [v.below(tail)]

    def places(address, starts):
        """A call that gives the address of the i-th sum's place, rows beginning at the offsets `starts`."""
        offsets = [builder.load(at(builder, starts, integer(row))) for row in range(rows)]

        def place(i):
            row, c = divmod(i, vectors)
            return at(builder, address, builder.add(offsets[row], integer(c * v.lanes)))

        return place

    def read_bias(asked):
        read = [
            v.load(at(builder, bias, integer(c * v.lanes)), builder.select(asked, masks[c], v.nothing))
            for c in range(vectors)
        ]
        return read * rows

    emit_epilogue(v, op, sums, masks * rows, places(y, y_rows), lambda: places(gate, gate_rows), read_bias, done)


def _generate(builder, which, address, itemsize):
    """All variants behind a switch, in the function that `builder` is writing; the other arguments lie at `address`."""
    real, table = REALS[itemsize].as_pointer(), I64.as_pointer()
    words = builder.inttoptr(address, table)

    def read(first, *kinds):
        values = [builder.load(at(builder, words, integer(i))) for i, _ in enumerate(kinds, first)]
        return [builder.inttoptr(v, kind) if kind else v for v, kind in zip(values, kinds, strict=True)]

    def results():
        """Read where they are used: no register holds them during the sums."""
        return read(9, real, table, None, real, real, table, None)

    operands = read(0, real, table, table, None, real, table, None, None, None)
    done, unknown = (builder.function.append_basic_block(name) for name in ("done", "unknown"))
    switch = builder.switch(which, unknown)
    builder.position_at_end(unknown)
    Vectors(builder, 1, itemsize).trap()
    for kind, mode, rows in VARIANTS:
        block = builder.function.append_basic_block(f"tile_{kind}_{mode}_{rows}")
        switch.add_case(integer(variant(kind, mode, rows)), block)
        if kind == WIDE and mode == TABLE:  # nothing to gain by it
            switch.add_case(integer(variant(kind, STRIDED, rows)), block)
        builder.position_at_end(block)
        vectors = 2 if kind == WIDE else 1
        v = Vectors(builder, lanes(kind, itemsize), itemsize)
        if mode == APART:
            _emit_apart(v, rows, vectors, operands, results(), done)
            continue
        if mode == PANEL:
            _emit_fetch(v, rows, vectors, results)
        asks = kind != NARROW and mode in (TABLE, STRIDED) and 2 * rows > MOST_ROWS[kind]  # the rest compiles faster
        # a tile of one vector is bound by its loads
        following = read(16, real, None) if mode == PANEL or (asks and kind == WIDE) else None
        sums = _emit_sums(v, rows, vectors, mode, operands, results if asks else None, following)
        _emit_results(v, rows, vectors, sums, results, done)
    builder.position_at_end(done)


def _compile(itemsize):
    """The tile as a C function of its own, compiled once and cached, not into every kernel that calls it."""

    @intrinsic
    def emit(context, which, block):
        def codegen(context, builder, signature, arguments):
            _generate(builder, *arguments, itemsize)
            return context.get_dummy_value()

        return types.void(which, block), codegen

    return emit


_emit_4, _emit_8 = _compile(4), _compile(8)


def _tile_4(which, block):
    _emit_4(which, block)


def _tile_8(which, block):
    _emit_8(which, block)


@compiles
def load(itemsize: int) -> None:
    """Compile the tile for an element size, or load it, and give it the name under which kernels call it.

    To be called before a kernel of that element size runs: their machine code asks for the name.
    """
    if not config.DISABLE_JIT:
        with event.trigger_event("numba:compile"):  # a cfunc does not tell of it by itself
            compiled = cfunc(types.void(types.intp, types.intp), cache=True, error_model="numpy")(
                _tile_4 if itemsize == 4 else _tile_8
            )
        llvm.add_symbol(f"cnncli_tile_{itemsize}", compiled.address)


def tile(like, which, a, b, count, y, epilogue, following=None):
    """The tile in NumPy, for debugging and coverage without the compiler. `like` is any array of the element type.

    a = (address, row table, outer table, step), b = (address, outer table, step), count = (outer, inner),
    y = (address, row table, columns in the last vector), epilogue = (bias address, gate address, gate row table, op),
    following = (address, step): what is read soon, of which tiles of many rows fetch with each k what lies k steps on.
    """
    kind, mode, rows = which // 10000, which // 100 % 100, which % 100
    if mode == APART:
        for o in range(count[0]):
            a_here, b_here, y_here = (
                start + like.itemsize * o * step for start, step in zip((a[0], b[0], y[0]), epilogue, strict=False)
            )
            which, none = variant(kind, STRIDED, rows), (y_here, y_here, y[1], STORE)
            tile(like, which, (a_here, *a[1:]), (b_here, *b[1:]), (1, count[1]), (y_here, *y[1:]), none)
        return
    vector = lanes(kind, like.itemsize)
    columns = np.arange((vector if kind == WIDE else 0) + y[2])
    a_offsets, a_outer, b_outer = table(a[1], rows), table(a[2], count[0]), table(b[1], count[0])
    inner = np.arange(count[1])
    a_index = (a_outer[:, None] + inner * a[3]).ravel()[None] + a_offsets[:, None]
    b_index = (b_outer[:, None] + inner * b[2]).ravel()[:, None] + columns
    sums = elements(a[0], a_index, like.dtype)[0] @ elements(b[0], b_index, like.dtype)[0]
    bias, gate, gate_rows, op = epilogue
    starts, places = table(y[1], rows), table(gate_rows, rows if op in WITH_GATE else 0)
    # row by row where rows may overlap
    for part in range(rows) if op == ACCUMULATE else [slice(None)]:
        before, store = elements(y[0], starts[part, ...][..., None] + columns, like.dtype)
        store(
            apply(
                op,
                sums[part],
                lambda before=before: before,
                lambda: elements(bias, columns, like.dtype)[0],
                lambda: elements(gate, places[:, None] + columns, like.dtype)[0],
            )
        )


def table(address, count):
    """`count` offsets at an address."""
    return np.array((ctypes.c_int64 * int(count)).from_address(int(address)), np.int64)


def elements(address, index, dtype):
    """The elements at `index` from a raw address, and a function that stores others there."""
    whole = (ctypes.c_char * ((int(index.max(initial=-1)) + 1) * dtype.itemsize)).from_address(int(address))
    memory = np.frombuffer(whole, dtype)

    def store(values):
        memory[index] = values

    return memory[index], store


_external_4, _external_8 = (named(f"cnncli_tile_{itemsize}", 2) for itemsize in (4, 8))


@overload(tile)
def _call_tile(like, which, a, b, count, y, epilogue, following=None):
    external = _external_4 if like.dtype == types.float32 else _external_8
    load(like.dtype.bitwidth // 8)

    def alone(like, which, a, b, count, y, epilogue, following=None):
        external(which, packed((*a, *b, *count, *y, *epilogue, a[0], 0)))

    def one_of_many(like, which, a, b, count, y, epilogue, following=None):
        external(which, packed((*a, *b, *count, *y, *epilogue, *following)))

    return one_of_many if isinstance(following, types.BaseTuple) else alone
