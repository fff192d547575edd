"""The JSON Schema of a specification, for editors that complete and check YAML."""

from typing import Any

from cnncli.layers import LAYERS
from cnncli.layers.initializers import INITIALIZERS
from cnncli.spec.blocks import PARAMETER
from cnncli.spec.expected import LAYER_NAME_PATTERN
from cnncli.spec.options import AUGMENTATIONS, LOSSES, OPTIMIZERS, SCHEDULES, Document

PARAMETER_FORM = {"type": "string", "pattern": f"^{PARAMETER.pattern}$"}
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
    definitions["layer"]["anyOf"] += uses(list(LAYERS))
    in_block = definitions["layer_in_block"] = with_parameters(definitions["layer"])
    in_block["anyOf"].append(PARAMETER_FORM)
    return linked({**schema, "$defs": definitions})


def uses(kinds: list[str]) -> list[dict[str, Any]]:
    """The forms of blocks where they are used: no schema can know the names in a file, so any that no layer has."""
    name = {"pattern": LAYER_NAME_PATTERN, "not": {"enum": kinds}}
    return [
        {"type": "string", **name},
        {"type": "object", "propertyNames": name, "minProperties": 1, "maxProperties": 1},
    ]


def with_parameters(part: Any) -> Any:
    """`part` with `$NAME` allowed for every value, and the layers in it like those of a block."""
    if isinstance(part, list):
        return [with_parameters(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    if "choice" in part:
        return {**part, "in_block": True}
    found = {key: with_parameters(inner) for key, inner in part.items()}
    if "properties" in part:
        found["properties"] = {key: {"anyOf": [of, PARAMETER_FORM]} for key, of in found["properties"].items()}
    if "items" in part:
        found["items"] = {"anyOf": [found["items"], PARAMETER_FORM]}
    return found


def linked(part: Any) -> Any:
    """`part` with every mark of a `OneOf` as a reference, so that layers may hold layers."""
    if isinstance(part, list):
        return [linked(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("choice"), str):
        return {"$ref": f"#/$defs/{part['choice']}{'_in_block' * part.get('in_block', False)}"}
    return {key: linked(inner) for key, inner in part.items()}
