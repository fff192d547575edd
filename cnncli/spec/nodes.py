"""The layers of a specification in the order in which they run, with the shapes between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cnncli.errors import SpecificationError, one_line
from cnncli.layers import Layer, Shape
from cnncli.layers.base import Parameter
from cnncli.layers.pool import MaxPool
from cnncli.layers.repeat import Feedback, Recurrent
from cnncli.layers.unpool import Unpool, Unpooling
from cnncli.spec.entries import INPUT, Entry
from cnncli.spec.specification import Specification
from cnncli.spec.words import quote

SHAPES_SHOWN = 6
GUESSES = range(1, 9)  # of the number of channels that a `recurrent` makes


@dataclass(frozen=True)
class Node:
    """A layer at its place: its path, the values it reads, their shapes, and the shape of what it makes.

    Value 0 is the network's input, value i + 1 is what node i makes. A layer that holds lists of layers comes after
    them and reads what each of them ends in. `owner` is the path of the node with whose learned parameters it works:
    its own, or in the later steps of a `recurrent` that of the first. What is counted, such as running averages, is
    each step's own (Cooijmans et al. 2017, "Recurrent Batch Normalization").
    """

    path: str
    layer: Layer
    inputs: tuple[int, ...]
    shapes: tuple[Shape, ...]
    output: Shape
    owner: str
    location: str = field(default="", compare=False)

    @property
    def shape(self) -> Shape:
        """The shape of the first input."""
        return self.shapes[0]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Its parameters by their names in a checkpoint."""
        return {self.tensor(name): p for name, p in self.layer.declared(self.shape).items()}

    def tensor(self, name: str) -> str:
        """What a parameter of its layer is called in a checkpoint."""
        learned = self.layer.parameters(self.shape)[name].learned
        return f"{self.owner if learned else self.path}.{name}"

    @property
    def learned(self) -> int:
        """How many numbers are here first that can be learned, if nobody freezes them."""
        own = self.layer.parameters(self.shape).values() if self.owner == self.path else ()
        return sum(parameter.count for parameter in own if parameter.learned)


def input_shape(specification: Specification) -> Shape:
    axes = specification.input.size
    return Shape((1,) * (3 - len(axes)) + tuple(axes), specification.input.channels, len(axes))


def nodes(specification: Specification) -> list[Node]:
    """All layers, those that others hold before these.

    Raises SpecificationError for the first layer whose input does not fit, with the shapes that lead to it.
    """
    graph = _Graph(input_shape(specification))
    graph.follow(specification.layers, 0)
    graph.check_readers()
    return graph.nodes


class _Graph:
    """Grows node by node: `values` are the shapes of all values, `ends` the values that the layers at paths end in."""

    def __init__(self, shape: Shape):
        self.nodes: list[Node] = []
        self.entries: list[Entry] = []  # of the nodes
        self.values = [shape]
        self.ends = {INPUT: 0}
        self.unrolling = False
        self.unpooled: set[int] = set()  # what poolings make whose places an unpooling asks for
        self.step = ""  # ends the paths of nodes in later steps of a `recurrent`

    def follow(self, entries: Sequence[Entry], value: int) -> int:
        """Append the nodes of a list of layers that begins at a value; returns the value that it ends in."""
        for entry in entries:
            value = self.ends[entry.source] if entry.source else value
            if isinstance(entry.layer, Recurrent):
                value = self.unroll(entry, value)
            elif isinstance(entry.layer, Unpool):
                value = self.unpool(entry, value)
            else:
                inner = tuple(self.follow(held, value) for held in entry.inner.values())
                value = self.add(entry, entry.layer, inner or (*(self.ends[path] for path in entry.others), value))
            self.ends[entry.path] = value
        return value

    def add(self, entry: Entry, layer: Layer, inputs: tuple[int, ...]) -> int:
        """Append a node; returns the value that it makes."""
        shapes = tuple(self.values[i] for i in inputs)
        try:
            layer = layer.fitted(self.values[self.ends[entry.reference]]) if entry.reference else layer
            output = layer.output_shape(*shapes)
            for parameter in layer.parameters(shapes[0]).values():
                parameter.init.check_layer(layer, shapes[0])
                parameter.init.check(parameter.kernel_shape)
        except ValueError as error:
            raise self.mistake(entry, one_line(str(error))) from None
        self.entries.append(entry)
        self.nodes.append(Node(f"{entry.path}{self.step}", layer, inputs, shapes, output, entry.path, entry.location))
        self.values.append(output)
        return len(self.nodes)

    def mistake(self, entry: Entry, message: str) -> SpecificationError:
        so_far = _so_far(self.values[0], self.nodes)
        return SpecificationError(f"{entry.location}: layer {entry.path} ({entry.kind}): {message}; {so_far}")

    def check_readers(self) -> None:
        """Raise SpecificationError for a layer whose output goes nowhere."""
        read = {value for node in self.nodes for value in node.inputs}
        for value, entry in enumerate(self.entries[:-1], 1):
            if value not in read:
                unread = "no layer reads what it makes: remove it"
                if value in self.unpooled:
                    unread = "no layer reads what it makes, an unpool only where its maxima are: read it or remove both"
                raise SpecificationError(f"{entry.location}: layer {entry.path} ({entry.kind}): {unread}")

    def unpool(self, entry: Entry, value: int) -> int:
        """Append an unpooling, which reads what the pooling that it names reads, and a value."""
        end = self.ends[entry.others[0]]
        pooling = self.nodes[end - 1] if end else None
        if not (pooling and isinstance(pooling.layer, MaxPool)):
            kind = pooling.layer.kind if pooling else "the network's input"
            raise self.mistake(entry, f"{quote(entry.layer.of)} is no max_pool: it is {kind}")
        self.unpooled.add(end)
        return self.add(entry, Unpooling(pooling=pooling.layer), (pooling.inputs[0], value))

    def unroll(self, entry: Entry, value: int) -> int:
        """Append the nodes of all steps of a `recurrent`; returns what it makes in the last."""
        if self.unrolling:
            raise self.mistake(entry, "a recurrent layer cannot hold another")
        self.unrolling = True
        feedback, made = Feedback(channels=self.channels(entry, value)), ()
        for step in range(entry.layer.steps):
            self.step = f"@{step + 1}" if step else ""
            made = (self.apply(entry, feedback, (value, *made)),)
        self.step, self.unrolling = "", False
        return made[0]

    def apply(self, entry: Entry, feedback: Feedback, inputs: tuple[int, ...]) -> int:
        """Append the nodes of one step of a `recurrent`."""
        return self.follow(entry.inner["layers"], self.add(entry, feedback, inputs))

    def channels(self, entry: Entry, value: int) -> int:
        """How many channels the layers of a `recurrent` make when they read as many beside its input."""
        shape, known, refused = self.values[value], len(self.nodes), None

        def made(channels: int) -> Shape:
            try:
                return self.values[self.apply(entry, Feedback(channels=channels), (value,))]
            finally:
                del self.nodes[known:], self.entries[known:], self.values[known + 1 :]

        for guess in (*GUESSES, shape.channels):
            try:
                found = made(guess).channels
                break
            except SpecificationError as error:  # not every number divides into groups, say
                refused = refused or error
        else:
            raise refused
        output = made(found)
        if (output.size, output.rank) != (shape.size, shape.rank):
            raise self.mistake(entry, f"its layers make {output} of {shape}: they must keep the size")
        if output.channels != found:
            message = f"its layers make {output.channels} channels with {found} fed back: let the last decide how many"
            raise self.mistake(entry, message)
        return found


def _so_far(first: Shape, known: list[Node]) -> str:
    steps = [f"input {first}", *(f"{node.path} {node.output}" for node in known)]
    cut = ["..."] if len(steps) > SHAPES_SHOWN else []
    return f"shapes so far: {', '.join(cut + steps[-SHAPES_SHOWN:])}"
