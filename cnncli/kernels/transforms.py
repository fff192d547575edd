"""Winograd's transforms for tiles of 4x4 outputs of a 3x3 convolution: input, weights and output, in vector registers.

    y = A^T [(G g G^T) * (B^T d B)] A        d 6x6 inputs, g 3x3 weights, y 4x4 outputs

(Winograd 1980; Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks"). The matrices evaluate
polynomials at 0, +-P, +-Q and infinity. The usual 1 and 2 lose digits: with 256 channels of normal data the root mean
square error is 3.1e-6 of the output's. With 5/8 and 3/2, whose transforms are as exact in binary and cost as many
instructions, it is 1.4e-6; that of the direct sums is 0.8e-6.

Transforms take raw addresses, whose steps are in elements, and work on one vector of channels after the other. Beside
each stands its definition in NumPy, which runs with NUMBA_DISABLE_JIT=1.
"""

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from cnncli.kernels.epilogue import apply, emit_epilogue
from cnncli.kernels.native import address_of, named
from cnncli.kernels.tile import SINGLE, elements, lanes
from cnncli.kernels.vectors import I1, REALS, Vectors, at, integer

OUT, IN, TAPS = 4, 6, 3  # outputs, inputs and weights along each axis of a tile
PLANES = IN * IN  # products of a tile
P, Q = 5 / 8, 3 / 2
POINTS = (0.0, P, -P, Q, -Q)


def _matrices():
    """A (IN, OUT), B (IN, IN), G (IN, TAPS), a row a point, infinity last (Toom-Cook)."""
    others = [[q for q in POINTS if q != p] for p in POINTS]
    a = [[p**i for i in range(OUT)] for p in POINTS] + [[0] * (OUT - 1) + [1]]
    b = [[*np.poly(rest)[::-1], 0] for rest in others] + [np.poly(POINTS)[::-1]]
    g = [[p**i / np.prod(np.subtract(p, rest)) for i in range(TAPS)] for p, rest in zip(POINTS, others, strict=True)]
    return np.array(a, float), np.array(b), np.array([*g, [0] * (TAPS - 1) + [1]])


A, B, G = _matrices()


def _input_ends(v, i, d):
    """Row 0 (i = 0) or 5 (i = 1) of B^T d."""
    value = v.multiply_add(v.constant(-(P**2) - Q**2), d(i + 2), d(i + 4))
    return [v.multiply_add(v.constant(P**2 * Q**2), d(i), value)]


def _input_pair(v, point, other, d):
    """Rows 1 and 2, or 3 and 4, of B^T d: points of either sign share their even and odd halves."""
    even, odd = (v.multiply_add(v.constant(-(other**2)), d(i), d(i + 2)) for i in (2, 1))
    return [v.multiply_add(v.constant(sign), odd, even) for sign in (point, -point)]


# B^T d in parts, in the order of its rows: 12 instructions
INPUT_PARTS = (
    lambda v, d: _input_ends(v, 0, d),
    lambda v, d: _input_pair(v, P, Q, d),
    lambda v, d: _input_pair(v, Q, P, d),
    lambda v, d: _input_ends(v, 1, d),
)


def by_parts(v, parts, side, load, to, plane):
    """Store `parts` of a square's columns, times the same of its rows: it is read again by each part.

    `load` gives the square's vector at a place. Intermediate results of two rows alone need registers: with those of
    all six, which must leave them, a transform of inputs took 90 ns, and takes 45 so (49 and 37 in the nearest cache).
    """
    row = 0
    for part in parts:
        halves = [part(v, lambda i, j=j: load(i, j)) for j in range(side)]
        for line in zip(*halves, strict=True):
            values = [value for part in parts for value in part(v, lambda j, line=line: line[j])]
            for column, value in enumerate(values):
                place = at(v.builder, to, v.builder.mul(plane, integer(IN * row + column)))
                v.store(value, place, v.everything)
            row += 1


def _weight_line(v, g):
    """G g."""
    outer = [v.builder.fmul(v.constant(G[0, 0]), g[0])]
    for row in (1, 3):
        even = v.multiply_add(v.constant(G[row, 2]), g[2], v.builder.fmul(v.constant(G[row, 0]), g[0]))
        outer += [v.multiply_add(v.constant(sign * G[row, 1]), g[1], even) for sign in (1, -1)]
    return [*outer, g[2]]


def _output_line(v, m):
    """A^T m: 12 instructions."""
    add, (p, q) = v.builder.fadd, (m[1:3], m[3:5])
    even, odd = ([kind(*pair) for pair in (p, q)] for kind in (add, v.builder.fsub))

    def by(pair, power, more=None):
        first = v.constant(P**power)
        first = v.builder.fmul(first, pair[0]) if more is None else v.multiply_add(first, pair[0], more)
        return v.multiply_add(v.constant(Q**power), pair[1], first)

    return [add(m[0], add(*even)), by(odd, 1), by(even, 2), by(odd, 3, m[5])]


def both_ways(v, line, square):
    """`line` over the columns of a square of vectors, then over its rows."""
    columns = [line(v, list(column)) for column in zip(*square, strict=True)]
    return [line(v, list(row)) for row in zip(*columns, strict=True)]


def within(v, side, rows, columns, mask):
    """A call that gives the mask of a place: `mask` in both ranges (first, behind the last), elsewhere nothing."""
    inside = [
        [
            v.builder.and_(
                v.builder.icmp_signed("<=", first, integer(i)), v.builder.icmp_signed(">", behind, integer(i))
            )
            for i in range(side)
        ]
        for first, behind in (rows, columns)
    ]
    return lambda i, j: v.builder.select(v.builder.and_(inside[0][i], inside[1][j]), mask, v.nothing)


def is_whole(builder, side, *ranges):
    """Whether all ranges are (0, side)."""
    whole = ir.Constant(I1, 1)
    for first, behind in ranges:
        whole = builder.and_(whole, builder.icmp_signed("==", first, integer(0)))
        whole = builder.and_(whole, builder.icmp_signed("==", behind, integer(side)))
    return whole


def padded(v, of, row_step, column_step, side, ranges):
    """Address and steps of a square whose places outside `ranges` (rows, columns) are zero: a copy if there are any."""
    builder, of_type = v.builder, of.type
    whole, before = is_whole(builder, side, *ranges), builder.block
    with builder.if_then(builder.not_(whole)):
        copy = builder.bitcast(cgutils.alloca_once(builder, v.type, size=side * side), of_type)
        mask = within(v, side, *ranges, v.everything)
        for i, j in np.ndindex(side, side):
            offset = builder.add(builder.mul(row_step, integer(i)), builder.mul(column_step, integer(j)))
            v.store(
                v.load(at(builder, of, offset), mask(i, j)),
                at(builder, copy, integer((side * i + j) * v.lanes)),
                v.everything,
            )
        inside = builder.block
    found = []
    for value, other in ((of, copy), (row_step, integer(side * v.lanes)), (column_step, integer(v.lanes))):
        found.append(builder.phi(value.type))
        found[-1].add_incoming(value, before)
        found[-1].add_incoming(other, inside)
    return found


def _emit_input(v, to, of, rows, columns):
    builder, (to, plane) = v.builder, to
    of, row_step, column_step = padded(v, *of, IN, (rows, columns))
    starts = [at(builder, of, builder.mul(row_step, integer(i))) for i in range(IN)]
    offsets = [builder.mul(column_step, integer(j)) for j in range(IN)]
    by_parts(v, INPUT_PARTS, IN, lambda i, j: v.load(at(builder, starts[i], offsets[j])), to, plane)


def _emit_weights(v, to, of, count):
    builder, (to, plane), (of, row_step, column_step) = v.builder, to, of
    mask = v.below(count[0])

    def offset(i, j):
        return builder.add(builder.mul(row_step, integer(i)), builder.mul(column_step, integer(j)))

    square = [[v.load(at(builder, of, offset(i, j)), mask) for j in range(TAPS)] for i in range(TAPS)]
    store_planes(v, both_ways(v, _weight_line, square), to, plane, mask)


def store_planes(v, square, to, plane, mask):
    for i, j in np.ndindex(IN, IN):
        v.store(square[i][j], at(v.builder, to, v.builder.mul(plane, integer(IN * i + j))), mask)


def _emit_results(v, values, y, gate, bias, mask, tail, op):
    """Store the outputs; `y` and `gate` give the address of a place."""
    places, done = list(np.ndindex(OUT, OUT)), v.builder.append_basic_block("done")

    def read_bias(asked):
        return [v.load(bias, v.builder.select(asked, v.everything if tail is None else tail, v.nothing))] * len(places)

    def where(address):
        return lambda i: address(*places[i])

    sums, masks = ([of(*place) for place in places] for of in (lambda i, j: values[i][j], mask))
    emit_epilogue(v, op, sums, masks, where(y), lambda: where(gate), read_bias, done, apart=True)
    v.builder.position_at_end(done)


def _emit_output(v, of, y, gate, inside, epilogue):
    builder, (of, plane), (rows, columns, count), (bias, op) = v.builder, of, inside, epilogue

    def place(start, row_step, column_step):
        starts = [at(builder, start, builder.mul(row_step, integer(i))) for i in range(OUT)]
        return lambda i, j: at(builder, starts[i], builder.mul(column_step, integer(j)))

    products = [v.load(at(builder, of, builder.mul(plane, integer(i)))) for i in range(PLANES)]
    values = both_ways(v, _output_line, [products[i : i + IN] for i in range(0, PLANES, IN)])
    results = values, place(*y), place(*gate), bias
    zero, all_lanes = integer(0), builder.icmp_signed(">=", count, integer(v.lanes))
    ranges = (zero, rows), (zero, columns)
    with builder.if_else(builder.and_(all_lanes, is_whole(builder, OUT, *ranges))) as (whole, part):
        with whole:
            _emit_results(v, *results, lambda i, j: None, None, op)
        with part:
            tail = v.below(count)
            _emit_results(v, *results, within(v, OUT, *ranges, tail), tail, op)


def intrinsic_of(emit, pointers):
    """`emit` as an intrinsic of the bytes of an element, a literal, and of tuples of integers.

    `pointers` tells which tuples begin with an address.
    """

    def typed(context, itemsize, groups):
        def codegen(context, builder, signature, arguments):
            real = REALS[itemsize.literal_value].as_pointer()
            of_groups = [cgutils.unpack_tuple(builder, group) for group in cgutils.unpack_tuple(builder, arguments[1])]
            for group, pointer in zip(of_groups, pointers, strict=True):
                if pointer:
                    group[0] = builder.inttoptr(group[0], real)
            emit(Vectors(builder, lanes(SINGLE, itemsize.literal_value), itemsize.literal_value), *of_groups)
            return context.get_dummy_value()

        return types.void(itemsize, groups), codegen

    return intrinsic(prefer_literal=True)(typed)


_input = intrinsic_of(_emit_input, (True, True, False, False))
_weights = intrinsic_of(_emit_weights, (True, True, False))
_output = intrinsic_of(_emit_output, (True, True, True, False, True))


def _make_input(itemsize):
    vector = lanes(SINGLE, itemsize)

    def transform(to, plane, of, row_step, column_step, top, bottom, left, right, channels):
        for c in range(0, itemsize * channels, itemsize * vector):
            _input(itemsize, ((to + c, plane), (of + c, row_step, column_step), (top, bottom), (left, right)))

    return transform


def _make_output(itemsize):
    vector = lanes(SINGLE, itemsize)

    def transform(of, plane, y, y_row, y_column, gate, gate_row, gate_column, rows, columns, channels, bias, op):
        for first in range(0, channels, vector):
            c = itemsize * first
            places = (of + c, plane), (y + c, y_row, y_column), (gate + c, gate_row, gate_column)
            _output(itemsize, (*places, (rows, columns, channels - first), (bias + c, op)))

    return transform


def load(itemsize: int) -> None:
    """As `tile.load`: within the kernels that call them these transforms took twice as long to compile."""
    for name, make in (("input", _make_input), ("output", _make_output)):
        if address := address_of(make, itemsize):
            llvm.add_symbol(f"cnncli_{name}_{itemsize}", address)


def offsets_of_square(address, row_step, column_step, rows, columns, channels):
    """Offsets (rows, columns, channels) from an address, for `elements`."""
    i, j, c = np.ogrid[:rows, :columns, :channels]
    return address, i * row_step + j * column_step + c


def input_tile(like, to, of, rows, columns, channels):
    """The transform of 6x6 pixels of as many vectors as hold the channels: to (address, step between planes) of
    (address, row step, column step).

    Pixels outside `rows` and `columns`, (first, behind the last), are zero and not read.
    """
    vector = lanes(SINGLE, like.itemsize)
    channels = -(-channels // vector) * vector
    square = np.zeros((IN, IN, channels), like.dtype)
    if rows[0] < rows[1] and columns[0] < columns[1]:
        first = of[0] + like.itemsize * (rows[0] * of[1] + columns[0] * of[2])
        inside = offsets_of_square(first, of[1], of[2], rows[1] - rows[0], columns[1] - columns[0], channels)
        square[rows[0] : rows[1], columns[0] : columns[1]] = elements(*inside, like.dtype)[0]
    planes = np.einsum("ij,jkc,lk->ilc", B, square, B)
    elements(*offsets_of_square(to[0], IN * to[1], to[1], IN, IN, channels), like.dtype)[1](planes)


def weight_tile(like, to, of, count):
    """The transform of 3x3 weights of the first `count` (one integer in a tuple) lanes of a vector."""
    channels = min(count[0], lanes(SINGLE, like.itemsize))
    of_tap = [of[0] + like.itemsize * (i * of[1] + j * of[2]) for i, j in np.ndindex(TAPS, TAPS)]  # steps may be < 0
    taps = [elements(address, np.arange(channels), like.dtype)[0] for address in of_tap]
    planes = np.einsum("ij,jkc,lk->ilc", G, np.reshape(taps, (TAPS, TAPS, channels)), G)
    elements(*offsets_of_square(to[0], IN * to[1], to[1], IN, IN, channels), like.dtype)[1](planes)


def output_tile(like, of, y, gate, inside, epilogue):
    """The transform of the products, of (address, step between planes), into up to 4x4 pixels of y.

    y and gate (address, row step, column step), inside (rows, columns, channels) that exist, epilogue (bias address,
    op): the operations are those of the register tile.
    """
    (rows, columns, channels), (bias, op), dtype = inside, epilogue, like.dtype
    planes = elements(*offsets_of_square(of[0], IN * of[1], of[1], IN, IN, channels), dtype)[0]
    values = np.einsum("ji,jkc,kl->ilc", A, planes, A)[:rows, :columns].astype(dtype)
    before, store = elements(*offsets_of_square(*y, rows, columns, channels), dtype)

    def of_bias():
        return elements(bias, np.arange(channels), dtype)[0]

    def of_gate():
        return elements(*offsets_of_square(*gate, rows, columns, channels), dtype)[0]

    store(apply(op, values, lambda: before, of_bias, of_gate))


_inputs = {itemsize: named(f"cnncli_input_{itemsize}", 10) for itemsize in REALS}
_outputs = {itemsize: named(f"cnncli_output_{itemsize}", 13) for itemsize in REALS}


@overload(input_tile)
def _call_input(like, to, of, rows, columns, channels):
    transform = _inputs[like.dtype.bitwidth // 8]

    def implementation(like, to, of, rows, columns, channels):
        transform(to[0], to[1], of[0], of[1], of[2], rows[0], rows[1], columns[0], columns[1], channels)

    return implementation


@overload(weight_tile, inline="always")
def _call_weights(like, to, of, count):
    itemsize = like.dtype.bitwidth // 8
    return lambda like, to, of, count: _weights(itemsize, (to, of, count))


@overload(output_tile)
def _call_output(like, of, y, gate, inside, epilogue):
    transform = _outputs[like.dtype.bitwidth // 8]

    def implementation(like, of, y, gate, inside, epilogue):
        transform(of[0], of[1], y[0], y[1], y[2], gate[0], gate[1], gate[2], inside[0], inside[1], inside[2],
                  epilogue[0], epilogue[1])  # fmt: skip

    return implementation
