"""A specification as plain data from which a peer builds the same network: each layer with its shapes and padding."""

from cnncli import spec
from cnncli.layers import Layer, Shape
from cnncli.layers.base import window_axes


def program(specification: "spec.Specification") -> dict:
    """The whole network, its loss and its optimiser."""
    train, shapes = specification.train, spec.shapes(specification)
    return {
        "input": sizes(shapes[0]),
        "classes": shapes[-1].channels,
        "layers": [
            described(entry.layer, shape) for entry, shape in zip(specification.layers, shapes[:-1], strict=True)
        ],
        "loss": specification.loss,
        "label_smoothing": train.label_smoothing,
        "optimizer": {"kind": train.optimizer.kind, **train.optimizer.model_dump()},
    }


def described(layer: Layer, shape: Shape) -> dict:
    """A layer's keys with defaults filled in, its input and output (channels first), its window axis by axis."""
    found = {"kind": layer.kind, "input": sizes(shape), "output": sizes(layer.output_shape(shape))}
    for name in type(layer).model_fields:
        value = getattr(layer, name)
        found[name] = chain(value, shape) if isinstance(value, tuple) else value
    return found | window(layer, shape) if hasattr(layer, "padding") else found


def chain(layers: tuple[Layer, ...], shape: Shape) -> list[dict]:
    """Layers one after the other, as a layer holds them that holds layers."""
    found = []
    for layer in layers:
        found.append(described(layer, shape))
        shape = layer.output_shape(shape)
    return found


def window(layer: Layer, shape: Shape) -> dict:
    """Kernel, stride, dilation and padding (before, after) of each axis that the user sees."""
    kernel = layer.kernel if hasattr(layer, "kernel") else layer.size
    stride = kernel if layer.stride is None else layer.stride
    axes = window_axes(shape, kernel, stride, getattr(layer, "dilation", 1), layer.padding)[3 - shape.rank :]
    # what the last window does not reach is no padding
    after = [max(0, (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation + 1 - a.size - a.before) for a in axes]
    return {
        "kernel": [a.kernel for a in axes],
        "stride": [a.stride for a in axes],
        "dilation": [a.dilation for a in axes],
        "pads": [[a.before, n] for a, n in zip(axes, after, strict=True)],
    }


def sizes(shape: Shape) -> list[int]:
    return [shape.channels, *shape.axes]
