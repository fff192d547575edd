"""LeNet-5's output layer: radial basis functions, the distance to each class's code (LeCun et al. 1998, equation 7)."""

from typing import Literal

import numpy as np

from cnncli.kernels import rbf
from cnncli.layers.base import DATA, WEIGHT, Binding, Dimension, Layer, Parameter, Shape, register
from cnncli.layers.dense import channels_first
from cnncli.layers.initializers import Initializer

# Stylised digits of 7 x 12 pixels: characters that look alike have codes that are alike
DIGITS = """
..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .####..
.##.##. ..###.. ##...## ##...## ...###. ##..... .##..## .....## ##...## ##..##.
##...## .####.. .....## .....## ...###. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ..####. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ....##. ..#.##. ######. ##..... ....##. .##.##. ##...##
##...## ...##.. ...##.. ..###.. .##.##. ##...## ##.###. ...##.. ..###.. .##.###
##...## ...##.. ..##... ....##. .#..##. .....## ###..## ...##.. .##.##. ..##.##
##...## ...##.. .##.... .....## ##..##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## .##..## .##.... ##...## .##..##
..###.. .###### ####### .#####. ....##. .#####. ..####. .##.... .#####. ..####.
"""


class Digits(Initializer):
    """The codes of the ten digits, (10, 84): 1 where there is ink, else -1."""

    def make(self, generator, shape, fans):
        rows = [line.split() for line in DIGITS.split("\n") if line]
        pictures = ["".join(row[digit] for row in rows) for digit in range(10)]
        return np.array([[1.0 if pixel == "#" else -1.0 for pixel in picture] for picture in pictures])


class Signs(Initializer):
    """1 or -1 at random."""

    def make(self, generator, shape, fans):
        return generator.choice([-1.0, 1.0], shape)


CODES = {"digits": Digits(), "random": Signs()}


@register("rbf")
class Rbf(Layer):
    """Minus the squared distance of the input to the code of each of `units` classes, a vector of 1 and -1.

    The nearest code has the largest output, as with any other last layer; with softmax_cross_entropy it is trained by
    the paper's equation 9 without the class of rubbish. The codes stay as they are unless they are `trainable`. Before
    it, LeNet-5 has a dense layer and `scaled_tanh`, which is 1 and -1 where it is curved most.
    """

    lone = "units"

    units: Dimension
    codes: Literal["random", "digits"] = "random"
    trainable: bool = False

    def output_shape(self, shape):
        if shape.rank:
            raise ValueError("it needs a flat input: put `flatten` before it")
        if self.codes == "digits" and (shape.channels, self.units) != (84, 10):
            found = f"{shape.channels} and {self.units}"
            raise ValueError(f"the codes of the digits need 84 inputs, 12 rows of 7, and 10 units, not {found}")
        return Shape((1, 1, 1), self.units, 0)

    def parameters(self, shape):
        inputs = shape.channels
        return {
            "weight": Parameter(
                (inputs, self.units),
                (self.units, inputs),
                (inputs, self.units),
                CODES[self.codes],
                decays=False,
                learned=self.trainable,
                to_file=lambda w: w[channels_first(shape)].T,
                from_file=lambda w: w.T[np.argsort(channels_first(shape))],
            )
        }

    def multiply_adds(self, shape):
        return shape.channels * self.units

    def bind(self, b: Binding):
        x, y, weight, work = b.x.array, b.y.array, b.parameters["weight"], self.multiply_adds(b.shape) * len(b.x.array)
        forward, backward = [rbf.negative_distances.step(len(y), y, x, weight, multiply_adds=work)], []
        if self.trainable and b.dy is not None:
            arrays = b.gradients["weight"], b.dy.array, x, weight
            step = rbf.negative_distances_weight_gradient.step(x.shape[1], *arrays, multiply_adds=work)
            backward.append((WEIGHT, [step]))
        if b.dx is not None:
            arrays = b.dx.array, b.dy.array, x, weight
            step = rbf.negative_distances_gradient.step(len(x), *arrays, multiply_adds=work)
            backward.append((DATA, [step]))
        return forward, backward
