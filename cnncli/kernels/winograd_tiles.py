"""What the convolutions by Winograd's algorithm share: tiles of an image, their transforms, products of a plane."""

import math

import numpy as np
from numba import njit

from cnncli.kernels import geometry
from cnncli.kernels.buffer import ALIGNMENT, Arena, Buffer
from cnncli.kernels.geometry import Axis, check_bounds
from cnncli.kernels.tile import APART, MOST_ROWS, STORE, STRIDED, WIDE, tile, variant
from cnncli.kernels.transforms import IN, OUT, PLANES, TAPS, input_tile, output_tile


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def transform_inputs(v, x, channel, first, many, tiles, rows, steps, sizes):
    """The transforms of `many` tiles of x from the `first` one and from a channel on, to the address v."""
    c_in, v_plane, _, _ = sizes
    size = x.itemsize
    for i in range(many):
        n, t = (first + i) // tiles.shape[0], (first + i) % tiles.shape[0]
        corner, top, bottom, left, right, _, _, _, _ = tiles[t]
        of, to = x.ctypes.data + size * (n * x.shape[1] + corner + channel), v + size * rows[0, i]
        input_tile(x, (to, v_plane), (of, steps[0], steps[1]), (top, bottom), (left, right), c_in)


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def multiply(m, v, u, like, plane, cuts, column, rows, sizes, op):
    """One plane of products, to the address m, for a column of outputs.

    u: (address of the column in the first plane of weights, elements of a plane). cuts: (first row, rows).
    """
    c_in, v_plane, m_plane, _ = sizes
    _, kind, tail, _, _, width, _ = column
    size, table = like.itemsize, rows.ctypes.data
    for cut in range(cuts.shape[0]):
        row, count = cuts[cut]
        if count:
            tile(
                like,
                variant(kind, STRIDED, count),
                (v + size * plane * v_plane, table + 8 * row, table, 1),
                (u[0] + size * plane * u[1], table, width),
                (1, c_in),
                (m + size * plane * m_plane, table + 8 * (rows.shape[1] + row), tail),
                (m, m, table, op),
            )


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def multiply_all(m, v, u, like, cuts, column, rows, sizes):
    """`multiply` for all planes, with a call for each cut."""
    c_in, v_plane, m_plane, _ = sizes
    _, kind, tail, _, _, width, _ = column
    size, table = like.itemsize, rows.ctypes.data
    for cut in range(cuts.shape[0]):
        row, count = cuts[cut]
        if count:
            tile(
                like,
                variant(kind, APART, count),
                (v + size * rows[0, row], table, table, 1),
                (u[0], table, width),
                (PLANES, c_in),
                (m + size * rows[1, row], table + 8 * rows.shape[1], tail),
                (v_plane, u[1], m_plane, STORE),
            )


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def transform_back(y, gate, bias, m, first, many, tiles, column, rows, steps, sizes, op):
    """The transforms of the products at the address m into `many` tiles of y from the `first` one."""
    _, _, m_plane, lanes = sizes
    channel, kind, tail, _, _, _, _ = column
    size, channels = y.itemsize, tail + (lanes if kind == WIDE else 0)
    for i in range(many):
        n, t = (first + i) // tiles.shape[0], (first + i) % tiles.shape[0]
        _, _, _, _, _, at_y, at_gate, high, wide = tiles[t]
        y_here = y.ctypes.data + size * (n * y.shape[1] + at_y + channel)
        gate_here = gate.ctypes.data + size * (n * gate.shape[1] + at_gate + channel)
        output_tile(
            y,
            (m + size * rows[1, i], m_plane),
            (y_here, steps[2], steps[3]),
            (gate_here, steps[4], steps[5]),
            (high, wide, channels),
            (bias.ctypes.data + size * channel, op),
        )


def refusal(axes, groups: int) -> str:
    """Why a convolution cannot go this way; empty if it can."""
    depth, *plane = axes
    if (depth.size, depth.kernel) != (1, 1) or any(axis.kernel != TAPS for axis in plane):
        return "it is for kernels of 3x3 in two dimensions"
    if any(axis.stride != 1 or axis.dilation != 1 for axis in plane):
        return "it is for a stride and a dilation of 1"
    return "it is for one group" if groups != 1 else ""


def tile_count(axes, images: int) -> int:
    """Tiles of so many images."""
    return images * math.prod(-(-axis.out // OUT) for axis in axes)


def _axis_tiles(axis: Axis):
    """Along one axis, for each tile: its first input, the first and behind the last that exist, output, outputs."""
    first = np.arange(0, axis.out, OUT)
    start = first - axis.before
    return start, np.clip(-start, 0, IN), np.clip(axis.size - start, 0, IN), first, np.minimum(OUT, axis.out - first)


def tile_table(axes, x, y, gate):
    """The table of an image's tiles: see `convolve_blocks`."""
    (top, *rows, y_top, high), (left, *columns, y_left, wide) = (_axis_tiles(axis) for axis in axes)

    def grid(of_rows, of_columns):
        return [a.ravel() for a in np.meshgrid(of_rows, of_columns, indexing="ij")]

    corner, (at_h, at_w) = x.place(0, *grid(top, left)), grid(y_top, y_left)
    ranges = [grid(a, left)[0] for a in rows] + [grid(top, a)[1] for a in columns]
    places = [layout.place(0, at_h, at_w) for layout in (y, gate)]
    return np.ascontiguousarray(np.stack([corner, *ranges, *places, *grid(high, wide)], 1))


def check_pixels(what: str, buffer: Buffer, channels: int) -> None:
    """Raise IndexError if so many channels of a pixel can lie outside the buffer."""
    corners = (buffer.layout.place(0, h, w) for h in (0, buffer.size[1] - 1) for w in (0, buffer.size[2] - 1))
    check_bounds(what, buffer.array.shape[1], np.array(list(corners)), np.array([0, channels - 1]))


def odd(elements, vector):
    """Elements of a plane: an odd number of vectors, so that the 36 lie in different sets of the cache."""
    return (-(-elements // vector) | 1) * vector


def cuts_of(counts, columns):
    """The (first row, rows) of so many rows of tiles in register tiles, for each of the counts; none have 0 rows."""
    kinds = set(columns[:, 1].tolist())
    most, vectors = min(MOST_ROWS[kind] for kind in kinds), 2 if WIDE in kinds else 1
    sizes = [geometry.split(count, most, vectors) for count in counts]
    cuts = np.zeros((len(sizes), max(map(len, sizes)), 2), np.int64)
    for found, of_count in zip(cuts, sizes, strict=True):
        found[: len(of_count)] = np.stack([np.cumsum((0, *of_count[:-1])), of_count], 1)
    return cuts


def scratch_arrays(arena: Arena, *sizes: int) -> list[np.ndarray]:
    """Arrays of `sizes` elements, side by side in the arena's scratch."""
    line = ALIGNMENT // arena.dtype.itemsize
    ends = np.cumsum([0, *(-(-size // line) * line for size in sizes)])
    whole = arena.scratch((int(ends[-1]),))
    return [whole[first : first + size] for first, size in zip(ends[:-1], sizes, strict=True)]
