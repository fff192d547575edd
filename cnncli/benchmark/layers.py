"""The layers of a network, each with its parts: forward, weight gradient, bias gradient, data gradient."""

from cnncli.benchmark import convolutions
from cnncli.kernels.program import Program
from cnncli.network import Plan

SEPARATOR = " | "


def tasks(plan: Plan) -> dict:
    """All calls of a training step, those of one part of a layer as one: "PATH | PART" -> call."""
    found: dict[str, list] = {}
    for part in (*plan.forward_parts, *plan.backward_parts):
        found.setdefault(f"{part.path}{SEPARATOR}{part.part}", []).extend(part.steps)
    return {name: Program(steps) for name, steps in found.items()}


def rows(plan: Plan) -> list[dict]:
    """Each layer's path, kind, operations and bytes. A relu that joined the layer before it has no row."""
    return [
        {
            "layer": stage.path,
            "kind": stage.layer.kind,
            "output": str(stage.output),
            "operations": convolutions.operations(stage.layer, stage.shape, plan.images),
            "bytes": convolutions.moved(stage.layer, (*stage.node.shapes, stage.output), plan.images),
        }
        for stage in plan.stages
    ]
