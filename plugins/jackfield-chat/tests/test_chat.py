"""The chat plugin on real servers, by its public door: two of them, which share one Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from jackfield import Identity
from jackfield.auth import Credentials
from jackfield.client import Agent, Client, Event, Gap, Presence, RequestError, Subscription, Task
from jackfield.redis.embedded import embedded_valkey
from jackfield.testing import RunningServer, run_server
from jackfield_chat import chat

LOBBY = "room:lobby"


class ByHeader:
    """Takes clients for whoever they say that they are."""

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        user = credentials.request.headers.get("X-User")
        return None if user is None else Identity(user)


@asynccontextmanager
async def serving_users() -> AsyncIterator[RunningServer]:
    """A server whose clients have ids."""
    async with (
        embedded_valkey() as url,
        run_server(chat, config={"redis": {"url": url}}, authenticators=[ByHeader()]) as server,
    ):
        yield server


def signed_in(server: RunningServer, user: str) -> AbstractAsyncContextManager[Client]:
    return server.connect(headers={"X-User": user})


class Servers(NamedTuple):
    """Two nodes of one system."""

    left: RunningServer
    right: RunningServer


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(embedded_valkey())
        # What the plugin answers and publishes is held against its schemas, too.
        config = {
            "redis": {"url": url},
            "server": {"debug": True},
            "auth": {"anonymous_scopes": ["agent"]},
        }
        yield Servers(
            *[await stack.enter_async_context(run_server(chat, config=config)) for _ in "12"]
        )


async def say(client: Client, text: str, **options: Any) -> int:
    sent = await client.request("chat.send", {"room": "lobby", "text": text, **options})
    offset: int = sent["offset"]
    return offset


async def heard(room: Subscription) -> tuple[str, str]:
    """Who says what next."""
    while True:
        item = await anext(room)
        if isinstance(item, Event):
            return item.payload["nick"], item.payload["text"]


async def seen(room: Subscription) -> Presence:
    """Who comes or goes next."""
    while True:
        item = await anext(room)
        if isinstance(item, Presence):
            return item


async def names(client: Client) -> list[str]:
    members = (await client.presence(LOBBY)).members or []
    return sorted(member["info"]["nick"] for member in members)


async def test_what_is_said_at_one_server_is_heard_at_the_other(servers: Servers) -> None:
    async with servers.left.connect() as ada, servers.right.connect() as ben:
        await ada.request("chat.nick", {"nick": "Ada"})
        async with ada.subscribe(LOBBY) as at_ada, ben.subscribe(LOBBY) as at_ben:
            await say(ada, "hello")
            await say(ben, "hello yourself")
            for room in (at_ada, at_ben):
                assert await heard(room) == ("Ada", "hello")
                assert await heard(room) == (f"guest-{ben.connection[:4]}", "hello yourself")


async def test_rooms_do_not_hear_each_other(servers: Servers) -> None:
    async with servers.left.connect() as ada, ada.subscribe(LOBBY) as room:
        await ada.request("chat.send", {"room": "kitchen", "text": "psst"})
        await say(ada, "hello")
        assert (await heard(room))[1] == "hello"


async def test_who_comes_in_can_read_what_was_said_before(servers: Servers) -> None:
    async with servers.left.connect() as ada, servers.right.connect() as ben:
        for number in range(3):
            await say(ada, f"message {number}")
        async with ben.subscribe(LOBBY) as room:
            position, events = await ben.history(LOBBY, limit=2)
            assert position == room.position
            assert [event.payload["text"] for event in events] == ["message 1", "message 2"]
            await say(ada, "message 3")
            assert (await heard(room))[1] == "message 3"


async def test_who_comes_back_to_another_server_has_missed_nothing(servers: Servers) -> None:
    async with servers.right.connect() as ben:
        async with servers.left.connect() as ada, ada.subscribe(LOBBY) as room:
            await say(ben, "still here?")
            assert (await heard(room))[1] == "still here?"
        for number in range(3):
            await say(ben, f"message {number}")
        async with (
            servers.right.connect() as ada,
            ada.subscribe(LOBBY, since=room.position) as again,
        ):
            assert again.recovered
            assert [(await heard(again))[1] for _ in range(3)] == [
                "message 0",
                "message 1",
                "message 2",
            ]
            await say(ben, "there you are")
            assert (await heard(again))[1] == "there you are"


async def test_who_comes_back_too_late_is_told(servers: Servers) -> None:
    async with servers.left.connect() as ada:
        async with ada.subscribe(LOBBY) as room:
            start = room.position
        for number in range(201):  # one more than a room keeps
            await say(ada, f"message {number}")
        async with ada.subscribe(LOBBY, since=start) as room:
            assert not room.recovered
            assert isinstance(await anext(room), Gap)
        _, events = await ada.history(LOBBY)
        assert [event.payload["text"] for event in events[:2]] == ["message 1", "message 2"]


async def test_who_is_here_is_seen_on_all_servers(servers: Servers) -> None:
    async with servers.left.connect() as ada, servers.right.connect() as ben:
        await ada.request("chat.nick", {"nick": "Ada"})
        await ben.request("chat.nick", {"nick": "Ben"})
        async with ada.subscribe(LOBBY) as room:
            async with ben.subscribe(LOBBY):
                assert (await seen(room)).joined == {
                    "user": None,
                    "connection": ben.connection,
                    "info": {"nick": "Ben"},
                }
                assert await names(ada) == await names(ben) == ["Ada", "Ben"]
            left = (await seen(room)).left
            assert left is not None
            assert left["info"] == {"nick": "Ben"}
            assert await names(ben) == ["Ada"]


async def test_a_new_name_is_seen_by_those_who_see_one_come_in(servers: Servers) -> None:
    async with servers.left.connect() as ada:
        async with ada.subscribe(LOBBY):
            await ada.request("chat.nick", {"nick": "Countess"})
            assert await names(ada) == [f"guest-{ada.connection[:4]}"]
        async with ada.subscribe(LOBBY):
            assert await names(ada) == ["Countess"]


async def test_what_is_sent_again_with_its_key_is_said_once(servers: Servers) -> None:
    key = str(uuid4())
    async with servers.right.connect() as ben, ben.subscribe(LOBBY) as room:
        async with servers.left.connect() as ada:
            first = await say(ada, "hello?", key=key)
        async with servers.right.connect() as ada:  # whose line was lost before the reply
            assert await say(ada, "hello?", key=key) == first
            await say(ada, "anybody?", key=str(uuid4()))
        assert [(await heard(room))[1] for _ in range(2)] == ["hello?", "anybody?"]


async def test_nobody_takes_the_key_of_another(servers: Servers) -> None:
    key = str(uuid4())
    async with (
        servers.left.connect() as ada,
        servers.right.connect() as ben,
        ben.subscribe(LOBBY) as room,
    ):
        await say(ada, "hello?", key=key)
        await say(ben, "it is me", key=key)
        assert [(await heard(room))[1] for _ in range(2)] == ["hello?", "it is me"]


async def test_no_user_takes_the_key_of_another() -> None:
    key = str(uuid4())
    async with (
        serving_users() as server,
        signed_in(server, "ada") as ada,
        signed_in(server, "ben") as ben,
    ):
        first = await say(ada, "hello", key=key)
        assert await say(ben, "hello", key=key) == first + 1
        assert await say(ada, "hello", key=key) == first


@pytest.mark.parametrize(
    "name",
    [
        *("\x1b[31mred", "a\0b", "a\nb", "\u202eecila", "\u200d", " ", "x" * 33, "x\u0301" * 300),
        *(
            "agent",
            "Agent",
            " AGENT ",
            "ag\u200dent",
            "\uff41\uff47\uff45\uff4e\uff54",
            "guest-1234",
        ),
    ],
)
async def test_a_name_that_misleads_is_refused(servers: Servers, name: str) -> None:
    async with servers.left.connect() as client:
        with pytest.raises(RequestError) as refused:
            await client.request("chat.nick", {"nick": name})
        assert {field["pointer"] for field in refused.value.fields} == {"/nick"}
        known = {"printable", "reserved", "length", "invalid"}
        assert {field["code"] for field in refused.value.fields} <= known


async def test_a_name_is_normalised(servers: Servers) -> None:
    async with servers.left.connect() as client:
        for name, kept in ((" Rene\u0301 ", "Ren\u00e9"), ("\U0001f469\u200d\U0001f4bb", None)):
            assert await client.request("chat.nick", {"nick": name}) == {"nick": kept or name}


async def test_nobody_is_called_as_another_user() -> None:
    async with (
        serving_users() as server,
        signed_in(server, "ada") as ada,
        signed_in(server, "ben") as ben,
    ):
        for name in ("ada", "ADA", " ada"):
            with pytest.raises(RequestError) as refused:
                await ben.request("chat.nick", {"nick": name})
            assert refused.value.code == "chat.name_taken"
        await ada.request("chat.nick", {"nick": "Ada"})
        await ben.request("chat.nick", {"nick": "Benjamin"})


@pytest.mark.parametrize("text", ["\x1b[2J", "a\0", "\x9b31m"])
async def test_nothing_is_said_in_control_characters(servers: Servers, text: str) -> None:
    async with servers.left.connect() as client:
        with pytest.raises(RequestError) as refused:
            await say(client, text)
        (field,) = refused.value.fields
        assert (field["pointer"], field["code"]) == ("/text", "plain_text")
        await say(client, "two\nlines\tand a tab")


async def test_what_is_said_wrongly_is_refused_on_its_field(servers: Servers) -> None:
    async with servers.left.connect() as client:
        with pytest.raises(RequestError) as refused:
            await client.request("chat.send", {"room": "Lobby", "text": "", "key": "1"})
        assert [field["pointer"] for field in refused.value.fields] == ["/room", "/text", "/key"]


@pytest.mark.parametrize("name", ["Lobby", "lobby!", "lobby\n", "lobby:1", "x" * 65, ""])
async def test_a_room_that_may_not_be_called_so_is_not_there(servers: Servers, name: str) -> None:
    async with servers.left.connect() as client:
        for message_type in ("topic.subscribe", "topic.history", "topic.presence"):
            with pytest.raises(RequestError) as refused:
                await client.request(message_type, {"topic": f"room:{name}"})
            assert refused.value.code == "not_found"
        with pytest.raises(RequestError) as refused:
            await client.request("chat.send", {"room": name, "text": "hi"})
        assert refused.value.code == "invalid_payload"


async def test_clients_speak_in_a_room_only_by_the_plugin(servers: Servers) -> None:
    async with servers.left.connect() as client:
        with pytest.raises(RequestError) as refused:
            await client.publish(LOBBY, {"nick": "Ada", "text": "forged", "at": "2026-01-01"})
        assert refused.value.code == "not_found"


class Parrot(NamedTuple):
    """What becomes of an agent with the skill "chat"."""

    asked: list[Any]
    begun: asyncio.Event
    cancelled: asyncio.Event


@asynccontextmanager
async def parrot_at(server: RunningServer, *words: str) -> AsyncIterator[Parrot]:
    """An agent that answers with these words; without any it never comes to an end."""
    parrot = Parrot([], asyncio.Event(), asyncio.Event())
    agent = Agent("parrot", server.url)

    @agent.skill("chat")
    async def answer(task: Task, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        parrot.asked.append(data)
        parrot.begun.set()
        for word in words:
            yield {"text": word}
        if not words:
            try:
                await asyncio.Event().wait()
            finally:
                parrot.cancelled.set()

    async with agent.running():
        yield parrot


async def answers(client: Client, text: str, **options: Any) -> list[dict[str, Any]]:
    question = {"room": "lobby", "text": text, **options}
    return [part async for part in client.stream("chat.ask", question)]


async def test_the_agent_answers_who_asks_word_by_word_and_all_others_at_once(
    servers: Servers,
) -> None:
    async with (
        parrot_at(servers.right, "On ", "Friday.") as parrot,
        servers.left.connect() as ada,
        servers.right.connect() as ben,
        ben.subscribe(LOBBY) as room,
    ):
        await ada.request("chat.nick", {"nick": "Ada"})
        question, *words, answer = await answers(ada, "When?")
        assert words == [{"text": "On "}, {"text": "Friday."}]
        assert parrot.asked == [{"room": "lobby", "text": "When?", "nick": "Ada"}]
        events = [await anext(room), await anext(room)]
        said = [event.payload for event in events if isinstance(event, Event)]
        kinds = [(each["nick"], each["text"], each["kind"]) for each in said]
        assert kinds == [("Ada", "When?", "question"), ("agent", "On Friday.", "answer")]
        offsets = [question["question"]["offset"], answer["answer"]["offset"]]
        assert offsets == [event.offset for event in events if isinstance(event, Event)]


async def test_a_question_that_is_asked_again_with_its_key_is_in_the_room_once(
    servers: Servers,
) -> None:
    key = str(uuid4())
    async with parrot_at(servers.left, "Yes."), servers.left.connect() as ada:
        first = await answers(ada, "Still there?", key=key)
        assert await answers(ada, "Still there?", key=key) == first
        _, events = await ada.history(LOBBY)
        assert [event.payload["text"] for event in events] == ["Still there?", "Yes."]


async def test_who_cancels_stops_the_agent_and_nobody_gets_an_answer(servers: Servers) -> None:
    async with parrot_at(servers.left) as parrot, servers.left.connect() as ada:
        stream = ada.stream("chat.ask", {"room": "lobby", "text": "Tell me everything."})
        await anext(stream)
        await parrot.begun.wait()
        await stream.aclose()
        await parrot.cancelled.wait()
        _, events = await ada.history(LOBBY)
        assert [event.payload["text"] for event in events] == ["Tell me everything."]


async def test_where_no_agent_is_nothing_is_asked(servers: Servers) -> None:
    async with servers.left.connect() as ada:
        with pytest.raises(RequestError) as refused:
            await answers(ada, "Anybody?")
        assert refused.value.code == "chat.no_agent"
        assert (await ada.history(LOBBY)).events == []


async def test_the_page_is_served(servers: Servers) -> None:
    async with ClientSession(servers.left.address) as http, http.get("/chat") as response:
        assert response.status == 200
        assert "Jackfield chat" in await response.text()
