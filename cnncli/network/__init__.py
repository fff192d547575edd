"""Networks: layers in order, their parameters in one flat array, their buffers, one training step, one inference."""

from cnncli.network.network import Network
from cnncli.network.nodes import Node, nodes, slots, stages
from cnncli.network.parameters import Parameters
from cnncli.network.plan import Plan

__all__ = ["Network", "Node", "Parameters", "Plan", "nodes", "slots", "stages"]
