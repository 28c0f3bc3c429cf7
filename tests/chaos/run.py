"""One run: faults at random while clients follow and publish; then it heals, and is judged."""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from tests.chaos.faults import FAULTS, Spell, go_wrong, restart_redis
from tests.chaos.system import System, running
from tests.chaos.verdict import endless_keys, knows_who_is_there
from tests.support.followers import Follower, Publisher, faults
from tests.support.waiting import wait_until

_TOPIC: Final = "room:chaos"
#: Seconds between a publication's acknowledgement and the next, of each publisher.
_PAUSE: Final = 0.1
#: Seconds until a client that hears nothing from its node goes to another.
_HEARTBEAT: Final = 2.0
#: Seconds that everything has, once nothing goes wrong any more, to be as if nothing had been: some
#: TTLs and heartbeats, on a busy machine.
_HEALING: Final = 30.0
#: How much of what is wrong is told: one fault may be seen by every client, in every event.
_MOST: Final = 20


@dataclass(frozen=True)
class Plan:
    """What a run is to be.

    Attributes:
        seconds: How long things go wrong.
        seed: What chance begins with: the same faults come in the same order.
        clients: How many follow.
        publishers: How many publish.
        nodes: How many nodes there are.
        restarts: Whether Redis is killed and restarted, with its data: then, and only then, may
            followers be told that they lack something.
    """

    seconds: float
    seed: int
    clients: int = 100
    publishers: int = 4
    nodes: int = 2
    restarts: bool = False


@dataclass(frozen=True)
class Report:
    """How a run went.

    Attributes:
        published: How many publications were acknowledged.
        delivered: How many events followers got.
        subscriptions: How often followers subscribed, at first and again.
        gaps: How often followers were told that they lack something.
        refusals: By which code publications were refused, to be tried again.
        closed: By which code connections ended; None for a line that was lost.
        wrong: What must not be, in words; nothing if all is well.
    """

    published: int
    delivered: int
    subscriptions: int
    gaps: int
    refusals: Counter[str]
    closed: Counter[int | None]
    wrong: list[str]


class Chaos:
    """A run.

    Args:
        plan: What it is to be.
        tell: Called with what happens, in words.
    """

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._followers: list[Follower] = []
        self._publishers: list[Publisher] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._wrong: list[str] = []

    async def run(self) -> Report:
        """Run it to its end."""
        with tempfile.TemporaryDirectory(prefix="jackfield-chaos-") as data:
            async with running(self._plan.nodes, Path(data)) as system:
                async with asyncio.TaskGroup() as group:
                    try:
                        await self._run(system, group)
                    finally:
                        for task in self._tasks:
                            task.cancel()
            for place in system.places:
                self._wrong += [f"{words}, {n} times" for words, n in place.exceptions.items()]
        return self.report()

    def report(self) -> Report:
        """How it has gone so far."""
        clients = [*self._followers, *self._publishers]
        refusals = (each.refusals.elements() for each in self._publishers)
        omitted = len(self._wrong) - _MOST
        return Report(
            published=sum(len(each.acknowledged) for each in self._publishers),
            delivered=sum(len(each.events) for each in self._followers),
            subscriptions=sum(each.subscriptions for each in self._followers),
            gaps=sum(len(each.gaps) for each in self._followers),
            refusals=Counter(chain.from_iterable(refusals)),
            closed=Counter(chain.from_iterable(each.closed for each in clients)),
            wrong=self._wrong[:_MOST] + [f"and {omitted} more"] * (omitted > 0),
        )

    async def _run(self, system: System, group: asyncio.TaskGroup) -> None:
        for _ in range(self._plan.clients):
            follower = Follower(system.address, _TOPIC, _HEARTBEAT)
            self._followers.append(follower)
            self._tasks.append(group.create_task(follower.run()))
        await self._expect(
            "every client subscribes", lambda: all(each.subscriptions for each in self._followers)
        )
        publishers = [
            self._publish(system, group, f"p{number}") for number in range(self._plan.publishers)
        ]
        await self._go_wrong(system)
        self._tell("nothing goes wrong any more")
        for publisher in publishers:
            publisher.finish()
        await self._expect(
            "every publication is acknowledged",
            lambda: all(publisher.has_finished for publisher in publishers),
        )
        last = self._publish(system, group, "last")
        last.finish()
        await self._expect("the last publication is acknowledged", lambda: last.has_finished)
        if last.acknowledged:
            end = last.acknowledged[0].offset
            await self._expect(
                f"every client comes to the end, {end}", lambda: self._have_come_to(end)
            )
        await self._examine(system)

    def _publish(self, system: System, group: asyncio.TaskGroup, name: str) -> Publisher:
        publisher = Publisher(system.address, _TOPIC, name, pause=_PAUSE, heartbeat=_HEARTBEAT)
        self._publishers.append(publisher)
        self._tasks.append(group.create_task(publisher.run()))
        return publisher

    async def _go_wrong(self, system: System) -> None:
        async with asyncio.TaskGroup() as kinds:
            for kind, some in FAULTS.items():
                every = [*some, restart_redis] if kind == "redis" and self._plan.restarts else some
                spell = Spell(system, random.Random(f"{self._plan.seed} {kind}"), self._tell)
                kinds.create_task(go_wrong(spell, every, self._plan.seconds))

    async def _examine(self, system: System) -> None:
        self._wrong += faults(self._followers, self._publishers)
        self._wrong += [
            f"follower {which} was told of a gap though Redis has lost nothing: {gap}"
            for which, follower in enumerate(self._followers)
            for gap in follower.gaps
            if not self._plan.restarts or gap.after.epoch == gap.upto.epoch
        ]
        for place in system.places:
            await self._expect(f"{place.name} is ready", place.node.is_ready)
            await self._expect(
                f"{place.name} knows who is there",
                partial(knows_who_is_there, place.node, self._followers, _TOPIC),
            )
        self._wrong += [f"{key} has no TTL" for key in await endless_keys(system.valkey)]

    def _have_come_to(self, offset: int) -> bool:
        return all(
            each.position is not None and each.position.offset == offset for each in self._followers
        )

    async def _expect(
        self, words: str, condition: Callable[[], Awaitable[object] | object]
    ) -> None:
        try:
            await wait_until(condition, _HEALING)
        except TimeoutError:
            self._wrong.append(f"it does not come to be within {_HEALING:g} s that {words}")
