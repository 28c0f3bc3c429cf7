"""A client that holds all it is sent against the model, message by message in their order."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.model.topic import Payload, Topic
from tests.model.world import Node
from tests.support.wire import PATIENCE

Message = dict[str, Any]
#: What is done with a reply, in the place among the messages where it came.
Then = Callable[[Payload], None]

#: Seconds until a request that was refused for now is made again.
_PAUSE: Final = 0.05


class Client:
    """One client: a connection at a time, and what it knows of topics from all of them.

    Args:
        topics: The topics there are, by name.
    """

    def __init__(self, topics: Mapping[str, Topic]) -> None:
        self._topics = topics
        self._socket: ClientConnection | None = None
        self._last_id = 0
        #: What came and is not digested: messages, and what to do with a reply.
        self._inbox: list[Message | Callable[[], None]] = []
        self._answers: dict[int, Message] = {}
        self._thens: dict[int, Then | None] = {}
        #: The node that it is connected to.
        self.node: Node | None = None
        #: The id of its connection.
        self.connection = ""
        #: The topics it is in.
        self.joined: set[str] = set()
        #: Up to where it knows each topic, whether or not it is in it now.
        self.positions: dict[str, int] = {}
        #: Who is in a topic, by what it was told.
        self.views: dict[str, set[str]] = {}
        #: How many events it was told it lacks.
        self.lacking = 0

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection."""
        return self._socket is not None

    async def connect(self, node: Node) -> None:
        """Connect to a node."""
        self.node = node
        self._socket = await connect(
            node.process.url,
            subprotocols=[Subprotocol("jackfield.v1")],
            compression=None,
            ping_interval=None,
            max_size=None,
            max_queue=None,
        )
        welcome = await self._receive()
        assert welcome["type"] == "welcome", welcome
        self.connection = welcome["payload"]["connection"]

    async def disconnect(self, *, politely: bool) -> None:
        """Close the connection, or break it; what has come by then is digested."""
        assert self._socket is not None
        await self.take_what_is_there()
        if politely:
            await self._socket.close()
        await self._lose()

    async def lose(self) -> None:
        """Read to the end of a connection whose node has died."""
        while True:
            try:
                self._sort(await self._receive())
            except ConnectionClosed:
                break
        self.digest()
        await self._lose()

    async def _lose(self) -> None:
        assert self._socket is not None
        self._socket.transport.abort()
        await self._socket.wait_closed()
        self._socket = None
        self.node = None
        self._inbox.clear()
        self.joined.clear()
        self.views.clear()

    async def post(self, type_: str, payload: Payload, then: Then | None = None) -> int:
        """Send a request; its id."""
        assert self._socket is not None
        self._last_id += 1
        self._thens[self._last_id] = then
        request = {"type": type_, "id": self._last_id, "payload": payload}
        await self._socket.send(msgspec.json.encode(request), text=True)
        return self._last_id

    async def answer(self, id_: int) -> Message:
        """The answer to a request; nothing that comes is digested."""
        while id_ not in self._answers:
            self._sort(await self._receive())
        return self._answers.pop(id_)

    async def ask(self, type_: str, payload: Payload, then: Then | None = None) -> Payload:
        """Make a request, again and again while it is refused for now; the reply's payload."""
        while True:
            answer = await self.answer(await self.post(type_, payload, then))
            if answer["type"] == "reply":
                return dict(answer["payload"])
            assert answer["error"]["retryable"], answer
            await asyncio.sleep(_PAUSE)

    async def subscribe(self, topic: Topic, since: int | None = None) -> None:
        """Join a topic; digest what came of it."""
        await self.ask(*self.subscription(topic, since))

    def subscription(self, topic: Topic, since: int | None) -> tuple[str, Payload, Then]:
        """The request that joins a topic, and what its reply does."""
        payload: Payload = {"topic": topic.name}
        if since is not None:
            payload["since"] = {"epoch": topic.epoch or "none", "offset": since}
        return "topic.subscribe", payload, lambda reply: self._subscribed(topic, since, reply)

    async def look_around(self, topic: Topic) -> None:
        """Ask who is in a topic, to know it from now on by what comes."""
        if topic.has_presence:
            await self.ask(
                "topic.presence", {"topic": topic.name}, lambda reply: self._looked(topic, reply)
            )

    async def unsubscribe(self, topic: Topic) -> None:
        """Leave a topic."""
        await self.ask("topic.unsubscribe", {"topic": topic.name}, lambda _: self._left(topic))

    async def until(self, condition: Callable[[], bool], words: str) -> None:
        """Take what comes until something is true."""
        self.digest()
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._sort(await self._receive())
                    self.digest()
        except TimeoutError:
            raise AssertionError(f"it does not come to be that {words}; {self}") from None

    async def take_what_is_there(self) -> None:
        """Digest what has come, and wait for nothing."""
        try:
            while True:
                async with asyncio.timeout(0):
                    self._sort(await self._receive())
        except TimeoutError:
            self.digest()

    def digest(self) -> None:
        """Hold what has come against the model."""
        inbox, self._inbox = self._inbox, []
        for item in inbox:
            if callable(item):
                item()
            else:
                self._take(item)

    def __repr__(self) -> str:
        return f"<client {self.connection} in {self.joined} at {self.positions}, {self.views}>"

    async def _receive(self) -> Message:
        assert self._socket is not None
        message: Message = msgspec.json.decode(await self._socket.recv())
        return message

    def _sort(self, message: Message) -> None:
        id_ = message.get("id")
        if id_ is None or message["type"] == "event":
            self._inbox.append(message)
            return
        self._answers[id_] = message
        then = self._thens.pop(id_)
        if then is not None and message["type"] == "reply":
            payload = dict(message["payload"])
            self._inbox.append(lambda: then(payload))

    def _subscribed(self, topic: Topic, since: int | None, reply: Payload) -> None:
        topic.saw(reply["epoch"])
        now = reply["offset"]
        assert now <= topic.head, f"{topic.name} is at {topic.head} and not at {now}"
        self.joined.add(topic.name)
        if since is None:
            assert "recovered" not in reply, reply
        elif reply["recovered"]:
            self.positions[topic.name] = since
            for event in reply["events"]:
                self._take(event)
            assert self.positions[topic.name] == now, f"recovered up to {self}, and not {now}"
        else:
            missed = topic.head - since
            assert missed > topic.history, f"{missed} events of {topic.name} are kept, not told"
            self.lacking += now - since
        self.positions[topic.name] = now

    def _left(self, topic: Topic) -> None:
        self.joined.discard(topic.name)
        self.views.pop(topic.name, None)

    def _looked(self, topic: Topic, reply: Payload) -> None:
        assert reply["count"] == len(reply["members"]), reply
        self.views[topic.name] = {member["connection"] for member in reply["members"]}

    def _take(self, message: Message) -> None:
        match message:
            case {"type": "event", "topic": name, "offset": offset, "payload": payload}:
                assert name in self.joined, f"{message} came to one who is not in {name}"
                due = self.positions[name] + 1
                assert offset == due, f"event {offset} of {name} came where {due} was due"
                assert payload == self._topics[name].event(offset), message
                self.positions[name] = offset
            case {"type": "presence", "topic": name} if name in self.joined:
                view = self.views.setdefault(name, set())
                if "joined" in message:
                    view.add(message["joined"]["connection"])
                elif "left" in message:
                    view.discard(message["left"]["connection"])
                else:
                    view.clear()
                    view.update(member["connection"] for member in message["members"])
            case {"type": "error", "error": {"code": "unrecoverable", "topic": name} as error}:
                self._lacks(self._topics[name], error)
            case _:
                raise AssertionError(f"nobody asked for {message}")

    def _lacks(self, topic: Topic, error: Payload) -> None:
        topic.saw(error["epoch"])
        last, now = self.positions[topic.name], error["offset"]
        assert self.node is not None
        assert self.node.is_disturbed, f"a gap of {topic.name} up to {now}, and nothing was lost"
        assert last < now <= topic.head - topic.history, f"{topic.name} has all up to {now}"
        self.lacking += now - last
        self.positions[topic.name] = now
