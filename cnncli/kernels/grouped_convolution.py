"""Convolutions of a few channels a group: the register tile, whose lanes are outputs of one group, would be half empty.

Here lanes run over the channels of several groups, as `depthwise` has it. On two cores of Zen 5, whose peak is 526
GFLOP/s, 3x3 over 8 images of 128x28x28 has (forward, weight gradient, data gradient) 351, 368 and 331 of them in groups
of 8 channels, 418, 339 and 378 in groups of 4, where the tile had some 200 and 90; the plain convolution has 518, 446
and 520. Groups of 16 channels go no faster this way (106, 331 and 101 against the tile's 324, 301 and 324).
"""

import numpy as np

from cnncli.kernels import depthwise_tile
from cnncli.kernels.buffer import Arena, Buffer
from cnncli.kernels.convolution import STORE, Convolution
from cnncli.kernels.depthwise_convolution import DepthwiseConvolution


def convolution_of(axes, c_in: int, c_out: int, groups: int, algorithm: str = "auto") -> Convolution:
    """The convolution of these shapes, by the faster tile."""
    narrow = groups > 1 and c_in == c_out and c_in // groups in depthwise_tile.WIDTHS
    return (GroupedConvolution if narrow else Convolution)(axes, c_in, c_out, groups, algorithm)


class GroupedConvolution(Convolution):
    """One whose groups have as many inputs as outputs, one of `depthwise_tile.WIDTHS`."""

    border = gradient_border = around = ((0, 0),) * 3

    def __init__(self, axes, c_in, c_out, groups, algorithm="auto"):
        super().__init__(axes, c_in, c_out, groups, algorithm)
        self._width = c_in // groups
        self._channels = DepthwiseConvolution(axes, c_in, group=self._width)

    def pack(self, matrices):
        groups, rows, width = matrices.shape
        packed = np.empty((rows // width, width, groups, width), matrices.dtype)
        for i, r in np.ndindex(width, width):
            packed[:, r, :, i] = matrices[:, i::width, i ^ r].T
        return packed.reshape(-1)

    def unpack(self, flat):
        groups, width = self.groups, self._width
        packed = flat.reshape(-1, width, groups, width)
        matrices = np.empty((groups, len(packed) * width, width), flat.dtype)
        for i, r in np.ndindex(width, width):
            matrices[:, i::width, i ^ r] = packed[:, r, :, i].T
        return matrices

    def plan_forward(self, y: Buffer, x: Buffer, w, bias, op, other: Buffer | None = None, arena=None, prepared=None):
        return self._channels.plan_forward(y, x, w, bias, op, other)

    def plan_data_gradient(
        self, dx: Buffer, dy: Buffer, w, arena: Arena, op=STORE, gate: Buffer | None = None, bias=None, prepared=None
    ):
        return self._channels.plan_data_gradient(dx, dy, w, arena, op, gate, bias, prepared)

    def plan_weight_gradient(self, dw, x: Buffer, dy: Buffer, arena: Arena):
        return self._channels.plan_weight_gradient(dw, None, x, dy, arena)
