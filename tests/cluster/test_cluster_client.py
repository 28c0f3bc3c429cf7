"""What a client of a Redis Cluster promises: each call to the server that has its keys, at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.exceptions import ResponseError

from jackfield.redis.client import RedisClient, Script
from jackfield.wire.errors import Error
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.valkeys import HOST, Valkey, single_valkey
from tests.support.waiting import is_served, wait_until

MakeClient = Callable[..., RedisClient]

PAIR = Script("return {KEYS[1], ARGV[1]}")
#: Seconds until a failover is through, on a busy machine.
FAILOVER = 30


async def key_of(client: RedisClient, master: Valkey, name: str) -> str:
    """A key that a master has."""
    for number in range(1000):
        key = f"{name}:{number}"
        if await client.shard(key) == master.address:
            return key
    raise AssertionError("none of a thousand keys is on that master")


async def test_every_key_is_found_where_it_is(
    cluster: ValkeyCluster, client: RedisClient, name: str
) -> None:
    keys = [f"{name}:{number}" for number in range(300)]
    await asyncio.gather(*(client.execute("SET", key, key) for key in keys))
    found = await asyncio.gather(*(client.execute("GET", key.encode()) for key in keys))
    assert found == [key.encode() for key in keys]
    shards = {key: await client.shard(key) for key in keys}
    assert set(shards.values()) == {master.address for master in cluster.masters}
    for key in keys[::30]:
        assert client.slot(key) == await cluster.masters[0].ask("CLUSTER KEYSLOT", key)
        assert await cluster.at(shards[key]).ask("GET", key) == key.encode()


async def test_keys_with_one_hash_tag_are_of_one_slot(client: RedisClient, name: str) -> None:
    keys = [f"a:{{{name}}}:1", f"b:{{{name}}}:2"]
    assert client.slot(keys[0]) == client.slot(keys[1])
    await client.execute("MSET", keys[0], "1", keys[1], "2")
    assert await client.execute("DEL", *keys) == 2


async def test_keys_of_several_slots_in_one_call_are_a_fault(
    client: RedisClient, name: str
) -> None:
    with pytest.raises(ResponseError):
        await client.run(PAIR, [f"{name}:1", f"{name}:2"], ["x"])


async def test_a_command_without_keys_is_answered_by_any(client: RedisClient) -> None:
    assert await client.execute("ECHO", "word") == b"word"
    assert (await client.execute("INFO", "cluster"))["cluster_enabled"] == 1
    assert await client.run(Script("return 1"), []) == 1


async def test_a_stream_is_read_where_it_is(client: RedisClient, name: str) -> None:
    for number in range(6):
        stream = f"{name}:{number}"
        await client.execute("XADD", stream, "1-0", "field", "value")
        (found,) = await client.execute("XREAD", "COUNT", 1, "STREAMS", stream, 0)
        assert found[0] == stream.encode()


async def test_more_calls_than_connections_wait_for_their_turn(
    cluster: ValkeyCluster, make_client: MakeClient, name: str
) -> None:
    client = make_client(cluster.url, pool=2)
    counts = await asyncio.gather(*(client.execute("INCR", name) for _ in range(100)))
    assert sorted(counts) == list(range(1, 101))


async def test_a_script_that_one_node_has_forgotten_is_sent_again(
    cluster: ValkeyCluster, client: RedisClient, name: str
) -> None:
    keys = [await key_of(client, master, name) for master in cluster.masters]
    for master in cluster.masters:
        for key in keys:
            assert await client.run(PAIR, [key], ["x"]) == [key.encode(), b"x"]
        await master.ask("SCRIPT FLUSH")
        replies = await client.run_each(PAIR, [([key], ["y"]) for key in keys])
        assert replies == [[key.encode(), b"y"] for key in keys]


async def test_a_script_is_run_for_keys_of_many_slots_and_the_replies_are_in_order(
    client: RedisClient, name: str
) -> None:
    calls = [([f"{name}:{number}"], [str(number)]) for number in range(200)]
    expected = [[keys[0].encode(), args[0].encode()] for keys, args in calls]
    assert await client.run_each(PAIR, calls) == expected


async def test_a_link_hears_what_is_published_in_its_shard(
    cluster: ValkeyCluster, client: RedisClient, stack: AsyncExitStack, name: str
) -> None:
    for master in cluster.masters:
        channel = await key_of(client, master, name)
        link = await client.link(await client.shard(channel))
        stack.push_async_callback(link.disconnect)
        await link.send_command("SSUBSCRIBE", channel)
        assert await link.read_response() == [b"ssubscribe", channel.encode(), 1]
        assert await client.execute("SPUBLISH", channel, "news") == 1
        assert await link.read_response() == [b"smessage", channel.encode(), b"news"]


async def test_a_slot_that_has_moved_is_found(
    cluster: ValkeyCluster, client: RedisClient, name: str
) -> None:
    await client.execute("SET", name, "kept")
    slot = client.slot(name)
    target = await other_master(cluster, slot)
    await cluster.move_slot(slot, target)
    assert await client.execute("GET", name) == b"kept"
    assert await client.run(PAIR, [name], ["x"]) == [name.encode(), b"x"]
    assert await client.shard(name) == target.address


async def other_master(cluster: ValkeyCluster, slot: int) -> Valkey:
    owner = await cluster.owner(slot)
    return next(master for master in cluster.masters if master is not owner)


async def test_a_slot_can_be_used_while_it_moves(
    cluster: ValkeyCluster, client: RedisClient, name: str
) -> None:
    stays, goes, comes = (f"{{{name}}}:{word}" for word in ("stays", "goes", "comes"))
    slot = client.slot(stays)
    for key in (stays, goes):
        await client.execute("SET", key, key)
    target = await other_master(cluster, slot)
    source = await cluster.owner(slot)
    # Several connections to each, so that what must be on one is not by chance.
    keys = [await key_of(client, master, f"{name}:warm") for master in (source, target)]
    await asyncio.gather(*(client.execute("GET", key) for key in keys * 8))

    await target.ask("CLUSTER SETSLOT", slot, "IMPORTING", await source.ask("CLUSTER MYID"))
    await source.ask("CLUSTER SETSLOT", slot, "MIGRATING", await target.ask("CLUSTER MYID"))
    assert target.port is not None
    await source.ask("MIGRATE", HOST, target.port, goes, 0, 5000)
    for _ in range(10):
        assert await client.execute("GET", stays) == stays.encode()
        assert await client.execute("GET", goes) == goes.encode()
        assert await client.execute("SET", comes, "new")
        assert await client.run(PAIR, [goes], ["x"]) == [goes.encode(), b"x"]
        assert await client.run_each(PAIR, [([goes], ["x"]), ([comes], ["y"])]) == [
            [goes.encode(), b"x"],
            [comes.encode(), b"y"],
        ]
    with pytest.raises(Error) as caught:
        await client.execute("MGET", stays, goes)
    assert caught.value.code == "unavailable"

    await cluster.move_slot(slot, target)
    assert await client.execute("MGET", stays, goes, comes) == [
        stays.encode(),
        goes.encode(),
        b"new",
    ]


async def test_one_node_that_answers_is_enough_to_begin_with(
    cluster: ValkeyCluster, make_client: MakeClient, name: str
) -> None:
    client = make_client(f"redis+cluster://{HOST}:1,{HOST}:2,{cluster.masters[1].address}")
    for master in cluster.masters:
        assert await is_served(client, await key_of(client, master, name))
    assert await client.ping()


async def test_without_a_node_that_answers_all_is_unavailable(
    make_client: MakeClient, name: str
) -> None:
    client = make_client(f"redis+cluster://{HOST}:1,{HOST}:2")
    assert not await is_served(client, name)
    assert not await client.ping()
    with pytest.raises(Error):
        await client.shard(name)


async def test_a_server_without_a_cluster_is_none(make_client: MakeClient, name: str) -> None:
    async with single_valkey(tcp=True) as valkey:
        client = make_client(f"redis+cluster://{valkey.address}")
        assert not await is_served(client, name)


async def test_the_password_is_for_every_node(make_client: MakeClient, name: str) -> None:
    async with valkey_cluster(requirepass="right", masterauth="right") as cluster:
        client = make_client(cluster.url, password="right")
        for master in cluster.masters:
            assert await is_served(client, await key_of(client, master, name))
        link = await client.link(cluster.masters[2].address)
        await link.send_command("PING")
        assert await link.read_response() == b"PONG"
        await link.disconnect()
        url = cluster.url.replace("://", "://:right@")
        assert await is_served(make_client(url), name)
        assert not await is_served(make_client(cluster.url, password="wrong"), name)


async def test_when_a_master_is_killed_its_replica_takes_over_and_the_others_go_on(
    make_client: MakeClient, stack: AsyncExitStack, name: str
) -> None:
    async with valkey_cluster(replicas=1, cluster_require_full_coverage="no") as cluster:
        client = make_client(cluster.url)
        lost, kept = cluster.masters[0], cluster.masters[1]
        keys = {master: await key_of(client, master, name) for master in (lost, kept)}
        for key in keys.values():
            assert await is_served(client, key)
        link = await client.link(lost.address)
        stack.push_async_callback(link.disconnect)
        await link.send_command("SSUBSCRIBE", keys[lost])
        assert await link.read_response()

        await lost.kill()
        with pytest.raises(Error):
            async with client.bounded():
                await link.read_response()
        assert not await is_served(client, keys[lost])
        assert not await client.ping()

        async def has_healed() -> bool:
            assert await is_served(client, keys[kept])
            return await is_served(client, keys[lost])

        await wait_until(has_healed, FAILOVER)
        (successor,) = cluster.replicas_of(lost)
        await client.refresh_topology()
        assert await client.shard(keys[lost]) == successor.address
        link = await client.link(successor.address)
        stack.push_async_callback(link.disconnect)
        await link.send_command("SSUBSCRIBE", keys[lost])
        assert await link.read_response() == [b"ssubscribe", keys[lost].encode(), 1]
        await wait_until(client.ping, FAILOVER)


async def test_when_a_master_hangs_its_replica_takes_over(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_cluster(replicas=1) as cluster:
        client = make_client(cluster.url, timeout=0.5)
        hung = cluster.masters[2]
        key = await key_of(client, hung, name)
        assert await is_served(client, key)
        with hung.paused():
            assert not await is_served(client, key)
            await wait_until(lambda: is_served(client, key), FAILOVER)
        # It wakes, and learns that it is a replica by now.
        await cluster.settled()
        assert await is_served(client, key)


async def test_a_cluster_that_was_gone_whole_heals_by_itself(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_cluster() as cluster:
        client = make_client(cluster.url)
        assert await is_served(client, name)
        await asyncio.gather(*(node.kill() for node in cluster.nodes))
        assert not await is_served(client, name)
        await asyncio.gather(*(node.start() for node in cluster.nodes))
        await wait_until(lambda: is_served(client, name), FAILOVER)
        await wait_until(client.ping, FAILOVER)


async def test_a_slot_that_nobody_serves_is_unavailable_until_somebody_does(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_cluster(cluster_require_full_coverage="no") as cluster:
        client = make_client(cluster.url)
        slot = client.slot(name)
        owner = await cluster.owner(slot)
        for node in cluster.nodes:
            await node.ask("CLUSTER DELSLOTS", slot)
        for key in (name, name):
            assert not await is_served(client, key)
        other = next(master for master in cluster.masters if master is not owner)
        key = await key_of(client, other, name)
        write = Script("return redis.call('SET', KEYS[1], '')")
        with pytest.raises(Error):
            await client.run_each(write, [([name], []), ([key], [])])
        assert await client.execute("EXISTS", key) == 1
        await owner.ask("CLUSTER ADDSLOTS", slot)
        await wait_until(lambda: is_served(client, name), FAILOVER)


@asynccontextmanager
async def false_node(answer: Callable[[bytes, int], bytes | None]) -> AsyncIterator[int]:
    """A server that says it is the whole Cluster; yields its port.

    Args:
        answer: The reply to a command by its name, and the port; None hangs up.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await read_command(reader):
            if words == [b"CLUSTER", b"SLOTS"]:
                writer.write(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:%d\r\n" % port)
            elif words[0] == b"CLIENT":  # what it says of itself when it connects
                writer.write(b"+OK\r\n")
            elif (reply := answer(words[0], port)) is not None:
                writer.write(reply)
            else:
                break
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        yield port


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """The words of a command, none of which has a line end; nothing at the end."""
    words = []
    for _ in range(int((await reader.readline())[1:] or 0)):
        await reader.readline()  # its length
        words.append((await reader.readline()).strip())
    return words


async def test_a_command_whose_reply_is_lost_is_not_sent_again(
    make_client: MakeClient, stack: AsyncExitStack
) -> None:
    received = []

    def hang_up(command: bytes, port: int) -> None:
        received.append(command)

    port = await stack.enter_async_context(false_node(hang_up))
    client = make_client(f"redis+cluster://{HOST}:{port}")
    with pytest.raises(Error) as caught:
        await client.execute("INCR", "key")
    assert caught.value.code == "unavailable"
    assert received == [b"INCR"]


async def test_nodes_that_send_a_call_in_circles_do_not_do_so_for_ever(
    make_client: MakeClient, stack: AsyncExitStack
) -> None:
    received = []

    def send_elsewhere(command: bytes, port: int) -> bytes:
        received.append(command)
        return b"-MOVED 1 %s:%d\r\n" % (HOST.encode(), port)

    port = await stack.enter_async_context(false_node(send_elsewhere))
    client = make_client(f"redis+cluster://{HOST}:{port}")
    with pytest.raises(Error) as caught:
        await client.execute("INCR", "key")
    assert caught.value.code == "unavailable"
    assert 1 < len(received) < 10
