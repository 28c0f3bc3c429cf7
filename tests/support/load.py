"""A topic under load: followers and publishers that go on while a test breaks things under them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count

from tests.support.followers import Address, Follower, Publisher, faults
from tests.support.waiting import wait_until

#: Seconds: only a test that fails waits as long. Heartbeats and reconnects take a few.
_PATIENCE = 20.0


class Load:
    """Followers and publishers of one topic; `load` runs them.

    Args:
        followers: Who follows it.
        publishers: Who publishes.
    """

    def __init__(self, followers: Sequence[Follower], publishers: Sequence[Publisher]) -> None:
        self.followers = list(followers)
        self.publishers = list(publishers)

    async def goes_on(self, lines: int = 10) -> None:
        """Wait until everybody got on by some lines: nobody is held up."""
        goals = {each: len(each.acknowledged) + lines for each in self.publishers}
        await self._wait_until(
            lambda: all(len(each.acknowledged) >= goal for each, goal in goals.items())
        )
        last = max(each.acknowledged[-1].offset for each in self.publishers)
        await self._come_to(last)

    async def is_refused(self, times: int = 3) -> None:
        """Wait until every publisher was told so many times that it can't publish for now."""
        goals = {each: each.refusals["unavailable"] + times for each in self.publishers}
        await self._wait_until(
            lambda: all(each.refusals["unavailable"] >= goal for each, goal in goals.items())
        )

    async def ends_well(self) -> None:
        """Publish to an end, and assert that every follower has every line once and in order.

        What a follower was told to lack counts as had.
        """
        for publisher in self.publishers:
            publisher.finish()
        await self._wait_until(lambda: all(each.has_finished for each in self.publishers))
        await self._come_to(max(p.offset for each in self.publishers for p in each.acknowledged))
        assert faults(self.followers, self.publishers) == []

    async def _come_to(self, offset: int) -> None:
        await self._wait_until(
            lambda: all(
                each.position is not None and each.position.offset >= offset
                for each in self.followers
            )
        )

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        try:
            await wait_until(condition, _PATIENCE)
        except TimeoutError:
            lines = [f"follower at {each.position}: {each.faults}" for each in self.followers]
            lines += [
                f"publisher at {each.acknowledged[-1:]}, {each.refusals}: {each.faults}"
                for each in self.publishers
            ]
            raise AssertionError("it does not go on:\n" + "\n".join(lines)) from None


@asynccontextmanager
async def load(
    *addresses: str, topic: str = "room:lobby", followers: int = 6, publishers: int = 2
) -> AsyncIterator[Load]:
    """Run followers and publishers while the context lasts; all have begun when it is entered.

    Args:
        *addresses: Nodes' WebSockets, of which each client tries one after another.
        topic: Their topic.
        followers: How many follow.
        publishers: How many publish.
    """
    running = Load(
        [Follower(_taking_turns(addresses, n), topic) for n in range(followers)],
        [Publisher(_taking_turns(addresses, n), topic, f"p{n}") for n in range(publishers)],
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in running.followers]
        await wait_until(lambda: all(each.position for each in running.followers), _PATIENCE)
        tasks += [group.create_task(each.run()) for each in running.publishers]
        if publishers:
            await running.goes_on(1)
        try:
            yield running
        finally:
            for task in tasks:
                task.cancel()


def _taking_turns(addresses: Sequence[str], first: int) -> Address:
    turns = count(first)
    return lambda: addresses[next(turns) % len(addresses)]
