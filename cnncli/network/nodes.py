"""The layers of a specification at their places, and the memory they need: all that is known before any is taken."""

from dataclasses import dataclass

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.layers.activation import Relu
from cnncli.layers.base import NO_BORDER, Border, Layer, Shape


@dataclass(frozen=True)
class Node:
    """A layer at its place: its path in the specification and the shapes before and after it."""

    path: str
    layer: Layer
    shape: Shape
    output: Shape


def nodes(specification: "spec.Specification") -> list[Node]:
    """The layers with their shapes. Raises SpecificationError where an input does not fit, or the end is not flat."""
    shapes = spec.shapes(specification)
    if shapes[-1].rank:
        last = specification.layers[-1]
        message = f"layer {last.path} ({last.kind}): the network must end in a flat output, one number a class"
        raise SpecificationError(f"{last.location}: {message}, not {shapes[-1]}: add `flatten` and `dense`")
    return [
        Node(entry.path, entry.layer, before, after)
        for entry, before, after in zip(specification.layers, shapes[:-1], shapes[1:], strict=True)
    ]


@dataclass
class Stage:
    """One or two layers that run as one: `relu` is fused into the layer before it. `view`: nothing runs."""

    path: str
    layer: Layer
    shape: Shape
    output: Shape
    relu: bool
    view: bool


def stages(of: list[Node], training: bool) -> list[Stage]:
    """The layers with every relu that can be fused drawn into the layer before it."""
    found: list[Stage] = []
    for node in of:
        if isinstance(node.layer, Relu) and found and found[-1].layer.fuse_relu and not found[-1].relu:
            found[-1].relu = True
        else:
            found.append(Stage(node.path, node.layer, node.shape, node.output, False, node.layer.view(training)))
    return found


@dataclass(frozen=True)
class Slot:
    """A buffer between two stages. If it is not its `own`, it is the memory of the slot before it, read otherwise."""

    shape: Shape
    border: Border
    own: bool


def slots(planned: list[Stage], training: bool) -> tuple[list[Slot], list[Slot | None]]:
    """The values from the input's to the output's, and their gradients, None where nobody asks for one.

    A value has the border that its reader expects, a gradient the one that the layer before it expects.
    """
    borders = [NO_BORDER]
    for stage in reversed(planned):  # a view has the border of what reads it
        borders.insert(0, borders[0] if stage.view else stage.layer.border(stage.shape))
    values, gradients = [Slot(planned[0].shape, borders[0], True)], [None]
    learned = False
    for stage, border in zip(planned, borders[1:], strict=True):
        learned = learned or bool(stage.layer.parameters(stage.shape))
        values.append(Slot(stage.output, border, not stage.view))
        before = gradients[-1]
        if stage.view and before is not None:
            same = stage.output.rank == stage.shape.rank
            # what has a border cannot be read as flat: then it is copied
            fits = same or before.border == NO_BORDER
            gradients.append(Slot(stage.output, before.border if same else NO_BORDER, not fits))
        elif (learned and training) or stage is planned[-1]:  # the loss writes its gradient in any case
            around = NO_BORDER if stage.view else stage.layer.gradient_border(stage.shape)
            gradients.append(Slot(stage.output, around, True))
        else:
            gradients.append(None)
    return values, gradients
