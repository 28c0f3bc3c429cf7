"""What `jackfield.store.connections` promises on a Cluster, where users are of many slots."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from jackfield.redis.client import RedisClient
from jackfield.store import connections
from jackfield.store.connections import ConnectionStore, UserConnection
from jackfield.store.keys import Keys
from jackfield.wire.errors import Error
from tests.support.connections import stored_connection
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.waiting import wait_until

MakeClient = Callable[..., RedisClient]

#: Seconds: longer than any test; and short, for one in which something is to expire.
LONG = 60.0
SHORT = 0.3


@dataclass
class Record:
    """A connection as the store sees it."""

    user: str | None
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    remote: str = "192.0.2.1"
    connected_at: float = 1_700_000_000.125
    fields: dict[str, bytes] = field(default_factory=dict)


def users(count: int) -> list[Record]:
    return [Record(f"user {number}") for number in range(count)]


@pytest.fixture
async def store(client: RedisClient, name: str) -> ConnectionStore:
    return ConnectionStore(client, Keys(name, "node"), LONG)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test of few connections has several batches."""
    monkeypatch.setattr(connections, "_BATCH", 40)


async def test_connections_of_many_users_are_written_found_and_removed(
    store: ConnectionStore, client: RedisClient, cluster: ValkeyCluster, name: str
) -> None:
    records = [*users(100), Record("user 7"), Record(None)]
    assert await store.heartbeat(records) == len(records)
    assert await store.heartbeat(records) == 0
    for record in records[:10]:
        stored = await stored_connection(client, Keys(name, "node"), record.id)
        assert stored is not None
        assert stored["user"] == record.user
        assert record.user is not None
        assert UserConnection("node", record.id) in await store.of_user(record.user)
    assert len(await store.of_user("user 7")) == 2

    for node in cluster.nodes:
        keys = await node.ask("KEYS", f"{name}:*")
        assert keys
        for key in keys:
            assert await node.ask("PTTL", key) > 0, key

    await store.remove(records[7])
    assert await store.of_user("user 7") == [UserConnection("node", records[100].id)]
    await store.remove_all(records)
    for node in cluster.nodes:
        assert set(await node.ask("KEYS", f"{name}:*")) <= {f"{name}:nodes".encode()}


async def test_what_a_dead_node_left_is_removed_and_told(client: RedisClient, name: str) -> None:
    dead = ConnectionStore(client, Keys(name, "dead"), SHORT)
    alive = ConnectionStore(client, Keys(name, "alive"), SHORT)
    records = users(100)
    await dead.heartbeat(records)
    told: list[str] = []

    async def all_are_told() -> bool:
        told.extend(departed.id for departed in await alive.reap())
        return len(told) >= len(records)

    await wait_until(all_are_told)
    assert sorted(told) == sorted(record.id for record in records)
    assert await alive.of_user("user 1") == []


async def test_while_one_master_is_away_the_connections_of_the_others_users_live_on(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_cluster(cluster_require_full_coverage="no") as cluster:
        client = make_client(cluster.url)
        keys = Keys(name, "node")
        store = ConnectionStore(client, keys, LONG)
        records = users(100)
        await store.heartbeat(records)
        needed = {await client.shard(keys.node), await client.shard(keys.nodes)}
        lost = next(node for node in cluster.masters if node.address not in needed)
        shards = {
            record.id: await client.shard(keys.user_connections(record.user or ""))
            for record in records
        }
        await lost.kill()
        # As if they were about to expire: only what the heartbeat refreshes is whole after it.
        living = [record for record in records if shards[record.id] != lost.address]
        assert 0 < len(living) < len(records)
        for node in cluster.masters:
            if node is not lost:
                for key in await node.ask("KEYS", f"{name}:*"):
                    await node.ask("PEXPIRE", key, 20_000)

        with pytest.raises(Error) as caught:
            await store.heartbeat(records)
        assert caught.value.code == "unavailable"
        for record in records:
            key = keys.connection(record.id)
            assert await client.execute("PTTL", key) > 20_000
        for record in living:
            key = keys.user_connections(record.user or "")
            assert await client.execute("PTTL", key) > 20_000

        await lost.start()
        await cluster.settled()
        await store.heartbeat(records)
        for record in records:
            assert await store.of_user(record.user or "") == [UserConnection("node", record.id)]
