"""Topics on a real Cluster, and with Sentinels: the same promises, and those about a failover."""

import secrets
from typing import Any

from tests.support.topics import Member, Message, nodes, offsets, serve_topics
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.valkey_sentinel import valkey_sentinel
from tests.support.waiting import wait_until

#: Topics enough to be spread over all masters, whatever their slots.
TOPICS = [f"room:{number}" for number in range(24)]
#: Seconds that a failover may take on a busy machine.
FAILOVER = 40.0


def on(url: str) -> dict[str, Any]:
    """A configuration with short waits, so that a failover is noticed soon."""
    return {
        "redis": {
            "url": url,
            "prefix": f"test-{secrets.token_hex(6)}",
            "probe": "300ms",
            "timeout": "500ms",
        },
        "limits": {"topics": 1000, "publishes_per_second": 10_000},
    }


async def publish_until_acknowledged(member: Member, topic: str, number: int) -> Message:
    """Publish with a key, again and again until it is told where the event stands."""
    standing: Message = {}

    async def is_published() -> bool:
        answer = await member.request(
            "topic.publish", topic=topic, payload={"number": number}, key=f"{topic} {number}"
        )
        if answer["type"] == "error":
            assert answer["error"]["code"] == "unavailable", answer
            return False
        standing.update(answer["payload"])
        return True

    await wait_until(is_published, FAILOVER)
    return standing


async def take(member: Member, topic: str, number: int) -> list[Message]:
    """What a member is told of a topic, up to the event with a number."""
    told: list[Message] = []
    while True:
        message = await member.next()
        if message.get("topic") == topic or message.get("error", {}).get("topic") == topic:
            told.append(message)
        if told and told[-1].get("payload", {}).get("number") == number:
            return told


async def test_topics_of_all_masters_reach_members_on_all_nodes(cluster: ValkeyCluster) -> None:
    async with (
        nodes(on(cluster.url)) as (first, second),
        Member(first, "alice") as alice,
        Member(second, "bob") as bob,
    ):
        assert len({await first.node.redis.shard(topic) for topic in TOPICS}) == len(
            cluster.masters
        )
        for topic in TOPICS:
            await bob.subscribe(topic)
        for number in range(3):
            for topic in TOPICS:
                assert (await alice.publish(topic, {"number": number}))["offset"] == number + 1
        await bob.reply("session.ping")
        events: dict[str, list[Message]] = {topic: [] for topic in TOPICS}
        while sum(map(len, events.values())) < 3 * len(TOPICS):
            message = await bob.next()
            if message["type"] == "event":
                events[message["topic"]].append(message)
        assert all(offsets(each) == [1, 2, 3] for each in events.values())
        for topic in TOPICS:
            assert (await alice.reply("topic.presence", topic=topic))["count"] == 1
        assert first.node.topics.bus.healthy


async def test_what_was_missed_is_recovered_from_any_node_of_the_system(
    cluster: ValkeyCluster,
) -> None:
    async with nodes(on(cluster.url)) as (first, second), Member(first, "alice") as alice:
        start = {topic: await alice.publish(topic, {"number": 0}) for topic in TOPICS}
        for topic in TOPICS:
            await alice.publish(topic, {"number": 1})
        async with Member(second, "bob") as bob:
            for topic in TOPICS:
                reply = await bob.subscribe(topic, start[topic])
                assert reply["recovered"]
                assert offsets(reply["events"]) == [2]


async def test_a_slot_that_moves_takes_its_topics_along(cluster: ValkeyCluster) -> None:
    async with (
        serve_topics(config=on(cluster.url)) as server,
        Member(server, "alice") as alice,
    ):
        topic = "room:on-the-move"
        await alice.subscribe(topic)
        await alice.publish(topic, {"number": 0})
        slot = server.node.redis.slot(server.node.topics._keys.topic(topic).channel)
        owner = await cluster.owner(slot)
        target = next(node for node in cluster.masters if node is not owner)
        await cluster.move_slot(slot, target)
        try:
            await publish_until_acknowledged(alice, topic, 1)
            told = await take(alice, topic, 1)
        finally:
            await cluster.move_slot(slot, owner)
        # It is another server by now: whether it has everything can't be known, so it is told.
        kinds = [message["type"] for message in told if message["type"] != "presence"]
        assert kinds == ["event", "error", "event"]
        assert told[-1]["offset"] == 2


async def test_when_a_master_of_the_cluster_is_killed_its_topics_go_on_with_its_replica() -> None:
    async with (
        valkey_cluster(masters=3, replicas=1) as cluster,
        nodes(on(cluster.url)) as (first, second),
        Member(first, "alice") as alice,
        Member(second, "bob") as bob,
    ):
        for topic in TOPICS:
            await bob.subscribe(topic)
            await alice.publish(topic, {"number": 0})
        lost = cluster.masters[0]
        await lost.kill()
        for number in (1, 2):
            for topic in TOPICS:
                await publish_until_acknowledged(alice, topic, number)
        await wait_until(lambda: first.node.topics.bus.healthy, FAILOVER)
        await wait_until(lambda: second.node.topics.bus.healthy, FAILOVER)
        last: dict[str, int] = {}
        epochs_told = 0
        while set(last.values()) != {2} or len(last) < len(TOPICS):
            message = await bob.next()
            if message["type"] == "event" and message["topic"] in TOPICS:
                number = message["payload"]["number"]
                assert number == last.get(message["topic"], -1) + 1, message
                last[message["topic"]] = number
            elif message["type"] == "error":
                assert message["error"]["code"] == "unrecoverable"
                epochs_told += 1
        assert 0 < epochs_told < len(TOPICS)  # the topics of one master, and no others


async def test_when_the_master_is_killed_topics_go_on_with_the_one_that_sentinels_name() -> None:
    async with (
        valkey_sentinel() as servers,
        serve_topics(config=on(servers.url)) as server,
        Member(server, "alice") as alice,
    ):
        topic = "room:watched"
        await alice.subscribe(topic)
        before = await alice.publish(topic, {"number": 0})
        await take(alice, topic, 0)
        await servers.master.ask("WAIT", 1, 5000)
        await servers.master.kill()
        after = await publish_until_acknowledged(alice, topic, 1)
        assert after["epoch"] != before["epoch"]
        assert after["offset"] == before["offset"] + 1
        told = [each for each in await take(alice, topic, 1) if each["type"] != "presence"]
        assert [each["type"] for each in told] == ["error", "event"]
        assert told[0]["error"]["code"] == "unrecoverable"
        assert told[0]["error"]["epoch"] == after["epoch"]
        history = await alice.reply("topic.history", topic=topic)
        assert [event["payload"]["number"] for event in history["events"]] == [0, 1]
        recovered = await alice.subscribe(topic, before)
        assert recovered["recovered"] is False
        await servers.failed_over()
