"""A case's layer between buffers of its own, whose surroundings are watched. Arrays go in and out in files' order."""

import math

import numpy as np

from cnncli.kernels.buffer import ALIGNMENT, Arena, Buffer, new_buffer
from cnncli.kernels.geometry import SLACK
from cnncli.kernels.program import Program
from cnncli.layers import Shape
from cnncli.layers.base import NO_BORDER, Binding


class GuardedArena(Arena):
    """Puts bytes of 0xFF around each array, NaN to whoever reads them as numbers; `intact`: nobody wrote there."""

    def __init__(self, dtype):
        super().__init__(dtype)
        self._zones, self._scratches = [], []

    def take(self, shape, dtype=None):
        dtype = np.dtype(dtype or self.dtype)
        wanted = math.prod(shape) * dtype.itemsize
        memory = np.full(wanted + 2 * ALIGNMENT + SLACK, 0xFF, np.uint8)
        start = ALIGNMENT - memory.ctypes.data % ALIGNMENT
        self._zones += [memory[:start], memory[start + wanted :]]
        memory[start : start + wanted] = 0
        return memory[start : start + wanted].view(dtype).reshape(shape)

    def scratch(self, shape):
        self._scratches.append(self.take(shape))
        return self._scratches[-1]

    def poison(self):
        """What the last layer left in the shared memory: here, NaN."""
        for array in self._scratches:
            array.fill(np.nan)

    def intact(self) -> bool:
        return all((zone == 0xFF).all() for zone in self._zones)


def to_buffer(buffer: Buffer, shape: Shape, values) -> None:
    """Write (images, channels, *axes) into the interior; flattened samples are in channels-first order."""
    origin = shape.origin or shape
    values = np.moveaxis(np.asarray(values).reshape(len(values), origin.channels, *origin.size), 1, -1)
    buffer.interior[...] = values.reshape(buffer.interior.shape)


def from_buffer(buffer: Buffer, shape: Shape) -> np.ndarray:
    """A copy of the interior as (images, channels, *axes)."""
    origin, images = shape.origin or shape, len(buffer.array)
    values = np.moveaxis(buffer.interior.reshape(images, *origin.size, origin.channels), -1, 1)
    return values.reshape(images, shape.channels, *shape.axes).copy()


def is_zero_outside(buffer: Buffer) -> bool:
    inside = buffer.interior.copy()
    buffer.interior[...] = 0
    outside = not buffer.array.any()
    buffer.interior[...] = inside
    return outside


class Bound:
    """`wider` draws borders beyond those that the layer asks for; `asked` are flags of its binding, such as `relu`.

    With `added`, what `other` holds is added to y; with `adds`, dx to what `backward` is told.
    """

    def __init__(self, case, dtype, wider=0, added=False, **asked):
        self.case, self.layer, self.shape, self.dtype = case, case.layer, case.shape, np.dtype(dtype)
        self.output = self.layer.output_shape(self.shape)
        self.parameters = self.layer.parameters(self.shape)
        self.arena, self.view = GuardedArena(dtype), self.layer.view(True)
        generator = np.random.default_rng(wider)

        def buffer(shape, border):
            flat = shape.rank == 0 or self.view
            extra = generator.integers(0, 3, (3, 2)) if wider and not flat else np.zeros((3, 2), int)
            border = tuple((b + int(e), a + int(f)) for (b, a), (e, f) in zip(border, extra, strict=True))
            return new_buffer(self.arena, case.images, shape, border)

        self.x, self.dy = buffer(self.shape, self.layer.border(self.shape)), None
        self.dy = buffer(self.output, self.layer.gradient_border(self.shape))
        if self.view:
            self.y = Buffer(self.x.array, self.output.size, self.output.channels, NO_BORDER)
            self.dx = Buffer(self.dy.array, self.shape.size, self.shape.channels, NO_BORDER)
        else:
            self.y, self.dx = buffer(self.output, NO_BORDER), buffer(self.shape, NO_BORDER)
        self.other = buffer(self.output, NO_BORDER) if added else None
        self.values = {name: self.arena.take((p.size,)) for name, p in self.parameters.items()}
        self.learned = {name: p for name, p in self.parameters.items() if p.learned}
        self.gradients = {name: self.arena.take((p.size,)) for name, p in self.learned.items()}
        self.samples, self.key = np.arange(case.images) * 3 + 5, np.array([2024], np.uint64)
        if not self.view:
            forward, parts = self.layer.bind(self._binding(asked))
            self._forward, self._backward = Program(forward), Program([step for _, steps in parts for step in steps])

    def _binding(self, asked):
        buffers = {"x": self.x, "y": self.y, "dx": self.dx, "dy": self.dy, "added": self.other}
        arrays = {"parameters": self.values, "gradients": self.gradients, "samples": self.samples, "key": self.key}
        return Binding(shape=self.shape, arena=self.arena, **buffers, **arrays, **asked)

    def set(self, x, parameters):
        to_buffer(self.x, self.shape, x)
        for name, parameter in self.parameters.items():
            self.values[name][:] = parameter.from_file(np.asarray(parameters[name])).reshape(-1)

    def forward(self, other=None):
        """y, from an output that holds NaN before."""
        if self.other:
            to_buffer(self.other, self.output, other)
        if not self.view:
            self.y.interior[...] = np.nan
            self.arena.poison()
            self._forward()
        return from_buffer(self.y, self.output)

    def backward(self, dy, before=None):
        """(dx, gradients) after `forward`, from arrays that hold NaN before, or dx from what it held `before`."""
        to_buffer(self.dy, self.output, dy)
        if not self.view:
            self.dx.interior[...] = np.nan
            if before is not None:
                to_buffer(self.dx, self.shape, before)
            for gradient in self.gradients.values():
                gradient.fill(np.nan)
            self.arena.poison()
            self._backward()
        gradients = {
            name: parameter.to_file(self.gradients[name].reshape(parameter.shape))
            for name, parameter in self.learned.items()
        }
        return from_buffer(self.dx, self.shape), gradients

    def is_clean(self) -> bool:
        """Whether all borders are still 0 and nothing was written outside any array."""
        buffers = [self.x, self.y, self.dx, self.dy] + ([self.other] if self.other else [])
        return self.arena.intact() and all(is_zero_outside(buffer) for buffer in buffers)

    def random(self, generator, draw):
        """(x, parameters, dy) by `draw(generator, shape)`."""
        images = self.case.images
        x = draw(generator, (images, self.shape.channels, *self.shape.axes))
        parameters = {name: draw(generator, parameter.file_shape) for name, parameter in self.parameters.items()}
        return x, parameters, draw(generator, (images, self.output.channels, *self.output.axes))
