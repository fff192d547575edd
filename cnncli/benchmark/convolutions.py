"""One convolution: its tasks, what it computes and what it moves."""

import math

import numpy as np

from cnncli.benchmark.peers.serving import PARTS
from cnncli.kernels.buffer import Arena, Buffer, new_buffer
from cnncli.kernels.geometry import Axis
from cnncli.layers import Shape
from cnncli.layers.base import Binding
from cnncli.layers.conv import Conv

FLOAT = 4  # bytes
