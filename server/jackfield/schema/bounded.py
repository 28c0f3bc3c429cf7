"""What a refused payload may cost: lists and objects are loaded only until enough is known.

marshmallow looks at everything before it says anything: every item of a list that is too long,
every key that is unknown. Here are its loops again, for the copies of fields and schemas that
decide on what the compiled code leaves. A list is measured before its items, what is as it should
be is loaded by compiled code, and nothing is looked at once there are more faults than an error
tells.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, fields, validate
from marshmallow.error_store import ErrorStore
from marshmallow.utils import is_collection

from jackfield.wire.errors import MAX_FIELDS

from .compiled import compile_field, compile_object

Load = Callable[..., Any]

#: One more than an error tells, so that it says there are more.
_ENOUGH: Final = MAX_FIELDS + 1


def bound_field(
    coded: fields.Field[Any],
    original: fields.Field[Any],
    code_schema: Callable[[Schema], Schema],
) -> None:
    """Have a copy of a field stop at enough faults, if it is one of marshmallow's containers.

    Args:
        coded: The copy, which is changed. The fields within it are copies as well.
        original: The field, from which code is compiled for what is as it should be.
        code_schema: Makes the copy of a schema within it.
    """
    own = type(coded)._deserialize  # noqa: SLF001 - what it loads by
    if isinstance(coded, fields.List) and own is fields.List._deserialize:  # noqa: SLF001
        vars(coded)["_deserialize"] = _BoundedList(coded, original).load
    elif isinstance(coded, fields.Mapping) and own is fields.Mapping._deserialize:  # noqa: SLF001
        vars(coded)["_deserialize"] = _BoundedMapping(coded, original).load
    elif isinstance(coded, fields.Nested) and isinstance(original, fields.Nested):
        vars(coded)["_deserialize"] = _MeasuredNested(coded, original, code_schema).load


def bound_schema(coded: Schema, original: Schema) -> None:
    """Have a copy of a schema stop at enough unknown keys, and at enough faults of many objects.

    Args:
        coded: The copy, which is changed.
        original: The schema.
    """
    vars(coded)["_deserialize"] = _BoundedSchema(coded, original).load


class _Compiled:
    """Compiled code, made when it is first needed, which most never is."""

    def __init__(self, compile_: Callable[[], Load | None]) -> None:
        self._compile = compile_

    @cached_property
    def load(self) -> Load:
        """What loads a value that is as it should be, and raises for any other."""
        return self._compile() or _nothing


def _nothing(_: Any) -> Any:
    """Load no value: there is no compiled code."""
    raise ValueError


class _BoundedList:
    def __init__(self, coded: fields.List[Any], original: Any) -> None:
        self._field = coded
        self._measures = list(_measures(coded, original))
        self._compiled = _Compiled(lambda: compile_field(original.inner))

    def load(self, value: Any, _attr: Any, _data: Any, **kwargs: Any) -> list[Any]:
        """Do what `fields.List._deserialize` does, until there are enough faults."""
        if not is_collection(value):
            raise self._field.make_error("invalid")
        _measure(value, self._measures)
        result: list[Any] = []
        errors: dict[Any, Any] = {}
        items = _load_each(enumerate(value), self._field.inner, self._compiled.load, kwargs)
        for index, loaded, messages in items:
            if messages is None or loaded is not None:
                result.append(loaded)
            if messages is not None:
                errors[index] = messages
        if errors:
            raise ValidationError(errors, valid_data=result)
        return result


class _BoundedMapping:
    def __init__(self, coded: fields.Mapping[Any], original: Any) -> None:
        self._field = coded
        # Keys that are loaded as anything but texts may become one, and so fewer.
        merge = coded.key_field is not None and type(original.key_field) is not fields.String
        self._measures = [] if merge else list(_measures(coded, original))
        self._compiled_key = _Compiled(lambda: compile_field(original.key_field))
        self._compiled_value = _Compiled(lambda: compile_field(original.value_field))

    def load(self, value: Any, _attr: Any, _data: Any, **kwargs: Any) -> Any:
        """Do what `fields.Mapping._deserialize` does, until there are enough faults."""
        field = self._field
        if not isinstance(value, Mapping):
            raise field.make_error("invalid")
        _measure(value, self._measures)
        if field.key_field is None and field.value_field is None:
            return field.mapping_type(value)
        errors: dict[Any, dict[str, Any]] = defaultdict(dict)
        keys: dict[Any, Any] = {}
        each = zip(value, value, strict=True)
        for key, loaded, messages in _load_each(
            each, field.key_field, self._compiled_key.load, kwargs
        ):
            if messages is None:
                keys[key] = loaded
            else:
                errors[key]["key"] = messages
        result: Any = field.mapping_type()
        for key, loaded, messages in _load_each(
            value.items(), field.value_field, self._compiled_value.load, kwargs
        ):
            if key in keys and (messages is None or loaded is not None):
                result[keys[key]] = loaded
            if messages is not None:
                errors[key]["value"] = messages
        if errors:
            raise ValidationError(dict(errors), valid_data=result)
        return result


class _MeasuredNested:
    """A nested field that measures a list of objects first; its schema is made when it is needed.

    One that nests itself has no end, and so no copy of it all.
    """

    def __init__(
        self, coded: fields.Nested, original: fields.Nested, code_schema: Callable[[Schema], Schema]
    ) -> None:
        self._field = coded
        self._measures = list(_measures(coded, original))
        self._code_schema: Callable[[Schema], Schema] | None = code_schema
        self._load: Load = coded._deserialize  # noqa: SLF001 - it is wrapped

    def load(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        """Do what `fields.Nested._deserialize` does, with a schema that is coded and bounded."""
        if self._code_schema is not None:
            schema = self._code_schema(self._field.schema)
            self._field._schema = schema  # noqa: SLF001 - what `schema` returns from now on
            self._code_schema = None
        if is_collection(value) and (self._field.schema.many or self._field.many):
            _measure(value, self._measures)
        return self._load(value, attr, data, **kwargs)


class _BoundedSchema:
    def __init__(self, coded: Schema, original: Schema) -> None:
        self._load: Load = coded._deserialize  # noqa: SLF001 - it is wrapped
        self._unknown = original.unknown
        self._compiled = _Compiled(lambda: compile_object(original))
        self._known = {
            name if field.data_key is None else field.data_key
            for name, field in original.load_fields.items()
        }

    def load(self, data: Any, *, many: bool = False, **options: Any) -> Any:
        """Do what `Schema._deserialize` does, until there are enough faults."""
        if many and is_collection(data):
            return list(self._load_objects(data, **options))
        if (
            not many
            and options["unknown"] == RAISE
            and isinstance(data, Mapping)
            and len(data) > len(self._known) + _ENOUGH
        ):
            unknown = islice((key for key in data if key not in self._known), _ENOUGH)
            kept = [*(key for key in self._known if key in data), *unknown]
            data = {key: data[key] for key in kept}
        return self._load(data, many=many, **options)

    def _load_objects(
        self, data: Iterable[Any], *, error_store: ErrorStore, **options: Any
    ) -> Iterator[Any]:
        as_compiled = options["unknown"] == self._unknown and options["partial"] is None
        compiled = self._compiled.load if as_compiled else _nothing
        options.pop("index", None)
        for index, each in enumerate(data):
            try:
                loaded = compiled(each)
            except Exception:  # noqa: BLE001 - as for the items of a list
                loaded = self.load(each, error_store=error_store, index=index, **options)
            yield loaded
            if error_store.errors and _count(error_store.errors) >= _ENOUGH:
                return


def _load_each(
    values: Iterable[tuple[Any, Any]],
    field: fields.Field[Any] | None,
    compiled: Load,
    options: Mapping[str, Any],
) -> Iterator[tuple[Any, Any, Any]]:
    """Load the values of a container, until there are enough faults.

    Args:
        values: Each with its index or key.
        field: What loads them; None for what keeps them as they are.
        compiled: The code for those that are as they should be.
        options: For those that may not be.

    Returns:
        Of each its index or key, what was loaded and, if it was refused, marshmallow's messages.
    """
    if field is None:
        for key, value in values:
            yield key, value, None
        return
    found = 0
    for key, value in values:
        try:
            loaded = compiled(value)
        except Exception:  # noqa: BLE001 - whatever it is, marshmallow meets it too and decides
            try:
                loaded = field.deserialize(value, **options)
            except ValidationError as error:
                yield key, error.valid_data, error.messages
                found += _count(error.messages)
                if found >= _ENOUGH:
                    return
                continue
        yield key, loaded, None


def _measures(
    coded: fields.Field[Any], original: fields.Field[Any]
) -> Iterator[tuple[int, Callable[[Any], Any]]]:
    """Yield how long a field's value may be, with what says that it is longer."""
    for validator, its_copy in zip(original.validators, coded.validators, strict=True):
        if type(validator) is validate.Length:
            most = validator.max if validator.equal is None else validator.equal
            if type(most) is int:
                yield most, its_copy


def _measure(value: Any, measures: Iterable[tuple[int, Callable[[Any], Any]]]) -> None:
    """Refuse what is longer than it may be."""
    for most, refuse in measures:
        if len(value) > most:
            refuse(value)


def _count(messages: Any) -> int:
    """Return how many texts there are in marshmallow's messages."""
    if isinstance(messages, dict):
        return sum(map(_count, messages.values()))
    return len(messages) if isinstance(messages, list) else 1
