"""What is declared wrongly is refused in words that name the plugin, the place and the cure."""

from functools import partial
from typing import Any

import pytest
from marshmallow import Schema, fields

from jackfield import RegistrationError
from jackfield.declaration.checks import Checks, function_name
from jackfield.wire.rates import Rate

check = Checks("chat")


async def takes_two(ctx: Any, data: Any) -> None: ...


async def takes_a_name(ctx: Any, *, room: str) -> None: ...


async def yields(ctx: Any) -> Any:
    yield ctx


def plain(ctx: Any) -> None: ...


class Message(Schema):
    text = fields.String()


def refusal(function: Any, *arguments: Any) -> str:
    with pytest.raises(RegistrationError) as caught:
        function(*arguments)
    words = str(caught.value)
    assert words.startswith("plugin 'chat': ")
    return words.removeprefix("plugin 'chat': ")


def test_a_function_that_takes_the_arguments_passes() -> None:
    check.call(takes_two, "handler of 'a'", ["ctx", "data"])
    check.call(takes_a_name, "authorize of 'a'", ["ctx"], ["room"])
    check.arguments(plain, "handler of 'a'", ["ctx"])


@pytest.mark.parametrize("function", [yields, plain])
def test_what_can_not_be_awaited_is_refused(function: Any) -> None:
    words = refusal(check.call, function, "the hook", ["ctx"])
    assert words == f"the hook {function.__name__!r} must be an 'async def' without 'yield'"


@pytest.mark.parametrize(
    ("function", "named"), [(takes_a_name, []), (takes_a_name, ["rooms"]), (takes_two, ["room"])]
)
def test_a_function_that_does_not_take_the_arguments_is_refused(
    function: Any, named: list[str]
) -> None:
    words = refusal(check.call, function, "the hook", ["ctx"], named)
    wanted = ", ".join(["ctx", *named])
    assert words.startswith(f"the hook, {function.__name__!r}, must take ({wanted}): ")


def test_a_schema_may_be_a_class_or_an_instance() -> None:
    assert isinstance(check.schema(Message, "reply="), Message)
    instance = Message()
    assert check.schema(instance, "reply=") is instance


@pytest.mark.parametrize("schema", [dict, {"text": fields.String()}, None, "Message"], ids=repr)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    assert refusal(check.schema, schema, "reply=").startswith(
        "reply= must be a marshmallow Schema, not "
    )


def test_a_schema_of_many_objects_is_refused() -> None:
    assert refusal(check.schema, Message(many=True), "reply=") == (
        "reply= has many=True, but a payload is one object"
    )


def test_scopes_are_any_strings_that_are_listed() -> None:
    for scopes in (["a", "b"], ("b", "a"), {"a", "b"}, iter(["a", "b", "a"])):
        assert check.scopes(scopes, "scopes=") == {"a", "b"}
    assert check.scopes([], "scopes=") == frozenset()


@pytest.mark.parametrize("scopes", [["a", 1], [None], 7, None], ids=repr)
def test_scopes_that_are_no_strings_are_refused(scopes: Any) -> None:
    assert refusal(check.scopes, scopes, "scopes=") == (
        f"scopes= must be a list of strings, not {scopes!r}"
    )


def test_a_single_scope_is_told_how_to_be_written() -> None:
    assert refusal(check.scopes, "chat", "scopes=") == "scopes= is a string: write ['chat']"


def test_a_rate_and_a_duration_are_read_or_refused_with_how_to_write_them() -> None:
    assert check.rate("20/s", "rate=") == Rate(20, 1)
    assert check.duration("2m", "timeout=") == 120.0
    assert refusal(check.rate, "20", "rate=").startswith("rate=: '20' is not a rate: write ")
    assert refusal(check.duration, "soon", "timeout=").startswith(
        "timeout=: 'soon' is not a duration: write "
    )


def test_a_function_without_a_name_is_called_by_its_repr() -> None:
    assert function_name(plain) == "plain"
    assert function_name(partial(plain, 1)).startswith("functools.partial(")
