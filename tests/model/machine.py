"""Topics on two nodes, driven step by step at random and held against a model of them."""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.model.client import Client
from tests.model.topic import Payload, Topic
from tests.model.world import Node, World
from tests.support.waiting import wait_until

_CLIENTS: Final = 4

#: How often events are published while somebody joins: about as long as a line is late. Where a
#: join waits for a dead link to be found it waits for much longer.
_AMID: Final = 15

which_client: Final = st.integers(0, _CLIENTS - 1)
which_node: Final = st.integers(0, 1)
which_topic: Final = st.sampled_from(["room", "brief"])
#: More than the brief family keeps, at times.
some: Final = st.integers(1, 6)


class Topics(RuleBasedStateMachine):
    """Members join, leave, lose their line and come back; links break; nodes stand still.

    Each member must get exactly what was published, once and in order, or be told of a gap that is
    one; and everybody must come to know who is there.

    Args:
        world: Where it happens.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._do(world.revive())
        name = secrets.token_hex(6)
        self._topics = {family: Topic(f"{family}:{name}") for family in ("room", "brief")}
        by_name = {topic.name: topic for topic in self._topics.values()}
        self._clients = [Client(by_name) for _ in range(_CLIENTS)]
        #: Who publishes at each node, and is in no topic.
        self._voices = [Client(by_name) for _ in world.nodes]
        self._published = 0

    # Members

    @initialize(topic=which_topic)
    def somebody_is_there(self, topic: str) -> None:
        """Each node has a member from the beginning."""
        for client, node in zip(self._clients, self._world.nodes, strict=False):
            self._do(self._join(client, node, topic, since=False, amid=False))

    @rule(
        client=which_client,
        node=which_node,
        topic=which_topic,
        since=st.booleans(),
        amid=st.booleans(),
    )
    def join(self, client: int, node: int, topic: str, *, since: bool, amid: bool) -> None:
        """Somebody joins, at first or again, from where they were or from now; even amid events."""
        joining = self._clients[client]
        self._do(self._join(joining, self._up(node), topic, since=since, amid=amid))

    @rule(
        client=which_client,
        node=which_node,
        topic=which_topic,
        count=some,
        amid=st.booleans(),
        late=st.sampled_from([None, "link", "requests"]),
    )
    def come_back(
        self, client: int, node: int, topic: str, count: int, *, amid: bool, late: str | None
    ) -> None:
        """Somebody's line breaks, and they go on from where they were, perhaps at a late node."""
        if late is not None:
            self._up(node).lag(link=late == "link", requests=late == "requests")
        returning = self._clients[client]
        if returning.is_connected:
            self._do(returning.disconnect(politely=False))
        self._do(self._publish_some(self._all_up(), topic, count))
        self._do(self._join(returning, self._up(node), topic, since=True, amid=amid))

    async def _join(
        self, client: Client, node: Node, family: str, *, since: bool, amid: bool
    ) -> None:
        topic = self._topics[family]
        if not client.is_connected:
            await client.connect(node)
        position = client.positions.get(topic.name) if since else None
        if amid:
            async with asyncio.TaskGroup() as group:
                joining = group.create_task(client.subscribe(topic, position))
                for each in self._all_up():
                    group.create_task(self._publish_during(joining, each, family))
            topic.check()
        else:
            await client.subscribe(topic, position)
        await client.look_around(topic)
        client.digest()

    @rule(client=which_client, topic=which_topic)
    def leave(self, client: int, topic: str) -> None:
        """Somebody leaves, whether or not they were there."""
        leaving = self._clients[client]
        if leaving.is_connected:
            self._do(leaving.unsubscribe(self._topics[topic]))

    @rule(client=which_client, politely=st.booleans())
    def disconnect(self, client: int, *, politely: bool) -> None:
        """Somebody's connection ends."""
        leaving = self._clients[client]
        if leaving.is_connected:
            self._do(leaving.disconnect(politely=politely))

    # Publishers

    @rule(nodes=st.sets(which_node, min_size=1), topic=which_topic, count=some, keyed=st.booleans())
    def publish(self, nodes: set[int], topic: str, count: int, *, keyed: bool) -> None:
        """Several events are published at once, at one node or at both."""
        up = self._all_up()
        chosen = [node for node in up if self._world.nodes.index(node) in nodes] or up
        self._do(self._publish_some(chosen, topic, count, keyed=keyed))

    @rule(node=which_node, topic=which_topic, which=st.integers(0, 3))
    def publish_again(self, node: int, topic: str, which: int) -> None:
        """What was published under a key is sent once more, to whichever node."""
        keys = self._topics[topic].keys
        if which < len(keys):
            self._do(self._again(self._up(node), self._topics[topic], keys[-1 - which]))

    async def _again(self, node: Node, topic: Topic, key: str) -> None:
        voice = await self._voice(node)
        line = topic.under(key)
        request = {"topic": topic.name, "payload": line, "key": key}
        topic.published(await voice.ask("topic.publish", request), line, key)

    @rule(node=which_node, topic=which_topic)
    def lose_a_reply(self, node: int, topic: str) -> None:
        """The reply to a publication is lost on its way from Valkey, so it is sent again."""
        self._do(self._lose_a_reply(self._up(node), self._topics[topic]))

    async def _lose_a_reply(self, node: Node, topic: Topic) -> None:
        voice = await self._voice(node)
        request = self._publication(topic, keyed=True)
        happened = node.proxy.cut_after_request(f'"number":{self._published}'.encode())
        reply = await voice.ask("topic.publish", request)
        assert happened.is_set()
        topic.published(reply, request["payload"], request["key"])

    # Faults

    @rule(node=which_node, topic=which_topic, count=st.integers(0, 6))
    def cut_link(self, node: int, topic: str, count: int) -> None:
        """A node's pub/sub link breaks, and events are published meanwhile."""
        self._up(node).cut_link()
        self._do(self._publish_some(self._all_up(), topic, count))

    @rule(node=which_node, topic=which_topic, count=st.integers(0, 6))
    def strand_link(self, node: int, topic: str, count: int) -> None:
        """A node's pub/sub link dies unnoticed, and events are published meanwhile."""
        self._up(node).strand_link()
        self._do(self._publish_some(self._all_up(), topic, count))

    @rule(node=which_node, link=st.booleans(), requests=st.booleans())
    def lag(self, node: int, *, link: bool, requests: bool) -> None:
        """What Valkey sends to a node is late from now on, or in time again."""
        self._world.nodes[node].lag(link=link, requests=requests)

    @precondition(lambda self: len(self._all_up()) > 1)
    @rule(node=which_node, topic=which_topic, count=some)
    def hold_node(self, node: int, topic: str, count: int) -> None:
        """A node stands still while events are published at the other."""
        held = self._world.nodes[node]
        self._do(self._voice(self._other(held)))
        with held.process.paused():
            self._do(self._publish_some([self._other(held)], topic, count))

    # What must be

    @rule(node=which_node, topic=which_topic, after=st.integers(0, 8), limit=some)
    def read_history(self, node: int, topic: str, after: int, limit: int) -> None:
        """What is kept is what was published."""
        self._do(self._read_history(self._up(node), self._topics[topic], after, limit))

    async def _read_history(self, node: Node, topic: Topic, after: int, limit: int) -> None:
        voice = await self._voice(node)
        request = {"topic": topic.name, "after": after, "limit": limit}
        answer = await voice.answer(await voice.post("topic.history", request))
        first_kept = max(1, topic.head - topic.history + 1)
        if after + 1 < first_kept:
            assert answer["error"]["code"] == "unrecoverable", answer
            told = answer["error"]
        else:
            told = answer["payload"]
            got = [(event["offset"], event["payload"]) for event in told["events"]]
            expected = range(after + 1, min(after + limit, topic.head) + 1)
            assert got == [(offset, topic.event(offset)) for offset in expected]
        topic.saw(told["epoch"])
        assert told["offset"] == topic.head

    @rule()
    def everybody_catches_up(self) -> None:
        """Every member gets every event."""
        self._do(self._catch_up())

    async def _catch_up(self) -> None:
        for client in self._connected():
            for topic in self._topics.values():
                if topic.name in client.joined:
                    await client.until(
                        lambda client=client, topic=topic: (
                            client.positions[topic.name] == topic.head
                        ),  # type: ignore[misc]
                        f"it has all of {topic.name} up to {topic.head}",
                    )

    @rule()
    def everybody_knows_who_is_there(self) -> None:
        """Every node, and every member, comes to know who is in a topic."""
        self._do(self._know_who_is_there())

    async def _know_who_is_there(self) -> None:
        room = self._topics["room"]
        members = [client for client in self._connected() if room.name in client.joined]
        there = {client.connection for client in members}
        for node in self._all_up():
            voice = await self._voice(node)

            async def knows(voice: Client = voice) -> bool:
                reply = await voice.ask("topic.presence", {"topic": room.name})
                return {member["connection"] for member in reply["members"]} == there

            await wait_until(knows)
        for client in members:
            await client.until(
                lambda client=client: client.views[room.name] == there,  # type: ignore[misc]
                f"it knows that {there} are there",
            )

    @invariant()
    def what_has_come_is_right(self) -> None:
        """What has come so far is what was published."""
        for client in self._connected():
            self._do(client.take_what_is_there())

    def teardown(self) -> None:
        """In the end everybody has everything, and knows who is there."""
        try:
            self._do(self._catch_up())
            self._do(self._know_who_is_there())
        finally:
            for client in [*self._connected(), *self._voices]:
                if client.is_connected:
                    self._do(client.disconnect(politely=True))

    # How

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        self._world.do(work)

    def _up(self, node: int) -> Node:
        """A node, or the other one if that doesn't run."""
        chosen = self._world.nodes[node]
        return chosen if chosen.is_up else self._other(chosen)

    def _other(self, node: Node) -> Node:
        (other,) = (each for each in self._world.nodes if each is not node)
        return other

    def _all_up(self) -> list[Node]:
        return [node for node in self._world.nodes if node.is_up]

    def _connected(self) -> list[Client]:
        return [client for client in self._clients if client.is_connected]

    async def _voice(self, node: Node) -> Client:
        voice = self._voices[self._world.nodes.index(node)]
        if not voice.is_connected:
            await voice.connect(node)
        return voice

    async def _publish_some(
        self,
        nodes: Iterable[Node],
        family: str,
        count: int,
        *,
        keyed: bool = False,
        complete: bool = True,
    ) -> None:
        topic = self._topics[family]
        voices = [await self._voice(node) for node in nodes]
        async with asyncio.TaskGroup() as group:
            for voice in voices:
                requests = [self._publication(topic, keyed=keyed) for _ in range(count)]
                group.create_task(self._publish(voice, topic, requests))
        if complete:  # nobody else publishes
            topic.check()

    async def _publish_during(self, task: asyncio.Task[None], node: Node, family: str) -> None:
        for _ in range(_AMID):
            if not task.done():
                await self._publish_some([node], family, 2, complete=False)

    async def _publish(self, voice: Client, topic: Topic, requests: list[Payload]) -> None:
        ids = [await voice.post("topic.publish", request) for request in requests]
        for id_, request in zip(ids, requests, strict=True):
            answer = await voice.answer(id_)
            assert answer["type"] == "reply", answer
            topic.published(answer["payload"], request["payload"], request.get("key"))

    def _publication(self, topic: Topic, *, keyed: bool) -> Payload:
        self._published += 1
        line = {"by": "model", "number": self._published}
        request: Payload = {"topic": topic.name, "payload": line}
        if keyed:
            request["key"] = f"{topic.name} {self._published}"
        return request


class DyingNodes(Topics):
    """The same, with nodes that are killed, and started again."""

    @precondition(lambda self: len(self._all_up()) > 1)
    @rule(node=which_node)
    def kill_node(self, node: int) -> None:
        """A node dies, and its clients lose their connections."""
        doomed = self._world.nodes[node]
        self._do(self._kill(doomed))

    async def _kill(self, doomed: Node) -> None:
        lost = [each for each in [*self._clients, *self._voices] if each.node is doomed]
        await doomed.kill()
        for client in lost:
            await client.lose()

    @precondition(lambda self: len(self._all_up()) < 2)
    @rule()
    def start_node(self) -> None:
        """The node that died is started again."""
        self._do(self._world.revive())


def drive(
    machine: type[Topics],
    world: World,
    *,
    examples: int,
    steps: int = 30,
    shrink: bool = False,
    number: int | None = None,
) -> int:
    """Drive a machine through examples, each of steps at random.

    Args:
        machine: Which.
        world: Where it happens.
        examples: How many.
        steps: How many steps an example has at most.
        shrink: Whether an example that fails is made smaller, which takes as long as many more.
        number: What chance begins with; None for another each time.

    Returns:
        How many examples were played.

    Raises:
        AssertionError: The nodes did what the model does not.
    """
    played = itertools.count()

    def play() -> Topics:
        next(played)
        return machine(world)

    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    # Its types know classes only, and it calls whatever it is given.
    make: Any = play
    if number is not None:
        make = seed(number)(make)
    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=phases,
            # A busy machine is no failure, nor is a world that makes no two runs quite alike.
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return next(played)
