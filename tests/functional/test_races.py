"""Members that come, go and come back while others publish: all get every event once, in order."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from jackfield.testing import RunningServer
from tests.support.topics import Member, Message, nodes, offsets, own_redis, position
from tests.support.waiting import wait_until

Config = Mapping[str, Any]

#: Of all racers together.
ROUNDS = 1000
RACERS = 10
#: How many events the publisher may be ahead: what one that comes back can recover.
AHEAD = 2000


class Racer:
    """One that joins a topic again and again, and notes the number of every event that it gets.

    Args:
        servers: Where it may connect.
        topic: What it joins.
        choose: Makes its choices.
    """

    def __init__(self, servers: Sequence[RunningServer], topic: str, choose: random.Random) -> None:
        self.got: list[int] = []
        #: Up to where it knows the topic, and from where on it has followed it.
        self.position: Message | None = None
        self.start = 0
        self.is_done = False
        self._servers = servers
        self._topic = topic
        self._choose = choose
        self._subprotocol = choose.choice(["jackfield.v1", "jackfield.v1.msgpack"])

    def knows(self, offset: int) -> bool:
        """Whether it needs nothing before this any more."""
        return self.is_done or (self.position is not None and self.position["offset"] >= offset)

    async def run(self, rounds: int) -> None:
        """Join so many times, over a number of connections."""
        while rounds:
            server = self._choose.choice(self._servers)
            async with Member(server, subprotocol=self._subprotocol) as member:
                for _ in range(self._choose.randint(1, 6)):
                    if rounds:
                        rounds -= 1
                        await self.join(member)
                        await self._follow(member)
        async with Member(self._choose.choice(self._servers)) as member:
            await self.join(member)
        self.is_done = True

    async def join(self, member: Member) -> None:
        """Join, or join again, and take what was missed."""
        reply = await member.subscribe(self._topic, since=self.position)
        member.inbox.clear()  # from before it joined again: it is in the reply
        if self.position is None:
            self.start = reply["offset"]
        else:
            assert reply["recovered"]
            self._take(reply["events"])
        assert not self.got or self.got[-1] == reply["offset"]
        self.position = position(reply)

    async def _follow(self, member: Member) -> None:
        if self._choose.random() < 0.5:
            self._take([await member.next() for _ in range(self._choose.randint(1, 3))])
        if self._choose.random() < 0.5:
            await member.reply("topic.unsubscribe", topic=self._topic)
            self._take(member.inbox)
            member.inbox = []

    def _take(self, events: list[Message]) -> None:
        assert self.position is not None
        self.got += offsets(events)
        if events:
            self.position["offset"] = events[-1]["offset"]


async def keep_publishing(
    server: RunningServer, topic: str, racers: Sequence[Racer], choose: random.Random
) -> None:
    """Publish events, several at a time, and not more than the history holds for the slowest."""
    runtime = server.node.runtimes["topics"]
    while True:
        burst = range(choose.randint(1, 4))
        sent = await asyncio.gather(*(runtime.publish(topic, {}) for _ in burst))
        recoverable = sent[-1].offset - AHEAD
        await wait_until(lambda: all(racer.knows(recoverable) for racer in racers))  # noqa: B023


async def race(servers: Sequence[RunningServer], seed: int, rounds: int) -> None:
    """Let racers join a topic at all servers, to which the first of these publishes."""
    choose, topic = random.Random(seed), f"feed:{seed}"
    racers = [Racer(servers, topic, random.Random(choose.random())) for _ in range(RACERS)]
    async with asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(keep_publishing(servers[0], topic, racers, choose))
        async with asyncio.TaskGroup() as racing:
            for racer in racers:
                racing.create_task(racer.run(rounds // RACERS))
        publishing.cancel()
    for racer in racers:
        assert racer.position is not None
        assert racer.got == list(range(racer.start + 1, racer.position["offset"] + 1))


async def test_whoever_joins_again_and_again_misses_nothing_and_gets_nothing_twice(
    config: Config,
) -> None:
    async with nodes(config) as servers:
        await race(servers, seed=random.randrange(10**6), rounds=ROUNDS)
        await wait_until(lambda: not any(each.node.topics.audiences for each in servers))
        assert any(each.node.topics.published for each in servers)


async def test_not_even_where_the_links_to_pub_sub_are_killed_all_the_while() -> None:
    async with own_redis() as (config, redis), nodes(config) as servers:
        killing = asyncio.create_task(keep_killing(redis, servers))
        try:
            await race(servers, seed=random.randrange(10**6), rounds=ROUNDS // 5)
        finally:
            killing.cancel()
            await asyncio.wait([killing])
        assert killing.cancelled()


async def keep_killing(redis: Redis, servers: Sequence[RunningServer]) -> None:
    """Kill all links whenever all are up."""
    while True:
        await wait_until(lambda: all(each.node.topics.bus.healthy for each in servers))
        await redis.client_kill_filter(_type="pubsub")
        await wait_until(lambda: not all(each.node.topics.bus.healthy for each in servers))
