"""marshmallow schemas compiled to Python: the same verdicts on payloads, in a tenth of the time.

For the payload that is as it should be, a function is generated that does step by step what
`schema.load` would: look up a key, check a type, apply a validator, set a key. It knows no errors.
Whatever is unusual about a payload ends it, and `schema.load` decides as if it had never run. So
marshmallow stays the one authority: what the function returns is what marshmallow would return, and
every refusal is marshmallow's own.

A schema is compiled whole or not at all: one that has anything the generator does not understand is
left to marshmallow, and `Compilation.reason` says what it is.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from marshmallow import Schema
from marshmallow.fields import Field

from .fields import load_value
from .module import Module, indent
from .schemas import function_lines
from .understood import NotUnderstood

__all__ = ["Compilation", "compile_field", "compile_object", "compile_schema"]

Load = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Compilation:
    """What became of a schema.

    Attributes:
        load: Does what `schema.load` does with a decoded payload; None if that is left to do it.
        reason: Why it is left to marshmallow; None if it is not.
        source: The generated Python, to read.
    """

    load: Load | None
    reason: str | None = None
    source: str = ""


def compile_schema(schema: Schema, otherwise: Load | None = None) -> Compilation:
    """Compile a schema as it is now: later changes of its fields go unnoticed.

    Args:
        schema: The schema.
        otherwise: Decides on every payload that the compiled code leaves; by default `schema.load`.

    A validator or a callable default is called a second time when marshmallow takes over, so a side
    effect of it may happen twice.
    """
    if schema.many:
        return Compilation(None, "it has many=True")
    module = Module()
    try:
        entry = module.entry_of(schema)
        source = _generate(module, f"loader of {type(schema).__name__}")
    except NotUnderstood as exc:
        return Compilation(None, f"{module.place}: {exc}" if module.place else str(exc))
    return Compilation(_load_by(module.given[entry], otherwise or schema.load), source=source)


def compile_object(schema: Schema) -> Load | None:
    """Compile what loads one object by a schema, also by one with ``many=True``.

    Returns:
        A function that raises anything for what it leaves to marshmallow; None if that is all.
    """
    module = Module()
    with contextlib.suppress(NotUnderstood):
        entry = module.loader_of(schema)
        _generate(module, f"loader of {type(schema).__name__}")
        return cast("Load", module.given[entry])
    return None


def compile_field(field: Field[Any]) -> Load | None:
    """Compile what loads one value by a field, as `compile_object` does an object."""
    module = Module()
    entry = module.new("load_value")
    with contextlib.suppress(NotUnderstood):
        lines = [f"def {entry}(value):", *indent(load_value(field, "value", module))]
        _generate(module, f"loader of {type(field).__name__}", *lines, "    return value")
        return cast("Load", module.given[entry])
    return None


def _generate(module: Module, name: str, *lines: str) -> str:
    """Make the functions of a module, and one more of these lines; return their source.

    Raises:
        NotUnderstood: There is no code for all of it.
    """
    first = ["\n".join(lines)] if lines else []
    functions = ("\n".join(function_lines(order, module)) for order in module.orders())
    try:
        source = "\n\n\n".join([*first, *functions])
        code = compile(source, f"<{name}>", "exec")
    except (SyntaxError, RecursionError):  # CPython nests blocks only so deep
        module.place = ""
        raise NotUnderstood("its fields are nested too deeply") from None
    exec(code, module.given)  # noqa: S102 - our own lines; all that is the schema's is a value or a literal
    return source


def _load_by(compiled: Load, load: Load) -> Load:
    def load_compiled(payload: dict[str, Any]) -> Any:
        try:
            return compiled(payload)
        except Exception:  # noqa: BLE001, S110 - whatever it is, marshmallow meets it too and decides
            pass
        return load(payload)

    return load_compiled
