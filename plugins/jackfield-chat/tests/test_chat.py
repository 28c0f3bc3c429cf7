"""The chat plugin on a real server, by its public door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from jackfield.client import Client, RequestError
from jackfield.testing import RunningServer, run_server
from jackfield_chat import chat


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    config = {"plugins": {"chat": {"history": 3, "rooms": 2, "backlog": 2}}}
    async with run_server(chat, config=config) as running:
        yield running


async def say(client: Client, text: str, room: str = "lobby") -> Any:
    return await client.request("chat.send", {"room": room, "text": text})


async def test_everybody_who_listens_hears_what_is_said(server: RunningServer) -> None:
    async with server.connect() as ada, server.connect() as ben:
        await ada.request("chat.nick", {"nick": "Ada"})
        async with aclosing(ben.stream("chat.listen", {"room": "lobby"})) as heard:
            listening = asyncio.ensure_future(anext(heard))
            while not (await ada.request("chat.rooms"))["rooms"]:
                pass  # each look is a round trip: the stream has begun once the room is there
            assert await say(ada, "hello") == {"number": 1}
            assert await listening == {"number": 1, "nick": "Ada", "text": "hello"}
            await say(ben, "hello yourself")
            assert (await anext(heard))["nick"] == f"guest-{ben.connection[:4]}"
        while (await ada.request("chat.rooms"))["rooms"][0]["listeners"]:
            pass  # leaving the stream has cancelled it; the server will have read that soon


async def test_history_keeps_the_newest(server: RunningServer) -> None:
    async with server.connect() as client:
        for number in range(5):
            await say(client, f"message {number}")
        history = await client.request("chat.history", {"room": "lobby"})
        assert [message["number"] for message in history["messages"]] == [3, 4, 5]
        history = await client.request("chat.history", {"room": "lobby", "limit": 1})
        assert [message["number"] for message in history["messages"]] == [5]
        assert await client.request("chat.history", {"room": "never"}) == {"messages": []}


async def test_rooms_are_limited(server: RunningServer) -> None:
    async with server.connect() as client:
        await say(client, "one", "first")
        await say(client, "two", "second")
        with pytest.raises(RequestError) as refused:
            await say(client, "three", "third")
        assert refused.value.code == "chat.too_many_rooms"


async def test_what_is_said_wrongly_is_refused_on_its_field(server: RunningServer) -> None:
    async with server.connect() as client:
        with pytest.raises(RequestError) as refused:
            await say(client, "", "")
        assert [field["pointer"] for field in refused.value.fields] == ["/room", "/text"]


async def test_a_listener_too_far_behind_is_told(server: RunningServer) -> None:
    async with server.connect() as ada, server.connect() as ben:
        heard = ben.stream("chat.listen", {"room": "lobby"})
        listening = asyncio.ensure_future(anext(heard))
        while not (await ada.request("chat.rooms"))["rooms"]:
            pass
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(say(ada, f"message {number}"))
        await listening
        with pytest.raises(RequestError) as refused:
            async for _ in heard:
                pass
        assert (refused.value.code, refused.value.retryable) == ("chat.too_slow", True)
