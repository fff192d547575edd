"""A specification as plain data from which a peer builds the same network: each layer with its shapes and padding."""

from collections.abc import Sequence

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.kernels.geometry import Axis
from cnncli.layers import Layer, Shape
from cnncli.layers.base import window_axes
from cnncli.layers.merge import Branches, Joint, Residual
from cnncli.layers.transposed_conv import TransposedConv

HELD = {*Branches.model_fields, *Residual.model_fields}  # what stands in `inputs`, not in a peer's layer
NOT_ELSEWHERE = {
    "local_conv": "no such layer",
    "tiled_conv": "no such layer",
    "normalized_conv": "no such layer",
    "unpool": "no layer that finds the maxima of another",
}


def program(specification: "spec.Specification") -> dict:
    """The whole network, its loss and its optimiser. Raises SpecificationError for what no peer can be asked for."""
    train, nodes = specification.train, spec.nodes(specification)
    for node in nodes:
        if reason := refusal(node.layer):
            raise SpecificationError(
                f"{node.location}: layer {node.path} ({node.layer.kind}): the others have {reason}"
            )
    if nodes[-1].output.rank or specification.loss.target == "input":
        raise SpecificationError("the others are asked for networks that learn a label for each sample")
    return {
        "input": sizes(nodes[0].shape),
        "classes": nodes[-1].output.channels,
        "layers": [placed(node) for node in nodes],
        "loss": specification.loss.kind,
        "label_smoothing": train.label_smoothing,
        "optimizer": {"kind": train.optimizer.kind, **train.optimizer.model_dump()},
    }


def placed(node: "spec.Node") -> dict:
    """A layer in its place: `inputs` are the numbers of the values that it reads, 0 the network's input and i + 1 what
    layer i makes; layers of one `owner` share their parameters.
    """
    layer = node.layer
    found = described(layer, node.shape, node.output)
    if isinstance(layer, Joint):  # `zeros`: channels that no input fills
        zeros = node.output.channels - sum(shape.channels for shape in node.shapes) if layer.way == "concat" else 0
        found |= {"kind": "join", "way": layer.way, "zeros": zeros}
    return found | {"inputs": list(node.inputs), "owner": node.owner}


def refusal(layer: Layer) -> str | None:
    """What no peer can be asked for, None if they can."""
    if layer.kind in NOT_ELSEWHERE:
        return NOT_ELSEWHERE[layer.kind]
    if getattr(layer, "connections", None) is not None:
        return "no connections"
    if not getattr(layer, "affine", True):
        return "only a batch_norm with a scale and a shift"
    return "no untied bias" if getattr(layer, "bias", None) == "untied" else None


def described(layer: Layer, shape: Shape, output: Shape) -> dict:
    """A layer's keys with defaults filled in, its input and output (channels first), its window axis by axis."""
    options = layer.model_dump(exclude=set(HELD))
    found = {"kind": layer.kind, "input": sizes(shape), "output": sizes(output), **options}
    if hasattr(layer, "sides"):
        found["pads"] = [list(pair) for pair in layer.sides(shape)[3 - shape.rank :]]
    return found | window(layer, shape) if hasattr(layer, "padding") and hasattr(layer, "stride") else found


def window(layer: Layer, shape: Shape) -> dict:
    """Kernel, stride, dilation and padding (before, after) of each axis that the user sees."""
    if isinstance(layer, TransposedConv):
        return transposed(layer.mirrored_axes(shape)[3 - shape.rank :])
    kernel = layer.kernel if hasattr(layer, "kernel") else layer.size
    stride = kernel if layer.stride is None else layer.stride
    axes = window_axes(shape, kernel, stride, getattr(layer, "dilation", 1), layer.padding)[3 - shape.rank :]
    # what the last window does not reach is no padding
    after = [max(0, (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation + 1 - a.size - a.before) for a in axes]
    return numbers(axes) | {"pads": [[a.before, n] for a, n in zip(axes, after, strict=True)]}


def transposed(axes: Sequence[Axis]) -> dict:
    """The same of a transposed convolution, from its mirrored axes: `pads` are cut, `output_padding` is added."""
    ends = [(a.out - 1) * a.stride + (a.kernel - 1) * a.dilation + 1 - a.before for a in axes]
    return numbers(axes) | {
        "pads": [[a.before, max(0, end - a.size)] for a, end in zip(axes, ends, strict=True)],
        "output_padding": [max(0, a.size - end) for a, end in zip(axes, ends, strict=True)],
    }


def numbers(axes: Sequence[Axis]) -> dict:
    return {name: [getattr(axis, name) for axis in axes] for name in ("kernel", "stride", "dilation")}


def sizes(shape: Shape) -> list[int]:
    return [shape.channels, *shape.axes]
