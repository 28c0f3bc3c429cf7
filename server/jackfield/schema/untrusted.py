"""JSON Schemas that strangers wrote, compiled, and the check of values by them.

The schemas come from agents, and what is checked comes from anyone, so neither may cost a server
much. A schema refers to nothing outside itself and nothing is ever fetched; its regular expressions
take time in proportion to the text; and how much work a check can be is known before it is begun
(`untrusted_cost`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import msgspec

from jackfield.wire.errors import Error, field_fault, with_faults
from jackfield.wire.pointer import pointer_to

from .fault_code import snake_case
from .untrusted_cost import MAX_VALUE_NESTING, BadSchema, Cost, cost_of, is_nested_deeper

#: Bytes of a schema as JSON: a skill's are a few hundred, and four fill a message.
MAX_SCHEMA_BYTES: Final = 16_384
#: How deep a schema may be nested; those that programs generate stay below ten.
MAX_SCHEMA_NESTING: Final = 32
#: How many faults of one value are told: who mends the first twenty sends it again.
MAX_FAULTS: Final = 20
#: Characters of a fault's message; a schema may name a thousand allowed values.
_MAX_MESSAGE: Final = 200
#: Bytes that one compiled regular expression may take. The time of a match is bounded by it: 2 us a
#: byte of the worst there is.
_PATTERN_BYTES: Final = 2**16
#: Steps of a check, some 10 ns each: 0.2 s at the very most.
_MAX_STEPS: Final = 20_000_000
#: Bytes times regular expressions: all sixteen properties of a full message may have one.
_MAX_MATCHES: Final = 2**20
#: Steps until listing all the faults, some 5 us each if every step is one, takes too long.
_MAX_STEPS_TO_LIST: Final = 50_000
#: The dialects that the cost is known of. Without ``$schema`` it is the first.
_DIALECTS: Final = {
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
}
#: What stands for a value in the library's messages: a value may be large, or a secret.
_MASK: Final = "the value"

_Kind = jsonschema_rs.ValidationErrorKind
_encode = msgspec.json.Encoder().encode
#: What writing as JSON raises, for what is no JSON.
_NO_JSON: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


@dataclass(frozen=True, slots=True)
class UntrustedSchema:
    """A JSON Schema that a stranger wrote, compiled; made by `compile_untrusted`.

    Attributes:
        validator: The library's.
        cost: How much work a check may be.
    """

    validator: jsonschema_rs.Validator
    cost: Cost

    def check(self, value: Any, at: str = "/input") -> None:
        """Refuse a value that is not what the schema allows.

        A fault's code is the keyword that refused, in snake case: ``type``, ``min_length``,
        ``any_of``. Two are as everywhere in Jackfield: what lacks is ``required`` and what is too
        much ``unknown``, and the pointer leads to the property itself.

        Args:
            value: Decoded JSON.
            at: JSON Pointer to where it came.

        Raises:
            Error: ``invalid_payload``, with up to `MAX_FAULTS` faults.
        """
        try:
            encoded = _encode(value)
        except _NO_JSON:
            raise _refused([field_fault(at, "invalid", "Cannot be written as JSON.")]) from None
        size = len(encoded)
        steps = self.cost.steps(value, size, _MAX_STEPS)
        if (
            steps > _MAX_STEPS
            or size * self.cost.patterns > _MAX_MATCHES
            or is_nested_deeper(encoded, MAX_VALUE_NESTING)
        ):
            words = "Too large, or nested too deeply, to be checked by its schema."
            raise _refused([field_fault(at, "too_complex", words)])
        if self.validator.is_valid(value):
            return
        errors = self._errors(value, steps)
        faults = [fault for error in errors for fault in _faults(error, at)]
        refused = _refused(faults[:MAX_FAULTS])
        if (omitted := len(faults) - len(refused.extra["fields"])) > 0:
            refused.extra["fields_omitted"] = omitted
        raise refused

    def _errors(self, value: Any, steps: int) -> Iterator[jsonschema_rs.ValidationError]:
        """What is wrong: all of it, or the first if there may be too much."""
        if steps <= _MAX_STEPS_TO_LIST:
            yield from self.validator.iter_errors(value)
        elif not self.cost.nests_choices:  # the first of those would list all below it
            try:
                self.validator.validate(value)
            except jsonschema_rs.ValidationError as error:
                yield error


def compile_untrusted(schema: Any, at: str = "/schema") -> UntrustedSchema:
    """Compile a JSON Schema of objects; the same schema again costs little.

    The dialect is draft 2020-12 unless ``$schema`` says 2019-09 or draft-07. ``format`` is not
    checked, as the draft has it. References lead to ``#`` or ``#/...`` only.

    Args:
        schema: Whatever came.
        at: JSON Pointer to where it came.

    Raises:
        Error: ``invalid_payload``, with a pointer to what is wrong.
    """
    try:
        return _compile(_encoded(schema))
    except BadSchema as bad:
        fault = field_fault(at + bad.pointer, bad.code, bad.message)
        raise with_faults("invalid_payload", [fault], "A JSON Schema is not valid.") from None


def _refused(faults: list[dict[str, str]]) -> Error:
    return with_faults("invalid_payload", faults, "The input is not valid.")


def _encoded(schema: Any) -> bytes:
    try:
        return _encode(schema)
    except _NO_JSON:  # it contains itself, perhaps; what came as JSON can only be too deep
        raise BadSchema("", "invalid", "Cannot be written as JSON.") from None


@lru_cache(maxsize=1024)  # every node checks the same few skills, call after call
def _compile(encoded: bytes) -> UntrustedSchema:
    if len(encoded) > MAX_SCHEMA_BYTES:
        raise BadSchema("", "length", f"Longer than {MAX_SCHEMA_BYTES} bytes.")
    if is_nested_deeper(encoded, MAX_SCHEMA_NESTING):
        raise BadSchema("", "nesting", f"Nested deeper than {MAX_SCHEMA_NESTING}.")
    schema = msgspec.json.decode(encoded)
    if not isinstance(schema, dict):
        raise BadSchema("", "type", "Must be a JSON object.")
    named = schema.get("$schema", next(iter(_DIALECTS)))
    dialect = _DIALECTS.get(named.removesuffix("#")) if isinstance(named, str) else None
    if dialect is None:
        known = ", ".join(_DIALECTS)
        raise BadSchema("/$schema", "one_of", f"Must be one of: {known}.")
    types = schema.get("type", "object")
    if "object" not in (types if isinstance(types, list) else [types]):
        raise BadSchema("/type", "type", "Must be object: nothing else is ever checked.")
    cost = cost_of(schema)  # before the library follows the references
    try:
        validator = dialect(
            schema,
            mask=_MASK,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES),
            validate_formats=False,
        )
    except jsonschema_rs.ValidationError as error:
        raise _bad(error) from None
    except ValueError as error:
        raise BadSchema("", "invalid", _sentence(str(error))) from None
    return UntrustedSchema(validator, cost)


def _bad(error: jsonschema_rs.ValidationError) -> BadSchema:
    """Why the library doesn't take a schema."""
    pointer = pointer_to(*error.instance_path)
    if error.kind.name in ("format", "pattern"):
        words = "No regular expression that is taken: it is too large, not valid, or looks around."
        return BadSchema(pointer, "regexp", words)
    return BadSchema(pointer, snake_case(error.kind.name), _sentence(error.message))


def _faults(error: jsonschema_rs.ValidationError, at: str) -> Iterator[dict[str, str]]:
    place = at + pointer_to(*error.instance_path)
    match error.kind:
        case _Kind.Required(property=name):
            yield field_fault(
                place + pointer_to(name), "required", "Missing data for required field."
            )
        case (
            _Kind.AdditionalProperties(unexpected=names)
            | _Kind.UnevaluatedProperties(unexpected=names)
        ):
            for name in names:
                yield field_fault(place + pointer_to(name), "unknown", "Unknown field.")
        case kind:
            yield field_fault(place, snake_case(kind.name), _sentence(error.message))


def _sentence(text: str) -> str:
    """A message of the library's as one sentence, no longer than it may be."""
    line = " ".join("".join(islice(text, 2 * _MAX_MESSAGE)).split())
    if len(line) > _MAX_MESSAGE:
        line = f"{line[:_MAX_MESSAGE]}..."
    return f"{line[:1].upper()}{line[1:].removesuffix('.')}."
