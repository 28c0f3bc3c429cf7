"""What code is generated for: marshmallow's own classes, whose behaviour nobody has changed."""

from typing import Any, Final

from marshmallow import Schema, fields
from marshmallow.decorators import POST_LOAD, PRE_LOAD, VALIDATES, VALIDATES_SCHEMA

#: What a schema's class may define without a change of what it loads: other hooks than those below,
#: words, and what has done its work when the schema is made.
_SCHEMA_MAY: Final = frozenset(
    {
        *("Meta", "OPTIONS_CLASS", "TYPE_MAPPING", "opts", "set_class", "on_bind_field"),
        *("dump", "dumps", "get_attribute", "error_messages", "handle_error"),
        *("_abc_impl", "_declared_fields", "_hooks"),  # every class of a schema has its own
    }
)
#: As much for a field's class.
_FIELD_MAY: Final = frozenset({"default_error_messages", "serialize", "_serialize", "_abc_impl"})

_HOOKS: Final = (PRE_LOAD, POST_LOAD, VALIDATES, VALIDATES_SCHEMA)


class NotUnderstood(Exception):  # noqa: N818 - an answer, not an error
    """There is no code for something in a schema; the words say for what."""


def check_schema(schema: Schema, *, is_entry: bool) -> None:
    """Raise `NotUnderstood` if a schema loads in a way of its own.

    Args:
        schema: The schema.
        is_entry: Whether one object is loaded by it, and is the payload: what validates that as a
            whole is understood then.
    """
    for tag in _HOOKS[:-1] if is_entry else _HOOKS:
        for name, *_ in schema._hooks[tag]:  # noqa: SLF001 - marshmallow has no other list of them
            raise NotUnderstood(f"{type(schema).__name__} has the @{tag} method {name!r}")
    _check_methods(schema, Schema, _SCHEMA_MAY)
    if schema.partial is not None:
        raise NotUnderstood(f"{type(schema).__name__} has partial={schema.partial!r}")


def whole_validators(schema: Schema) -> list[str]:
    """Return the names of the methods that validate one object as a whole, in their order.

    Raises:
        NotUnderstood: One of them is given the data as it was sent, too, and may change it.
    """
    hooks = schema._hooks[VALIDATES_SCHEMA]  # noqa: SLF001 - marshmallow has no other list of them
    for name, _, options in hooks:
        if options.get("pass_original"):
            raise NotUnderstood(f"{type(schema).__name__} has pass_original=True at {name!r}")
    return [name for name, *_ in sorted(hooks, key=lambda hook: not hook[1])]


def check_field(field: fields.Field[Any], own: type[fields.Field[Any]]) -> None:
    """Raise `NotUnderstood` if a field loads otherwise than its class of marshmallow's own."""
    _check_methods(field, own, _FIELD_MAY)
    if field.pre_load or field.post_load:
        raise NotUnderstood(f"{type(field).__name__} has pre_load= or post_load=")


def _check_methods(instance: object, own: type, may: frozenset[str]) -> None:
    """Refuse an instance that has another method, or attribute, than its class of marshmallow's."""
    kind = type(instance)
    ancestry = kind.__mro__[: kind.__mro__.index(own)]
    names = {name for ancestor in ancestry for name in vars(ancestor) if hasattr(own, name)}
    names = {name for name in names if not name.startswith("__")} - may
    names |= {name for name in vars(instance) if callable(getattr(kind, name, None))}
    if names:
        raise NotUnderstood(f"{kind.__name__} has its own {', '.join(sorted(names))}")
