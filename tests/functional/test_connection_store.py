"""What `jackfield.store.connections` promises: state that lives by its heartbeat, and heals."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jackfield.redis.client import RedisClient
from jackfield.redis.embedded import embedded_valkey
from jackfield.store import connection_scripts, connections
from jackfield.store.connections import ConnectionStore, ReapedConnection, UserConnection
from jackfield.store.keys import Keys
from jackfield.wire.errors import Error
from tests.support.connections import StoredConnection, stored_connection
from tests.support.waiting import assert_every_key_expires, redis_settings, wait_until

#: Seconds. Longer than any test; and short, for those in which something is to expire.
LONG = 60.0
SHORT = 0.2


@dataclass
class Record:
    """A connection as the store sees it."""

    user: str | None = "alice"
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    remote: str = "192.0.2.1"
    connected_at: float = 1_700_000_000.125
    fields: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Node:
    """A node's store, and its keys for a look behind it."""

    store: ConnectionStore
    keys: Keys
    client: RedisClient

    async def get(self, connection_id: str) -> StoredConnection | None:
        return await stored_connection(self.client, self.keys, connection_id)


MakeNode = Callable[..., Node]


def make_client(url: str, timeout: float = 10.0) -> RedisClient:
    return RedisClient(redis_settings(timeout=timeout), url)


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[RedisClient]:
    client = make_client(valkey_url)
    yield client
    await client.close()


@pytest.fixture
async def own(stack: AsyncExitStack) -> RedisClient:
    """A client of a Valkey of the test's own, to do bad things to."""
    client = make_client(await stack.enter_async_context(embedded_valkey()))
    stack.push_async_callback(client.close)
    return client


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(8)}"


@pytest.fixture(autouse=True)
async def every_key_expires(client: RedisClient, prefix: str) -> AsyncIterator[None]:
    yield
    await assert_every_key_expires(client, f"{prefix}:*")


@pytest.fixture
def make_node(client: RedisClient, prefix: str) -> MakeNode:
    shared = client

    def make(client: RedisClient = shared, ttl: float = LONG) -> Node:
        keys = Keys(prefix, secrets.token_hex(4))
        return Node(ConnectionStore(client, keys, ttl), keys, client)

    return make


async def keys_of(client: RedisClient, prefix: str) -> set[str]:
    return {key.decode() for key in await client.execute("KEYS", f"{prefix}:*")}


async def kill(client: RedisClient, node: Node) -> None:
    """What remains of a node whose TTL has passed, without the wait."""
    await client.execute("DEL", node.keys.node)
    await client.execute("ZADD", node.keys.nodes, 1, node.keys.node_id)


async def test_a_connection_is_found_with_all_that_was_kept(make_node: MakeNode) -> None:
    node = make_node()
    record = Record(fields={"chat.name": b"\xff\x00", "chat.empty": b""})
    before = time.time() - 1
    await node.store.add(record)
    stored = await node.get(record.id)
    assert stored is not None
    assert before < stored.pop("seen_at") < time.time() + 1  # type: ignore[misc]
    assert stored == {
        "id": record.id,
        "node": node.keys.node_id,
        "user": "alice",
        "remote": "192.0.2.1",
        "connected_at": 1_700_000_000.125,
        "fields": {"chat.name": b"\xff\x00", "chat.empty": b""},
    }


async def test_an_anonymous_connection_is_kept_by_its_node_and_no_other(
    make_node: MakeNode,
) -> None:
    here, there = make_node(), make_node()
    record = Record(user=None)
    await there.store.add(record)
    assert await here.get(record.id) is None
    stored = await there.get(record.id)
    assert stored is not None
    assert stored["user"] is None


async def test_a_removed_connection_leaves_nothing(
    make_node: MakeNode, client: RedisClient, prefix: str
) -> None:
    node = make_node()
    record = Record()
    await node.store.add(record)
    await node.store.remove(record)
    assert await node.get(record.id) is None
    assert await node.store.of_user("alice") == []
    assert await keys_of(client, prefix) == {node.keys.node, node.keys.nodes}
    await node.store.remove(record)


async def test_a_node_that_shuts_down_leaves_nothing(
    make_node: MakeNode, client: RedisClient, prefix: str
) -> None:
    node = make_node()
    records = [Record(user=f"user {number}") for number in range(connections._BATCH + 1)]
    await asyncio.gather(*(node.store.add(record) for record in records))
    await node.store.heartbeat(records)
    await node.store.remove_all(records)
    assert await keys_of(client, prefix) == set()


async def test_the_node_tells_of_itself(make_node: MakeNode, client: RedisClient) -> None:
    node = make_node()
    await node.store.add(Record())
    first = await client.execute("HGETALL", node.keys.node)
    await node.store.heartbeat([Record(), Record()])
    second = await client.execute("HGETALL", node.keys.node)
    assert set(second) == {b"pid", b"host", b"version", b"started_at", b"seen_at", b"connections"}
    assert second[b"connections"] == b"2"
    assert second[b"started_at"] == first[b"started_at"]
    assert float(second[b"seen_at"]) >= float(first[b"seen_at"])


async def test_what_has_no_heartbeat_expires(
    make_node: MakeNode, client: RedisClient, prefix: str
) -> None:
    node = make_node(ttl=SHORT)
    record = Record()
    await node.store.add(record)

    async def has_expired() -> bool:
        left = await keys_of(client, prefix)
        return left == {node.keys.connections, node.keys.nodes}

    await wait_until(has_expired)
    assert await node.store.of_user("alice") == []


async def test_a_heartbeat_keeps_what_is_alive_and_no_other(make_node: MakeNode) -> None:
    node = make_node(ttl=SHORT)
    alive, silent = Record(), Record()
    await node.store.add(alive)
    await node.store.add(silent)

    async def silent_has_expired() -> bool:
        await node.store.heartbeat([alive])
        return await node.get(silent.id) is None

    await wait_until(silent_has_expired)
    assert await node.store.of_user("alice") == [UserConnection(node.keys.node_id, alive.id)]


async def test_a_heartbeat_says_when_it_was(make_node: MakeNode) -> None:
    node = make_node()
    record = Record()
    await node.store.add(record)
    first = await node.get(record.id)
    assert first is not None

    async def has_moved() -> bool:
        assert await node.store.heartbeat([record]) == 0
        stored = await node.get(record.id)
        return stored is not None and stored["seen_at"] > first["seen_at"]

    await wait_until(has_moved)


async def test_a_user_is_found_on_all_nodes(make_node: MakeNode) -> None:
    here, there = make_node(), make_node()
    mine, theirs, other = Record(), Record(), Record(user="bob")
    await here.store.add(mine)
    await here.store.add(other)
    await there.store.add(theirs)
    expected = {
        UserConnection(here.keys.node_id, mine.id),
        UserConnection(there.keys.node_id, theirs.id),
    }
    for node in (here, there):
        assert set(await node.store.of_user("alice")) == expected
    await there.store.remove(theirs)
    assert await here.store.of_user("alice") == [UserConnection(here.keys.node_id, mine.id)]


async def test_no_user_is_taken_for_another(make_node: MakeNode) -> None:
    node = make_node()
    users = ["a", "{a}", "a}", "{", "}", "a:conns", "a%7D", "%61", "a b", "a\n", "ä", "a/b", "u:a"]
    records = [Record(user=user) for user in users]
    for record in records:
        await node.store.add(record)
    for record in records:
        assert record.user is not None
        assert await node.store.of_user(record.user) == [
            UserConnection(node.keys.node_id, record.id)
        ]


async def test_fields_change_and_go(make_node: MakeNode) -> None:
    node = make_node()
    record = Record(fields={"chat.old": b"1", "chat.kept": b"2"})
    await node.store.add(record)
    await node.store.set_fields(record, {"chat.new": b"3", "chat.old": None})
    stored = await node.get(record.id)
    assert stored is not None
    assert stored["fields"] == {"chat.kept": b"2", "chat.new": b"3"}


async def test_fields_of_a_vanished_connection_bring_it_back_whole(
    make_node: MakeNode, client: RedisClient
) -> None:
    node = make_node()
    record = Record(fields={"chat.old": b"1", "chat.kept": b"2"})
    await node.store.add(record)
    await client.execute("DEL", node.keys.connection(record.id))
    await node.store.set_fields(record, {"chat.new": b"3", "chat.old": None})
    stored = await node.get(record.id)
    assert stored is not None
    assert stored["user"] == "alice"
    assert stored["fields"] == {"chat.kept": b"2", "chat.new": b"3"}


async def test_a_flushed_redis_heals_by_itself(
    make_node: MakeNode, own: RedisClient, prefix: str
) -> None:
    node = make_node(own)
    records = [
        Record(user=f"user {number}", fields={"chat.number": b"%d" % number})
        for number in range(2 * connections._BATCH + 1)
    ]
    await asyncio.gather(*(node.store.add(record) for record in records))
    before = await keys_of(own, prefix)
    await own.execute("FLUSHALL")
    assert await node.store.heartbeat(records) == len(records)
    assert await keys_of(own, prefix) == before
    for number in (0, len(records) - 1):
        stored = await node.get(records[number].id)
        assert stored is not None
        assert stored["fields"] == {"chat.number": b"%d" % number}
        address = UserConnection(node.keys.node_id, records[number].id)
        assert await node.store.of_user(f"user {number}") == [address]
    assert await node.store.heartbeat(records) == 0
    await assert_every_key_expires(own, "*")


async def test_a_restarted_redis_heals_by_itself(
    make_node: MakeNode, stack: AsyncExitStack, tmp_path: Path
) -> None:
    socket = tmp_path / "socket"
    client = make_client(f"unix://{socket}")
    stack.push_async_callback(client.close)
    node = make_node(client)
    record = Record(fields={"chat.name": b"Alice"})
    async with embedded_valkey() as url:
        socket.symlink_to(url.removeprefix("unix://"))
        await node.store.add(record)
    with pytest.raises(Error, match="unavailable"):
        await node.store.heartbeat([record])
    socket.unlink()
    async with embedded_valkey() as url:
        socket.symlink_to(url.removeprefix("unix://"))
        assert await node.store.heartbeat([record]) == 1
        stored = await node.get(record.id)
        assert stored is not None
        assert stored["fields"] == {"chat.name": b"Alice"}
        await assert_every_key_expires(client, "*")


async def test_a_heartbeat_brings_no_older_fields_back(
    make_node: MakeNode, own: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node(own)
    record = Record(fields={"chat.number": b"1"})
    await node.store.add(record)
    await own.execute("FLUSHALL")
    run, writes = own.run, 0

    async def run_after_a_handler(script: Any, *args: Any) -> Any:
        nonlocal writes
        if script is connection_scripts._WRITE_CONNECTIONS:
            writes += 1
            if writes == 1:  # the heartbeat's, which has seen that the connection had gone
                await node.store.set_fields(record, {"chat.number": b"2"})
        return await run(script, *args)

    monkeypatch.setattr(own, "run", run_after_a_handler)
    await node.store.heartbeat([record])
    assert writes == 2
    stored = await node.get(record.id)
    assert stored is not None
    assert stored["fields"] == {"chat.number": b"2"}


async def test_a_heartbeat_brings_no_removed_connection_back(
    make_node: MakeNode, own: RedisClient, prefix: str
) -> None:
    node = make_node(own)
    for _ in range(50):
        records = [Record() for _ in range(5)]
        await asyncio.gather(*(node.store.add(record) for record in records))
        await own.execute("FLUSHALL")
        await asyncio.gather(
            node.store.heartbeat(records), *(node.store.remove(record) for record in records)
        )
        assert await keys_of(own, prefix) == {node.keys.node, node.keys.nodes}


async def test_what_a_failed_removal_left_is_swept_once_it_has_expired(
    make_node: MakeNode, client: RedisClient
) -> None:
    node = make_node()
    alive, silent, left = Record(), Record(), Record()
    for record in (alive, silent, left):
        await node.store.add(record)
    await client.execute("DEL", node.keys.connection(left.id))
    await node.store.heartbeat([alive])
    held = await client.execute("HKEYS", node.keys.connections)
    assert set(held) == {alive.id.encode(), silent.id.encode()}


async def test_a_full_redis_keeps_what_it_has(make_node: MakeNode, own: RedisClient) -> None:
    node, other = make_node(own), make_node(own)
    record, gone = Record(), Record()
    await node.store.add(record)
    await other.store.add(gone)
    await kill(own, other)
    await own.execute("CONFIG SET", "maxmemory", 1)
    with pytest.raises(Error, match="unavailable"):
        await node.store.add(Record())
    with pytest.raises(Error, match="unavailable"):
        await node.store.set_fields(record, {"chat.name": b""})
    assert await node.store.heartbeat([record]) == 0
    assert len(await node.store.of_user("alice")) == 2
    assert len(await node.store.reap()) == 1
    await node.store.remove_all([record])
    assert await own.execute("KEYS", "*") == [other.keys.reaped.encode()]


async def test_what_a_dead_node_left_is_removed_and_told(
    make_node: MakeNode, client: RedisClient, prefix: str
) -> None:
    dead, reaper = make_node(ttl=SHORT), make_node(ttl=SHORT)
    alice, anonymous = Record(), Record(user=None)
    await dead.store.add(alice)
    await dead.store.add(anonymous)
    departed: list[ReapedConnection] = []

    async def is_reaped() -> bool:
        departed.extend(await reaper.store.reap())
        return bool(departed)

    await wait_until(is_reaped)
    node = dead.keys.node_id
    assert set(departed) == {
        ReapedConnection(node, alice.id, "alice"),
        ReapedConnection(node, anonymous.id, None),
    }
    assert await keys_of(client, prefix) == {dead.keys.reaped}
    assert await reaper.store.reap() == []


async def test_a_node_that_dies_before_its_first_heartbeat_is_reaped(
    make_node: MakeNode, client: RedisClient
) -> None:
    dead, reaper = make_node(), make_node()
    record = Record()
    await dead.store.add(record)
    await kill(client, dead)
    assert await reaper.store.reap() == [ReapedConnection(dead.keys.node_id, record.id, "alice")]
    assert await reaper.store.of_user("alice") == []


async def test_every_departure_is_told_exactly_once_however_many_reap(
    make_node: MakeNode, client: RedisClient, stack: AsyncExitStack, valkey_url: str
) -> None:
    second = make_client(valkey_url)
    stack.push_async_callback(second.close)
    reapers = [make_node(), make_node(second), make_node()]
    for _ in range(20):
        dead = [make_node() for _ in range(2)]
        expected = []
        for node in dead:
            records = [Record(user=None) for _ in range(connections._BATCH + 50)]
            await node.store.heartbeat(records)
            expected += [ReapedConnection(node.keys.node_id, record.id, None) for record in records]
            await kill(client, node)
        told = await asyncio.gather(*(reaper.store.reap() for reaper in reapers))
        assert sorted(each for departed in told for each in departed) == sorted(expected)


async def test_a_living_node_is_not_reaped(make_node: MakeNode, client: RedisClient) -> None:
    alive, reaper = make_node(), make_node()
    record = Record()
    await alive.store.add(record)
    await client.execute("ZADD", alive.keys.nodes, 1, alive.keys.node_id)
    assert await reaper.store.reap() == []
    assert await alive.get(record.id) is not None


async def test_a_node_does_not_reap_itself(make_node: MakeNode, client: RedisClient) -> None:
    node = make_node()
    await node.store.add(Record())
    await kill(client, node)
    assert await node.store.reap() == []


async def test_a_node_that_was_only_stopped_comes_back(
    make_node: MakeNode, client: RedisClient
) -> None:
    stopped, reaper = make_node(), make_node()
    record = Record()
    await stopped.store.add(record)
    await kill(client, stopped)
    assert len(await reaper.store.reap()) == 1
    assert await stopped.store.heartbeat([record]) is None  # others were told that it left
    assert await stopped.store.heartbeat([record]) == 1
    assert await reaper.store.of_user("alice") == [UserConnection(stopped.keys.node_id, record.id)]
    assert await reaper.store.reap() == []
    assert await client.execute("ZSCORE", stopped.keys.nodes, stopped.keys.node_id) is not None


async def test_what_was_reaped_before_redis_went_away_is_told(
    make_node: MakeNode, own: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, reaper = make_node(own), make_node(own)
    records = [Record() for _ in range(connections._BATCH + 1)]
    await dead.store.heartbeat(records)
    await kill(own, dead)
    run, reaped = own.run, 0

    async def run_once(script: Any, *args: Any) -> Any:
        nonlocal reaped
        reaped += script is connection_scripts._REAP_CONNECTIONS
        if reaped > 1:
            raise Error("unavailable", retry_after=1.0)
        return await run(script, *args)

    with monkeypatch.context() as patched:
        patched.setattr(own, "run", run_once)
        first = await reaper.store.reap()
    assert len(first) == connections._BATCH
    assert len(first + await reaper.store.reap()) == len(records)


async def test_without_redis_everything_is_unavailable(
    make_node: MakeNode, stack: AsyncExitStack, tmp_path: Path
) -> None:
    client = make_client(f"unix://{tmp_path}/none.sock")
    stack.push_async_callback(client.close)
    store, record = make_node(client).store, Record()
    for call in (
        store.add(record),
        store.remove(record),
        store.remove_all([record]),
        store.set_fields(record, {"chat.name": b""}),
        store.heartbeat([record]),
        store.of_user("alice"),
        store.reap(),
    ):
        with pytest.raises(Error, match="unavailable"):
            await call
