"""Layers that apply others several times: each time with weights of their own, or always with the same."""

from typing import Annotated

from pydantic import Field

from cnncli.layers.base import LAYERS, Layer, OneOf, register
from cnncli.layers.merge import Joint

MOST = 10_000
Times = Annotated[int, Field(ge=1, le=MOST)]
Layers = Annotated[tuple[Layer, ...], OneOf("layer", LAYERS, many=True, least=1)]


@register("repeat")
class Repeat(Layer):
    """Copies of a list of layers one after another, each with its own weights: `spec` puts them in its place."""

    times: Times
    layers: Layers

    def inner(self):
        return {"layers": self.layers}

    @property
    def runs(self):
        return self.times


@register("recurrent")
class Recurrent(Layer):
    """The same layers, with the same weights, `steps` times over (Pinheiro and Collobert 2014).

    Each time they read the input and, in further channels, what they made the time before, at first zeros: recurrent
    labelling of pixels (Goodfellow et al. 2016, figure 9.17). `spec.nodes` unrolls it.
    """

    steps: Times
    layers: Layers

    def inner(self):
        return {"layers": self.layers}

    @property
    def runs(self):
        return self.steps


class Feedback(Joint):
    """What the layers in a `recurrent` read: its input, then `channels` of their last output, or zeros at first."""

    kind = "recurrent"
    way = "concat"
    channels: int

    def output_shape(self, *shapes):
        made = super().output_shape(*shapes)
        return type(made)(made.size, shapes[0].channels + self.channels, made.rank)

    def called(self):
        return ["its input", "its output"]
