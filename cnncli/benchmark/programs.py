"""A specification as plain data from which a peer builds the same network: each layer with its shapes and padding."""

from collections.abc import Sequence

from cnncli import spec
from cnncli.errors import SpecificationError
from cnncli.kernels.geometry import Axis
from cnncli.layers import Layer, Shape
from cnncli.layers.base import window_axes
from cnncli.layers.transposed_conv import TransposedConv

NOT_ELSEWHERE = "local_conv", "tiled_conv"


def program(specification: "spec.Specification") -> dict:
    """The whole network, its loss and its optimiser."""
    train, nodes = specification.train, spec.nodes(specification)
    return {
        "input": sizes(nodes[0].shape),
        "classes": nodes[-1].output.channels,
        "layers": listed(specification.layers, {node.path: node for node in nodes}),
        "loss": specification.loss,
        "label_smoothing": train.label_smoothing,
        "optimizer": {"kind": train.optimizer.kind, **train.optimizer.model_dump()},
    }


def listed(entries: "Sequence[spec.Entry]", nodes: "dict[str, spec.Node]") -> list[dict]:
    """Layers one after the other, each with the lists of layers that it holds, by name."""
    found = []
    for entry in entries:
        if reason := refusal(entry.layer):
            raise SpecificationError(f"{entry.location}: layer {entry.path} ({entry.kind}): the others have {reason}")
        node = nodes[entry.path]
        inner = {name: listed(inner, nodes) for name, inner in entry.inner.items()}
        found.append(described(entry.layer, node.shape, node.output) | inner)
    return found


def refusal(layer: Layer) -> str | None:
    """What no peer can be asked for, None if they can."""
    if layer.kind in NOT_ELSEWHERE:
        return "no such layer"
    if getattr(layer, "connections", None) is not None:
        return "no connections"
    return "no untied bias" if getattr(layer, "bias", None) == "untied" else None


def described(layer: Layer, shape: Shape, output: Shape) -> dict:
    """A layer's keys with defaults filled in, its input and output (channels first), its window axis by axis."""
    options = {name: getattr(layer, name) for name in type(layer).model_fields if name not in layer.inner()}
    found = {"kind": layer.kind, "input": sizes(shape), "output": sizes(output), **options}
    return found | window(layer, shape) if hasattr(layer, "padding") else found


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
