"""A family of topics names and publishes to them; its hooks are checked as they are declared."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from jackfield import AnyPayload, Context, Plugin, RegistrationError
from jackfield.declaration.topic_family import TopicFamily
from jackfield.wire.position import Position


class Recorder:
    """Stands where a context or runtime does, and keeps what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Any, str | None]] = []

    async def publish(self, topic: str, payload: Any, *, key: str | None = None) -> Position:
        self.published.append((topic, payload, key))
        return Position("epoch", len(self.published))


def family(pattern: str = "room:{name}", *, presence: bool = True, publish: bool = True) -> Any:
    return Plugin("chat").topic(pattern, presence=presence, publish=publish)


async def may(ctx: Context, name: str) -> bool:
    return True


async def may_too(ctx: Context, *, name: str) -> bool:
    return True


async def make(ctx: Context, data: dict[str, Any], name: str) -> Mapping[str, Any]:
    return data


async def anything(*arguments: Any, **parts: Any) -> Any: ...


async def other_name(ctx: Context, room: str) -> bool:
    return True


async def too_many(ctx: Context, name: str, more: str) -> bool:
    return True


async def too_few(ctx: Context) -> bool:
    return True


async def without_context(name: str) -> bool:
    return True


async def by_position(ctx: Context, name: str, /) -> bool:
    return True


def plain(ctx: Context, name: str) -> bool:
    return True


async def stream(ctx: Context, name: str) -> AsyncIterator[bool]:
    yield True


HOOKS = {
    "authorize": ("join_check", may),
    "authorize_publish": ("publish_check", may),
    "prepare": ("prepare_hook", make),
    "info": ("info_hook", may),
}
hooks = pytest.mark.parametrize("hook", HOOKS)


def test_a_family_names_its_topics() -> None:
    room = family("room:{name}:{part*}")
    assert room.name(name="lobby", part="a:b") == "room:lobby:a:b"
    with pytest.raises(ValueError, match="needs the part 'part'"):
        room.name(name="lobby")


async def test_what_is_published_goes_to_the_topic_by_its_name() -> None:
    room, source = family(), Recorder()
    assert await room.publish(source, {"text": "hi"}, name="lobby") == Position("epoch", 1)
    assert await room.publish(source, {"text": "ho"}, name="a", key="k") == ("epoch", 2)
    assert source.published == [
        ("room:lobby", {"text": "hi"}, None),
        ("room:a", {"text": "ho"}, "k"),
    ]


async def test_nothing_is_published_to_a_name_that_can_not_be() -> None:
    room, source = family(), Recorder()
    for parts in ({}, {"name": "a:b"}, {"name": "a", "other": "b"}):
        with pytest.raises(ValueError, match=r"topic 'room:\{name\}'"):
            await room.publish(source, {}, **parts)
    assert source.published == []


@hooks
def test_a_hook_is_kept_and_stays_the_function_it_was(hook: str) -> None:
    attribute, function = HOOKS[hook]
    room = family()
    assert getattr(room, attribute) is None
    assert getattr(room, hook)(function) is function
    assert getattr(room, attribute) is function
    others = {name for name, _ in HOOKS.values()} - {attribute}
    assert {getattr(room, name) for name in others} == {None}


@hooks
def test_a_hook_may_take_anything(hook: str) -> None:
    room = family()
    getattr(room, hook)(anything)
    assert getattr(room, HOOKS[hook][0]) is anything


def test_a_hook_is_given_the_parts_by_their_names() -> None:
    async def reversed_parts(ctx: Context, b: str, a: str) -> bool:
        return a < b

    async def none_to_take(ctx: Context) -> bool:
        return True

    takers = {"room:{name}": may_too, "room:{a}:{b}": reversed_parts, "broadcast": none_to_take}
    for pattern, hook in takers.items():
        declared = family(pattern)
        declared.authorize(hook)
        assert getattr(declared, HOOKS["authorize"][0]) is hook


@hooks
@pytest.mark.parametrize("function", [other_name, too_many, too_few, without_context, by_position])
def test_a_hook_that_takes_other_arguments_is_refused(
    hook: str, function: Callable[..., Any]
) -> None:
    room = family()
    arguments = "ctx, data, name" if hook == "prepare" else "ctx, name"
    with pytest.raises(RegistrationError) as caught:
        getattr(room, hook)(function)
    assert str(caught.value).startswith(
        f"plugin 'chat': {hook} of topic 'room:{{name}}', {function.__name__!r}, must take "
        f"({arguments}): "
    )
    assert getattr(room, HOOKS[hook][0]) is None


@hooks
@pytest.mark.parametrize("function", [plain, stream, 5, None])
def test_a_hook_that_can_not_be_awaited_is_refused(hook: str, function: Any) -> None:
    name = getattr(function, "__name__", repr(function))
    with pytest.raises(RegistrationError) as caught:
        getattr(family(), hook)(function)
    assert str(caught.value) == (
        f"plugin 'chat': {hook} of topic 'room:{{name}}' {name!r} must be an 'async def' "
        "without 'yield'"
    )


@hooks
def test_a_hook_is_declared_once(hook: str) -> None:
    room = family()
    attribute, function = HOOKS[hook]
    getattr(room, hook)(function)
    with pytest.raises(RegistrationError) as caught:
        getattr(room, hook)(anything)
    assert str(caught.value) == (
        f"plugin 'chat': topic 'room:{{name}}' has two functions for {hook}, "
        f"{function.__name__!r} and 'anything': make them one"
    )
    assert getattr(room, attribute) is function


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("authorize_publish", "needs publish=True: no client publishes"),
        ("prepare", "needs publish=True: no client publishes"),
        ("info", "needs presence=True: no member is seen"),
    ],
)
def test_a_hook_that_would_never_run_is_refused(hook: str, words: str) -> None:
    room = family(presence=hook != "info", publish=hook == "info")
    with pytest.raises(RegistrationError) as caught:
        getattr(room, hook)(HOOKS[hook][1])
    assert str(caught.value) == f"plugin 'chat': {hook} of topic 'room:{{name}}' {words}"
    assert getattr(room, HOOKS[hook][0]) is None


def test_who_may_join_can_be_said_of_every_family() -> None:
    assert family(presence=False, publish=False).authorize(may) is may


def test_a_family_shows_as_its_pattern() -> None:
    room = TopicFamily(
        "chat",
        "room:{name}",
        AnyPayload,
        history=0,
        ttl=60,
        presence=False,
        publish=False,
        replay=False,
        scopes=(),
    )
    assert str(room) == "topic 'room:{name}'"
    assert repr(room) == "TopicFamily('room:{name}')"
