"""Networks: the graph of layers, their parameters in one flat array, their buffers, one step, one inference."""

from cnncli.network.memory import activations, weights
from cnncli.network.network import Network, nodes, schedule
from cnncli.network.parameters import Parameters
from cnncli.network.plan import Plan
from cnncli.network.stages import stages
from cnncli.network.task import CLASSES, INPUT, PIXELS

__all__ = [
    "CLASSES",
    "INPUT",
    "PIXELS",
    "Network",
    "Parameters",
    "Plan",
    "activations",
    "nodes",
    "schedule",
    "stages",
    "weights",
]
