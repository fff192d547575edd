"""The residual block (He et al. 2016): what its layers make, added to what a shortcut lets through."""

from typing import Annotated

import numpy as np

from cnncli.kernels import elementwise
from cnncli.layers.base import LAYERS, Binding, Layer, OneOf, register


@register("residual")
class Residual(Layer):
    """The sum of `main` and `shortcut`, which both begin at the input; an empty shortcut is the input itself."""

    fuse_relu = True
    passes = True

    main: Annotated[tuple[Layer, ...], OneOf("layer", LAYERS, many=True, least=1)]
    shortcut: Annotated[tuple[Layer, ...], OneOf("layer", LAYERS, many=True)] = ()

    def inner(self):
        # the shortcut first: then the last layer of main can add it to what it makes
        return {"shortcut": self.shortcut, "main": self.main}

    def output_shape(self, shortcut, main):
        if (shortcut.size, shortcut.channels) != (main.size, main.channels):
            raise ValueError(f"its main layers end in {main}, its shortcut in {shortcut}: give it a projection")
        if main.mixed != shortcut.mixed:  # element by element they would not be those that other frameworks add
            raise ValueError("it adds a flattened image to what has another order: put a dense layer behind `flatten`")
        return main

    def bind(self, b: Binding):
        y, one, other = b.y, b.x, b.others[0]
        rows, length = np.stack([y.row_starts, one.row_starts, other.row_starts]), y.size[2] * y.channels
        return [elementwise.add.step(len(y.array), y.array, one.array, other.array, rows, length, b.relu)], []
