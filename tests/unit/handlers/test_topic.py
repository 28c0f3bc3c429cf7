"""``topic.*`` hands on what clients ask of topics, within the limits of the protocol."""

from typing import Any

import pytest
from marshmallow import Schema

from jackfield import Position
from jackfield.wire.topic_limits import MAX_KEY_LENGTH, MAX_TOPIC_LENGTH
from jackfield_handlers import topic as module
from jackfield_handlers.topic import History, InTopic, Publish, Subscribe
from tests.support.handler_context import AskedContext, faults, load

MAX_OFFSET = 2**53 - 1


def context(answer: Any = None, **attributes: Any) -> Any:
    ctx: Any = AskedContext(answer, **attributes)
    for name in ("subscribe", "publish_as_client", "history", "presence"):
        setattr(ctx, name, ctx.coroutine(name))
    ctx.unsubscribe = ctx.method("unsubscribe")
    return ctx


@pytest.mark.parametrize(
    ("since", "position"), [(None, None), ({"epoch": "e", "offset": 3}, Position("e", 3))]
)
async def test_a_client_joins_from_where_it_knows_the_topic(
    since: dict[str, Any] | None, position: Position | None
) -> None:
    payload = {"topic": "a"} if since is None else {"topic": "a", "since": since}
    ctx = context({"epoch": "e", "offset": 3})
    assert await module.subscribe(ctx, load(Subscribe, **payload)) == ctx.answer
    assert ctx.calls == [("subscribe", ("a", position), {})]


async def test_to_leave_has_no_answer_whether_the_client_was_a_member() -> None:
    ctx = context(answer=False)
    assert await module.unsubscribe(ctx, load(InTopic, topic="a")) is None  # type: ignore[func-returns-value]
    assert ctx.calls == [("unsubscribe", ("a",), {})]


@pytest.mark.parametrize("key", [None, "k"])
async def test_what_a_client_publishes_has_a_position(key: str | None) -> None:
    payload: dict[str, Any] = {"topic": "a", "payload": {"text": "hi"}}
    if key is not None:
        payload["key"] = key
    ctx = context(Position("e", 4))
    reply = await module.publish(ctx, load(Publish, **payload))
    assert reply == {"epoch": "e", "offset": 4}
    assert ctx.calls == [("publish_as_client", ("a", {"text": "hi"}, key), {})]


@pytest.mark.parametrize(
    "wanted", [{}, {"after": 0}, {"before": 1, "limit": 1}, {"limit": 100_000}]
)
async def test_a_part_of_the_history_is_as_it_is_asked_for(wanted: dict[str, int]) -> None:
    ctx = context({"events": []})
    assert await module.history(ctx, load(History, topic="a", **wanted)) == {"events": []}
    span = {"after": None, "before": None, "limit": None, **wanted}
    assert ctx.calls == [("history", ("a",), span)]


async def test_members_are_listed() -> None:
    ctx = context({"members": [], "count": 0})
    assert await module.presence(ctx, load(InTopic, topic="a")) == ctx.answer
    assert ctx.calls == [("presence", ("a",), {})]


@pytest.mark.parametrize("schema", [Subscribe, Publish, History, InTopic])
def test_the_name_of_a_topic_has_a_bounded_length(schema: type[Schema]) -> None:
    more: dict[str, Any] = {"payload": {}} if schema is Publish else {}
    assert load(schema, topic="x" * MAX_TOPIC_LENGTH, **more)
    for name in ("", "x" * (MAX_TOPIC_LENGTH + 1), 5):
        assert list(faults(schema, topic=name, **more)) == ["topic"]
    assert list(faults(schema, **more)) == ["topic"]


@pytest.mark.parametrize(
    ("since", "wrong"),
    [
        ({"epoch": "e", "offset": -1}, "offset"),
        ({"epoch": "e", "offset": MAX_OFFSET + 1}, "offset"),
        ({"epoch": "e", "offset": "1"}, "offset"),
        ({"epoch": "", "offset": 1}, "epoch"),
        ({"epoch": "e" * 65, "offset": 1}, "epoch"),
        ({"offset": 1}, "epoch"),
    ],
    ids=["negative", "large", "text", "empty", "long", "missing"],
)
def test_a_position_is_one_that_the_server_can_have_told(since: Any, wrong: str) -> None:
    assert list(faults(Subscribe, topic="a", since=since)["since"]) == [wrong]
    assert load(Subscribe, topic="a", since={"epoch": "e" * 64, "offset": MAX_OFFSET})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("after", -1),
        ("after", MAX_OFFSET + 1),
        ("after", 1.5),
        ("before", 0),
        ("before", MAX_OFFSET + 1),
        ("limit", 0),
        ("limit", 100_001),
    ],
)
def test_a_part_that_there_can_not_be_is_refused(name: str, value: float) -> None:
    assert list(faults(History, topic="a", **{name: value})) == [name]


def test_a_publication_is_an_object_with_a_key_of_a_bounded_length() -> None:
    assert load(Publish, topic="a", payload={}, key="k" * MAX_KEY_LENGTH)
    assert list(faults(Publish, topic="a", payload={}, key="")) == ["key"]
    assert list(faults(Publish, topic="a", payload={}, key="k" * (MAX_KEY_LENGTH + 1))) == ["key"]
    no_objects: list[Any] = [[], "x", None]
    for payload in no_objects:
        assert list(faults(Publish, topic="a", payload=payload)) == ["payload"]


@pytest.mark.parametrize(
    ("user", "name", "may"),
    [("alice", "alice", True), ("bob", "alice", False), (None, "None", False)],
)
async def test_a_users_topic_is_the_users_own(user: str | None, name: str, *, may: bool) -> None:
    assert await module.is_their_own(context(user=user), name) is may


def test_clients_do_not_publish_to_the_topics_that_they_are_given() -> None:
    families = {str(family.pattern): family for family in module.topic.topics}
    assert list(families) == ["user:{id*}", "broadcast"]
    assert not any(family.client_publish for family in families.values())
    assert families["user:{id*}"].join_check is module.is_their_own
    assert families["broadcast"].join_check is None


def test_what_a_client_publishes_does_not_wait_in_line() -> None:
    concurrent = {each.type for each in module.topic.handlers.values() if each.concurrent}
    assert concurrent == {"topic.publish"}
