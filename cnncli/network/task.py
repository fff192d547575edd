"""What a network is trained for: a label of each sample, a label of each of its pixels, or its own input."""

from cnncli.layers import Shape
from cnncli.spec import Specification

CLASSES, PIXELS, INPUT = "classes", "pixels", "input"


def task_of(specification: Specification, shape: Shape, output: Shape) -> str:
    """CLASSES, PIXELS or INPUT, by the loss and by the shapes of input and output.

    Raises ValueError where they do not go together.
    """
    loss = specification.loss
    if loss.target == "input":
        flat = output.rank == 0 and output.elements == shape.elements and shape.channels == 1
        if not flat and (output.size, output.channels) != (shape.size, shape.channels):
            raise ValueError(f"to reconstruct its input the network must end in {shape}, not {output}")
        if loss.kind == "binary_cross_entropy" and specification.data.normalize != "none":
            raise ValueError("binary_cross_entropy needs an input from 0 to 1: set data.normalize to none")
        return INPUT
    found = CLASSES if output.rank == 0 else PIXELS
    if found == PIXELS and output.size != shape.size:
        raise ValueError(
            f"the network must end in a flat output, one number a class, not {output}: add `flatten` and `dense`; "
            f"or, to label pixels, in a map of the input's size {'x'.join(map(str, shape.axes))}"
        )
    if found == CLASSES and loss.ignored is not None:
        raise ValueError("loss.ignore is for networks that label pixels")
    if loss.weights is not None and len(loss.weights) != output.channels:
        raise ValueError(f"loss.class_weights has {len(loss.weights)} numbers, the network ends in {output.channels}")
    return found
