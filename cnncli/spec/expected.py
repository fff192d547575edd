"""What a pydantic error means, in the words of someone who has never heard of pydantic.

Types and ranges are read from the JSON schema of the model, so that one function describes every field that any layer
will ever declare: "an integer from 1 to 65536, or a list, each item an integer from 1 to 65536".
"""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo

from cnncli.errors import one_line
from cnncli.layers.base import Layer
from cnncli.spec.options import INTERVAL_PATTERN, NAME_PATTERN
from cnncli.spec.words import dotted, quote, suggest
from cnncli.spec.yaml import Path

LAYER_NAME_PATTERN = next(
    form["pattern"] for form in Layer.model_json_schema()["properties"]["name"]["anyOf"] if "pattern" in form
)
PATTERNS = {
    LAYER_NAME_PATTERN: "a name of at most 64 letters, digits, _ and -, a letter first",
    NAME_PATTERN: "a name of at most 64 letters, digits, ., _ and -, a letter or a digit first",
    INTERVAL_PATTERN: "minutes or epochs such as 5min or 1epoch",
}
TYPES = {"boolean": "true or false", "null": "null"}


def relevant(error: ValidationError, value: Any) -> list[dict[str, Any]]:
    """The errors of `error`, each with the `path` below `value` that it is about, one for each key of `value`.

    Every branch of a union gives an error: the one that looked deepest into the value is the one that was meant. An
    unknown key is probably a misspelt one, so it hides the keys that are missing beside it.
    """
    chosen: dict[Any, dict[str, Any]] = {}
    errors = error.errors(include_url=False)
    unknown = any(e["type"] == "extra_forbidden" and len(e["loc"]) == 1 for e in errors)
    for e in errors:
        if e["type"] == "missing" and len(e["loc"]) == 1 and unknown:
            continue
        e["path"] = path_in(e["loc"], value)
        field = e["loc"][:1]
        if field not in chosen or len(e["path"]) > len(chosen[field]["path"]):
            chosen[field] = e
    return list(chosen.values())


def path_in(loc: tuple[str | int, ...], value: Any) -> Path:
    """The part of pydantic's location that leads through `value`: it also names the branches of unions."""
    path: Path = ()
    for part in loc:
        inside = isinstance(part, int) and part < len(value) if isinstance(value, list) else False
        if inside or (isinstance(value, dict) and part in value):
            path += (part,)
            value = value[part]
    return path


def explain(e: dict[str, Any], cls: type[BaseModel], value: Any, at: Path) -> str:
    """One line for an error of `relevant`; `at` leads to `value` in the document."""
    place = dotted(at + e["path"])
    if e["type"] == "missing":
        return f'{place + ": " if place else ""}missing key "{e["loc"][-1]}"'
    if e["type"] == "extra_forbidden":
        parent = dotted((at + e["path"])[:-1])
        return unknown_key(e["path"][-1], parent, fields(cls, e["path"][:-1]))
    if e["type"] in ("value_error", "assertion_error"):
        return f"{place}: {one_line(str(e['ctx']['error']))}"
    for part in e["path"]:
        value = value[part]
    return f"{place}: expected {expected(cls, e)}, found {quote(value)}"


def unknown_key(key: str, place: str, known: Iterable[str]) -> str:
    return f"{place + ': ' if place else ''}unknown key {quote(key)}{suggest(key, known)}"


def keys(cls: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by their names in the file."""
    return {field.alias or name: field for name, field in cls.model_fields.items()}


def expected(cls: type[BaseModel], e: dict[str, Any]) -> str:
    try:
        schema = cls.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return f"another value ({one_line(e['msg'])})"
    found = schema_at(schema, e["path"], schema.get("$defs", {}))
    return describe(found, schema.get("$defs", {})) if found else f"another value ({one_line(e['msg'])})"


def fields(cls: type[BaseModel], path: Path) -> list[str]:
    """The keys that the mapping at `path` below a `cls` may have."""
    if not path:
        return list(keys(cls))
    schema = cls.model_json_schema()
    definitions = schema.get("$defs", {})
    found = schema_at(schema, path, definitions)
    return [key for branch in branches(found or {}, definitions) for key in branch.get("properties", ())]


def branches(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in schema:
        return branches(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives is None:
        return [schema]
    return [branch for alternative in alternatives for branch in branches(alternative, definitions)]


def schema_at(schema: dict[str, Any], path: Path, definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the part of a value that `path` leads to, through the first branch that has such a part."""
    if not path:
        return schema
    for branch in branches(schema, definitions):
        if isinstance(path[0], str):
            inner = branch.get("properties", {}).get(path[0])
        else:
            inner = dict(enumerate(branch.get("prefixItems", ()))).get(path[0], branch.get("items"))
        if inner and (found := schema_at(inner, path[1:], definitions)) is not None:
            return found
    return None


def describe(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in words."""
    forms = branches(schema, definitions)
    if len(forms) > 1:
        return ", or ".join(dict.fromkeys(describe(form, definitions) for form in forms))
    form = forms[0]
    if "const" in form or "enum" in form:
        values = form["enum"] if "enum" in form else [form["const"]]
        words = [value if isinstance(value, str) else json.dumps(value) for value in values]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if "choice" in form:
        return f"a {form['choice']}"
    kind = form.get("type")
    if kind in ("integer", "number"):
        return ("an integer" if kind == "integer" else "a number") + bounds(form)
    if kind == "array":
        items = describe(form["items"], definitions) if form.get("items") else "of its own kind"
        several = form.get("items") and len(branches(form["items"], definitions)) > 1
        return f"a list{length(form)}, each item {f'({items})' if several else items}"
    if kind == "string":
        return PATTERNS.get(form.get("pattern", ""), f"text like {form['pattern']}" if "pattern" in form else "a word")
    if kind == "object":
        return f"a mapping with the keys {', '.join(form['properties'])}" if form.get("properties") else "a mapping"
    return TYPES.get(kind or "", "another value")


def bounds(form: dict[str, Any]) -> str:
    if "minimum" in form and "maximum" in form:
        return f" from {form['minimum']} to {form['maximum']}"
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {form[key]}" for key, word in words.items() if key in form]
    return f" {'of ' * limits[0].startswith('at')}{' and '.join(limits)}" if limits else ""


def length(form: dict[str, Any]) -> str:
    least, most = form.get("minItems"), form.get("maxItems")
    if least is not None and most is not None:
        return f" of {least}" if least == most else f" of {least} to {most}"
    return f" of at least {least}" if least else f" of at most {most}" if most else ""
