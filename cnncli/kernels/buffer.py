"""Memory: an arena of aligned zeros, and buffers of activations with a zero border that live in it."""

import math
from dataclasses import dataclass

import numpy as np

from cnncli.kernels.geometry import SLACK, Layout

ALIGNMENT = 64  # bytes: a cache line and the widest vector
CHUNK = 1 << 26  # bytes that the arena asks for at least; pages that are never touched cost nothing

# Bytes of arrays whose pages are touched: a masked load of no lanes, as of a bias that is not asked for, takes
# microseconds where a page was never written (8 images of 128x28x28, 3x3 in groups of 8: 1.73 ms in place of 0.37).
SMALL = 1 << 16


class Arena:
    """Hands out zeroed, aligned arrays, each with SLACK bytes after it. Nothing is ever given back."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self.bytes = 0
        self._free = np.zeros(0, np.uint8)
        self._scratch = np.zeros(0, np.uint8)

    def take(self, shape, dtype=None) -> np.ndarray:
        """A C-contiguous array of zeros."""
        dtype = np.dtype(dtype or self.dtype)
        wanted = math.prod(shape) * dtype.itemsize
        if wanted >= 1 << 46:  # beyond any address space: NumPy's own refusal would be a ValueError
            raise MemoryError(f"{wanted} bytes")
        step = -(-(wanted + SLACK) // ALIGNMENT) * ALIGNMENT
        if step > self._free.size:
            chunk = np.zeros(max(CHUNK, step) + ALIGNMENT, np.uint8)
            self._free = chunk[-chunk.ctypes.data % ALIGNMENT :]
        array = self._free[:wanted].view(dtype).reshape(shape)
        if wanted <= SMALL:
            array.fill(0)
        self._free = self._free[step:]
        self.bytes += step
        return array

    def scratch(self, shape) -> np.ndarray:
        """An array whose contents last until the next layer runs: all layers share the memory."""
        wanted = math.prod(shape) * self.dtype.itemsize
        if wanted > self._scratch.size:
            self._scratch = self.take((wanted,), np.uint8)
        return self._scratch[:wanted].view(self.dtype).reshape(shape)


@dataclass(frozen=True)
class Buffer:
    """Activations, or their gradients: `array` is (images, elements), channels last, each axis with its zero border."""

    array: np.ndarray
    size: tuple[int, int, int]
    channels: int
    border: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

    @property
    def padded(self) -> tuple[int, int, int]:
        return tuple(n + before + after for n, (before, after) in zip(self.size, self.border, strict=True))

    @property
    def layout(self) -> Layout:
        _, height, width = self.padded
        strides = (height * width * self.channels, width * self.channels, self.channels)
        origin = sum(before * stride for (before, _), stride in zip(self.border, strides, strict=True))
        return Layout(origin, strides, self.array.shape[1])

    @property
    def interior(self) -> np.ndarray:
        """The pixels without the border, a view (images, depth, height, width, channels)."""
        inside = tuple(slice(before, before + n) for n, (before, _) in zip(self.size, self.border, strict=True))
        return self.array.reshape(-1, *self.padded, self.channels)[(slice(None), *inside)]

    @property
    def row_starts(self) -> np.ndarray:
        """The offset of each row of pixels: a row is `size[2] * channels` contiguous elements."""
        d, h = np.meshgrid(np.arange(self.size[0]), np.arange(self.size[1]), indexing="ij")
        return np.ascontiguousarray(self.layout.place(d, h, 0).ravel())


def new_buffer(arena: Arena, images: int, shape, border) -> Buffer:
    """A zeroed buffer for `images` samples of `shape` (a `size` and `channels`)."""
    padded = [n + before + after for n, (before, after) in zip(shape.size, border, strict=True)]
    array = arena.take((images, math.prod(padded) * shape.channels))
    return Buffer(array, shape.size, shape.channels, border)
