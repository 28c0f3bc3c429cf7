"""A plugin's fields are its own, in Redis before they can be read, and written in order."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from jackfield import Error
from jackfield.authoring.state import State
from jackfield.store.connections import ConnectionRecord, ConnectionStore
from tests.support.connected import Connected


class Store:
    """Keeps what is written, once the test lets it."""

    def __init__(self) -> None:
        self.written: list[dict[str, bytes | None]] = []
        self.opens = asyncio.Event()
        self.opens.set()
        self.is_away = False

    async def set_fields(
        self, record: ConnectionRecord, fields: Mapping[str, bytes | None]
    ) -> None:
        assert record.id == "c1"
        await self.opens.wait()
        if self.is_away:
            raise Error("unavailable")
        self.written.append(dict(fields))


class World:
    def __init__(self) -> None:
        self.store, self.connection = Store(), Connected().connection

    def state(self, plugin: str = "chat") -> State:
        return State(self.connection, plugin, cast(ConnectionStore, self.store))


async def test_what_is_set_can_be_read_and_is_in_redis() -> None:
    world = World()
    await world.state().set(name="Ada", seen=[1, None])
    assert dict(world.state()) == {"name": "Ada", "seen": [1, None]}
    assert world.store.written == [{"chat.name": b'"Ada"', "chat.seen": b"[1,null]"}]


async def test_each_plugin_has_its_own() -> None:
    world = World()
    await world.state("chat").set(name="Ada")
    await world.state("chats").set(name="Ben")
    assert dict(world.state("chat")) == {"name": "Ada"}
    assert (len(world.state("chats")), len(world.state("other"))) == (1, 0)
    with pytest.raises(KeyError):
        world.state("other")["name"]
    assert "name" in world.state("chat")
    assert "other" not in world.state("chat")


async def test_while_redis_is_away_nothing_changes() -> None:
    world = World()
    await world.state().set(name="Ada")
    world.store.is_away = True
    for change in (world.state().set(name="Ben"), world.state().delete("name")):
        with pytest.raises(Error, match="unavailable"):
            await change
    assert dict(world.state()) == {"name": "Ada"}


async def test_it_can_not_be_read_before_it_is_in_redis() -> None:
    world = World()
    world.store.opens.clear()
    setting = asyncio.create_task(world.state().set(name="Ada"))
    await asyncio.sleep(0)
    assert dict(world.state()) == {}
    world.store.opens.set()
    await setting
    assert dict(world.state()) == {"name": "Ada"}


async def test_what_is_deleted_is_gone_and_what_is_not_there_is_no_error() -> None:
    world = World()
    await world.state().set(one=1, two=2)
    await world.state().delete("one", "three")
    assert dict(world.state()) == {"two": 2}
    assert world.store.written[-1] == {"chat.one": None}


async def test_writes_of_one_connection_are_made_one_after_the_other() -> None:
    world = World()
    world.store.opens.clear()
    tasks = [asyncio.create_task(world.state().set(n=number)) for number in range(5)]
    await asyncio.sleep(0)
    world.store.opens.set()
    await asyncio.gather(*tasks)
    assert [each["chat.n"] for each in world.store.written] == [b"0", b"1", b"2", b"3", b"4"]
    assert world.state()["n"] == 4


async def test_a_value_that_is_no_json_is_refused() -> None:
    world = World()
    with pytest.raises(TypeError):
        await world.state().set(value=cast(Any, object()))
    assert world.store.written == []
    assert msgspec.json.encode(dict(world.state())) == b"{}"
