"""Winograd's transforms for the weight gradient of a 3x3 convolution: output gradient and sums of products.

    dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G        d 6x6 inputs, dy 4x4 output gradients, dg 3x3

It is the adjoint of `transforms` in the weights: the same 36 planes, and the transform of the input is the same. As
there, each works on one vector and takes raw addresses, and its definition in NumPy stands beside it.
"""

import numpy as np
from numba.extending import overload

from cnncli.kernels.tile import SINGLE, elements, lanes
from cnncli.kernels.transforms import (
    IN,
    OUT,
    PLANES,
    TAPS,
    A,
    G,
    P,
    Q,
    both_ways,
    by_parts,
    intrinsic_of,
    offsets_of_square,
    padded,
)
from cnncli.kernels.vectors import at, integer


def _pair(v, point, d):
    """Rows 1 and 2, or 3 and 4, of A d: 4 instructions."""
    even, odd = (v.multiply_add(v.constant(point**2), d(i + 2), d(i)) for i in (0, 1))
    return [v.multiply_add(v.constant(sign), odd, even) for sign in (point, -point)]


PARTS = lambda v, d: [d(0)], lambda v, d: _pair(v, P, d), lambda v, d: _pair(v, Q, d), lambda v, d: [d(OUT - 1)]


def _sum_line(v, m):
    """G^T m: 11 instructions."""
    builder, (p, q) = v.builder, (m[1:3], m[3:5])
    even, odd = ([kind(*pair) for pair in (p, q)] for kind in (builder.fadd, builder.fsub))

    def by(pair, column, more=None):
        first = v.constant(G[1, column])
        first = builder.fmul(first, pair[0]) if more is None else v.multiply_add(first, pair[0], more)
        return v.multiply_add(v.constant(G[3, column]), pair[1], first)

    return [by(even, 0, builder.fmul(v.constant(G[0, 0]), m[0])), by(odd, 1), by(even, 2, m[5])]


def _emit_gradient(v, to, of, inside):
    builder, (to, plane) = v.builder, to
    of, row_step, column_step = padded(v, *of, OUT, [(integer(0), behind) for behind in inside])
    starts = [at(builder, of, builder.mul(row_step, integer(i))) for i in range(OUT)]
    offsets = [builder.mul(column_step, integer(j)) for j in range(OUT)]
    square = [[v.load(at(builder, starts[i], offsets[j])) for j in range(OUT)] for i in range(OUT)]
    by_parts(v, PARTS, OUT, lambda i, j: square[i][j], to, plane)


def _emit_sums(v, to, of, count):
    builder, (to, row_step, column_step), (of, plane) = v.builder, to, of
    mask = v.below(count[0])
    planes = [v.load(at(builder, of, builder.mul(plane, integer(i))), mask) for i in range(PLANES)]
    taps = both_ways(v, _sum_line, [planes[i : i + IN] for i in range(0, PLANES, IN)])
    for i, j in np.ndindex(TAPS, TAPS):
        offset = builder.add(builder.mul(row_step, integer(i)), builder.mul(column_step, integer(j)))
        v.store(taps[i][j], at(builder, to, offset), mask)


_gradient = intrinsic_of(_emit_gradient, (True, True, False))
_sums = intrinsic_of(_emit_sums, (True, True, False))


def gradient_tile(like, to, of, inside):
    """The transform of 4x4 pixels of a vector of channels: to (address, step between planes) of (address, row step,
    column step).

    Pixels from `inside` (rows, columns) on are zero and not read.
    """
    channels = lanes(SINGLE, like.itemsize)
    square = np.zeros((OUT, OUT, channels), like.dtype)
    existing = offsets_of_square(*of, *inside, channels)
    square[: inside[0], : inside[1]] = elements(*existing, like.dtype)[0]
    planes = np.einsum("ij,jkc,lk->ilc", A, square, A)
    elements(*offsets_of_square(to[0], IN * to[1], to[1], IN, IN, channels), like.dtype)[1](planes)


def sums_tile(like, to, of, count):
    """The transform of sums of products, of (address, step between planes), into 3x3 gradients of weights, to (address,
    row step, column step), of the first `count` (one integer in a tuple) lanes of a vector."""
    channels = min(count[0], lanes(SINGLE, like.itemsize))
    planes = elements(*offsets_of_square(of[0], IN * of[1], of[1], IN, IN, channels), like.dtype)[0]
    taps = np.einsum("ji,jkc,kl->ilc", G, planes, G)
    elements(*offsets_of_square(*to, TAPS, TAPS, channels), like.dtype)[1](taps)


@overload(gradient_tile, inline="always")
def _call_gradient(like, to, of, inside):
    itemsize = like.dtype.bitwidth // 8
    return lambda like, to, of, inside: _gradient(itemsize, (to, of, inside))


@overload(sums_tile, inline="always")
def _call_sums(like, to, of, count):
    itemsize = like.dtype.bitwidth // 8
    return lambda like, to, of, count: _sums(itemsize, (to, of, count))
