"""marshmallow schemas as JSON Schema (draft 2020-12), by apispec."""

from collections import Counter
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import RAISE, Schema

_COMPONENTS = "#/components/schemas/"


def json_schema(schema: Schema) -> dict[str, Any]:
    """Return a schema as one self-contained JSON Schema; those within it stand in ``$defs``."""
    plugin = MarshmallowPlugin(schema_name_resolver=_Names())
    spec = APISpec("", "", "3.1.0", plugins=[plugin])
    converter: Any = plugin.converter  # its methods are not typed
    root = converter.schema2jsonschema(schema)
    if schema.unknown == RAISE:
        root["additionalProperties"] = False
    definitions = spec.to_dict().get("components", {}).get("schemas", {})
    result: dict[str, Any] = _move_references(root)
    if definitions:
        result["$defs"] = _move_references(definitions)
    return result


class _Names:
    """Names for schemas within: a class used twice, with other fields each time, gets a number."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def __call__(self, schema: Schema | type[Schema]) -> str:
        name = (schema if isinstance(schema, type) else type(schema)).__name__.removesuffix(
            "Schema"
        )
        self._used[name] += 1
        return name if self._used[name] == 1 else f"{name}{self._used[name]}"


def _move_references(node: Any) -> Any:
    """Point every reference at ``$defs``, and make plain dicts of apispec's ordered ones."""
    if isinstance(node, dict):
        return {
            key: value.replace(_COMPONENTS, "#/$defs/")
            if key == "$ref" and isinstance(value, str)  # it may be a property's name as well
            else _move_references(value)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_move_references(item) for item in node]
    return node
