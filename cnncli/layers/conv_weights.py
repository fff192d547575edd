"""The parameters of convolutions, from the kernels' layout to the field's order and back."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnncli.kernels.convolution import Convolution
from cnncli.layers.base import Parameter, Shape
from cnncli.layers.initializers import Constant, Initializer

# the maps of S2 that each of the 16 maps of LeNet-5's C3 sees (LeCun et al. 1998, Table I)
LENET5 = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5),
    (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip


def weight(convolution: Convolution, rank: int, fans: tuple[int, int], init: Initializer) -> Parameter:
    """The weights of a convolution over `rank` axes, filed as (out, in of one group, *kernel)."""
    groups, *kernel, c_in, c_out = convolution.weight_shape
    file_shape, taps = (groups * c_out, c_in, *kernel[3 - rank :]), math.prod(kernel)

    def to_file(w):
        ours = convolution.unpack(w).reshape(groups, *kernel, c_in, c_out)
        return ours.transpose(0, 5, 4, 1, 2, 3).reshape(file_shape)

    def from_file(w):
        ours = w.reshape(groups, c_out, c_in, *kernel).transpose(0, 3, 4, 5, 2, 1)
        return convolution.pack(ours.reshape(groups, taps * c_in, c_out))

    size = (groups * taps * c_in * c_out,)
    return Parameter(size, file_shape, fans, init, to_file=to_file, from_file=from_file)


def flipped(parameter: Parameter) -> Parameter:
    """Filed with the kernel turned round: that of a convolution, where the kernels compute a cross-correlation."""
    axes = tuple(range(2, len(parameter.file_shape)))
    return replace(
        parameter,
        to_file=lambda w: np.flip(parameter.to_file(w), axes),
        from_file=lambda w: parameter.from_file(np.flip(w, axes)),
    )


def connected(parameter: Parameter, connections: Sequence[Sequence[int]]) -> Parameter:
    """With zeros where a filter (`connections`: the inputs that each sees) has no connection, whatever a file holds."""
    filters, channels, *kernel = parameter.file_shape

    def mask() -> np.ndarray:
        seen = np.zeros((filters, channels, *(1 for _ in kernel)), bool)
        for of_filter, inputs in zip(seen, connections, strict=True):
            of_filter[list(inputs)] = True
        return np.broadcast_to(seen, parameter.file_shape)

    pairs, taps = sum(map(len, connections)), math.prod(kernel)
    return replace(
        parameter,
        fans=(max(1, round(pairs / filters)) * taps, max(1, round(pairs / channels)) * taps),
        connected=lambda: parameter.from_file(mask()),
        links=pairs * taps,
        from_file=lambda w: parameter.from_file(np.where(mask(), w, 0)),
    )


def checked(connections: Sequence[Sequence[int]], filters: int, channels: int) -> Sequence[Sequence[int]]:
    """The connections. Raises ValueError where they do not fit."""
    if len(connections) != filters:
        raise ValueError(f"its connections are those of {len(connections)} filters, it has {filters}")
    for number, inputs in enumerate(connections):
        if max(inputs) >= channels:
            raise ValueError(f"connections[{number}] has {max(inputs)}, its input channels are 0 to {channels - 1}")
        if len(set(inputs)) != len(inputs):
            raise ValueError(f"connections[{number}] holds an input channel twice")
    return connections


def bias(filters: int) -> Parameter:
    """A number for each filter."""
    return Parameter((filters,), (filters,), (1, 1), Constant(constant=0.0), decays=False)


def untied_bias(output: Shape) -> Parameter:
    """A number for each filter at each place, filed as (filters, *places)."""
    filed, ours = (output.channels, *output.axes), (*output.size, output.channels)
    return Parameter(
        (output.elements,),
        filed,
        (1, 1),
        Constant(constant=0.0),
        decays=False,
        to_file=lambda b: np.moveaxis(b.reshape(ours), -1, 0).reshape(filed),
        from_file=lambda b: np.moveaxis(b.reshape(output.channels, *output.size), 0, -1).reshape(-1),
    )
