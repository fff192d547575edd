"""The weights of convolutions, from the kernels' layout to the field's order and back."""

import math

from cnncli.kernels.convolution import Convolution
from cnncli.kernels.strips import pack, unpack
from cnncli.layers.base import Constant, Init, Parameter


def weight(convolution: Convolution, rank: int, fans: tuple[int, int], init: Init) -> Parameter:
    """The weights of a convolution over `rank` axes, filed as (out, in of one group, *kernel)."""
    groups, *kernel, c_in, c_out = convolution.weight_shape
    file_shape, taps = (groups * c_out, c_in, *kernel[3 - rank :]), math.prod(kernel)

    def to_file(w):
        ours = unpack(w, groups, c_out).reshape(groups, *kernel, c_in, c_out)
        return ours.transpose(0, 5, 4, 1, 2, 3).reshape(file_shape)

    def from_file(w):
        ours = w.reshape(groups, c_out, c_in, *kernel).transpose(0, 3, 4, 5, 2, 1)
        return pack(ours.reshape(groups, taps * c_in, c_out))

    size = (groups * taps * c_in * c_out,)
    return Parameter(size, file_shape, fans, init, to_file=to_file, from_file=from_file)


def bias(filters: int) -> Parameter:
    """A number for each filter."""
    return Parameter((filters,), (filters,), (1, 1), Constant(constant=0.0), decays=False)
