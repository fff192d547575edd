"""The layers of a network, each with its parts: forward, weight gradient, bias gradient, data gradient."""

from cnncli.benchmark import convolutions
from cnncli.network import Plan

SEPARATOR = " | "


def tasks(plan: Plan) -> dict:
    """All calls of a training step, those of one part of a layer as one: "PATH | PART" -> call."""
    found: dict[str, list] = {}
    for step in (*plan.forward_calls, *plan.backward_calls):
        found.setdefault(f"{step.path}{SEPARATOR}{step.part}", []).append(step.call)
    return {name: calls[0] if len(calls) == 1 else _all(calls) for name, calls in found.items()}


def _all(calls):
    def run():
        for call in calls:
            call()

    return run


def rows(plan: Plan) -> list[dict]:
    """Each layer's path, kind, operations and bytes. A relu that joined the layer before it has no row."""
    return [
        {
            "layer": stage.path,
            "kind": stage.layer.kind,
            "output": str(stage.output),
            "operations": convolutions.operations(stage.layer, stage.shape, plan.images),
            "bytes": convolutions.moved(stage.layer, stage.shape, plan.images),
        }
        for stage in plan.stages
    ]
