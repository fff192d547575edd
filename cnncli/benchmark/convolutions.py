"""One convolution of ours, bound as a network binds it: its tasks, and what each computes and moves."""

import math
from dataclasses import dataclass

import numpy as np

from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.kernels.program import Program
from cnncli.layers import Layer, Shape
from cnncli.layers.base import NO_BORDER, Binding
from cnncli.layers.conv import Conv
from cnncli.layers.depthwise_conv import DepthwiseConv

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Bound:
    """Input and output of a bound convolution, its flat weights, and "forward", "weight gradient", "data gradient"."""

    x: Buffer
    y: Buffer
    weights: np.ndarray
    tasks: dict[str, Program]


def bound(layer: Conv | DepthwiseConv, shape: Shape, images: int) -> Bound:
    """A convolution without a bias, with random images and weights."""
    arena, output, generator = Arena(np.float32), layer.output_shape(shape), np.random.default_rng(0)
    (weight,) = layer.parameters(shape).values()
    x = new_buffer(arena, images, shape, layer.border(shape))
    dy = new_buffer(arena, images, output, layer.gradient_border(shape))
    for buffer in (x, dy):
        buffer.interior[...] = generator.standard_normal(buffer.interior.shape, np.float32)
    values = arena.take((weight.size,))
    y = new_buffer(arena, images, output, NO_BORDER)
    values[:] = generator.standard_normal(weight.size, np.float32)
    forward, backward = layer.bind(
        Binding(
            shape=shape,
            x=x,
            y=y,
            dx=new_buffer(arena, images, shape, NO_BORDER),
            dy=dy,
            parameters={"weight": values},
            gradients={"weight": arena.take((weight.size,))},
            arena=arena,
            samples=np.arange(images),
            key=np.zeros(1, np.uint64),
        )
    )
    programs = {"forward": Program(forward)} | {part: Program(steps) for part, steps in backward}
    return Bound(x, y, values, programs)


def operations(layer: Layer, shape: Shape, images: int) -> int:
    """Multiplications and additions of a forward pass, or of either gradient, by the direct-convolution count."""
    return 2 * layer.multiply_adds(shape) * images


def moved(layer: Layer, shapes: tuple[Shape, ...], images: int) -> int:
    """The bytes of inputs, output (`shapes`) and parameters, each once: what each part has to read and to write.

    Forward reads input and weights and writes the output; a gradient reads two of the three and writes the third.
    """
    weights = sum(math.prod(parameter.shape) for parameter in layer.parameters(shapes[0]).values())
    return FLOAT * (images * sum(shape.elements for shape in shapes) + weights)
