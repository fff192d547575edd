"""The JSON Schema of a specification, for editors that complete and check YAML."""

from typing import Any

from cnncli.layers import LAYERS
from cnncli.layers.initializers import INITIALIZERS
from cnncli.spec.options import AUGMENTATIONS, LOSSES, OPTIMIZERS, SCHEDULES, Document

CHOICES = {
    "layer": LAYERS,
    "initializer": INITIALIZERS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augmentation": AUGMENTATIONS,
}


def json_schema() -> dict[str, Any]:
    """The schema of the whole file, with all short forms of all layers."""
    schema = Document.model_json_schema()
    definitions = schema.pop("$defs", {})
    for section in schema["properties"].values():
        if "$ref" in section:
            section.pop("default", None)  # pydantic writes it as an object, the file as a word
    for what, known in CHOICES.items():
        forms: list[dict[str, Any]] = [{"enum": list(known)}]
        for kind, cls in known.items():
            options = cls.model_json_schema()
            definitions |= options.pop("$defs", {})
            values = [options, {"type": "null"}, *([options["properties"][cls.lone]] if cls.lone else [])]
            forms.append({"type": "object", "properties": {kind: {"anyOf": values}}, "required": [kind]})
            forms[-1]["additionalProperties"] = False
        definitions[what] = {"anyOf": forms}
    return linked({**schema, "$defs": definitions})


def linked(part: Any) -> Any:
    """`part` with every mark of a `OneOf` as a reference, so that layers may hold layers."""
    if isinstance(part, list):
        return [linked(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("choice"), str):
        return {"$ref": f"#/$defs/{part['choice']}"}
    return {key: linked(inner) for key, inner in part.items()}
