"""Topics for tests: a plugin with one of each kind, clients with names, several nodes."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self
from urllib.parse import quote, unquote

from marshmallow import Schema, fields
from redis.asyncio import Redis

from jackfield import AnyPayload, Context, Plugin
from jackfield.auth import Credentials
from jackfield.redis.embedded import embedded_valkey
from jackfield.testing import RunningServer, run_server
from jackfield.wire.identity import Identity
from tests.support.waiting import assert_every_key_expires
from tests.support.wire import Wire

Config = Mapping[str, Any]
Message = dict[str, Any]

topics = Plugin("topics")

room = topics.topic("room:{name}", AnyPayload, history=100, ttl="1h", presence=True, publish=True)
#: Open to everyone, without presence, and with more history than fits into a reply.
feed = topics.topic("feed:{name}", AnyPayload, history=5000, ttl="1h", publish=True)
#: What it keeps is soon gone.
brief = topics.topic("brief:{name}", AnyPayload, history=3, ttl="1h", publish=True)
#: What is published is not kept at all.
fleeting = topics.topic("fleeting:{name}", AnyPayload, history=0, ttl="1h", publish=True)
#: Only the server publishes.
news = topics.topic("news:{name*}", AnyPayload, history=100, ttl="1h")
#: For those alone that have a scope.
staff = topics.topic(
    "staff:{name}", AnyPayload, history=10, ttl="1h", presence=True, publish=True, scopes=["staff"]
)
#: For nobody: the plugin says no.
closed = topics.topic(
    "closed:{name}", AnyPayload, history=10, ttl="1h", presence=True, publish=True
)


class Line(Schema):
    text = fields.String(required=True)


#: What a client publishes is signed, and members have looks.
signed = topics.topic("signed:{name}", Line, history=10, ttl="1h", presence=True, publish=True)


@closed.authorize
async def nobody(ctx: Context, name: str) -> bool:
    return False


@signed.prepare
async def sign(ctx: Context, data: dict[str, Any], name: str) -> dict[str, Any]:
    return {"text": f"{ctx.user} in {name}: {data['text']}"}


@signed.info
async def looks(ctx: Context, name: str) -> dict[str, Any]:
    return {"name": str(ctx.user).title(), "room": name}


class ByHeader:
    """Takes clients for whoever they say that they are."""

    async def authenticate(self, credentials: Credentials) -> Identity:
        headers = credentials.request.headers
        user = headers.get("X-User")
        scopes = headers.get("X-Scopes", "").split()
        return Identity(None if user is None else unquote(user), frozenset(scopes))


def as_user(user: str | None, *scopes: str) -> dict[str, str]:
    """The headers by which a client is somebody."""
    headers = {"X-Scopes": " ".join(scopes)}
    return headers if user is None else {**headers, "X-User": quote(user, safe="")}


class Member(Wire):
    """A raw client of some user, which keeps what comes beside the answers.

    Args:
        server: Whom to connect to.
        user: Who it is; None for nobody.
        *scopes: What it may.
        **options: As of `Wire`.
    """

    def __init__(
        self, server: RunningServer, user: str | None = None, *scopes: str, **options: Any
    ) -> None:
        # Without bound: a queue that is full would keep the end of the connection from being read.
        options.setdefault("max_queue", None)
        super().__init__(server, additional_headers=as_user(user, *scopes), **options)
        self.welcome: Message = {}
        #: What came and was not asked for yet, in its order.
        self.inbox: list[Message] = []
        self._last_id = 0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.welcome = (await self.receive())["payload"]
        return self

    async def request(self, message_type: str, **payload: Any) -> Message:
        """Send a request; its answer, whatever comes before it."""
        return await self.answer(await self.post(message_type, **payload))

    async def post(self, message_type: str, **payload: Any) -> int:
        """Send a request; its id."""
        self._last_id += 1
        await self.send({"type": message_type, "id": self._last_id, "payload": payload})
        return self._last_id

    async def answer(self, message_id: int) -> Message:
        """The next answer to a request; what comes before it is kept."""
        for place, message in enumerate(self.inbox):
            if message.get("id") == message_id and message["type"] != "event":
                return self.inbox.pop(place)
        while True:
            message = await self.receive()
            if message.get("id") == message_id:
                return dict(message)
            self.inbox.append(message)

    async def reply(self, message_type: str, **payload: Any) -> Message:
        """The payload of the reply to a request."""
        answer = await self.request(message_type, **payload)
        assert answer["type"] == "reply", answer
        return dict(answer["payload"])

    async def error(self, message_type: str, **payload: Any) -> Message:
        """The error that a request is answered with."""
        answer = await self.request(message_type, **payload)
        assert answer["type"] == "error", answer
        return dict(answer["error"])

    async def subscribe(self, topic: str, since: Message | None = None) -> Message:
        """Join a topic; the payload of the reply."""
        more = {} if since is None else {"since": position(since)}
        return await self.reply("topic.subscribe", topic=topic, **more)

    async def publish(self, topic: str, payload: Any = None, key: str | None = None) -> Message:
        """Publish to a topic; the payload of the reply."""
        more = {} if key is None else {"key": key}
        return await self.reply("topic.publish", topic=topic, payload=payload or {}, **more)

    async def next(self) -> Message:
        """The next message that answers nothing."""
        return self.inbox.pop(0) if self.inbox else await self.receive()

    async def events(self, topic: str, count: int) -> list[Message]:
        """The next events of a topic; nothing else may come meanwhile."""
        events = [await self.next() for _ in range(count)]
        assert {(event["type"], event["topic"]) for event in events} <= {("event", topic)}, events
        return events

    async def hears_nothing_more(self) -> bool:
        """Whether nothing comes, up to an event that is published now."""
        topic = f"feed:{secrets.token_hex(8)}"
        await self.subscribe(topic)
        await self.publish(topic)
        # A node is sent what is published in the order of its publication, whatever the topic.
        while not self.inbox or self.inbox[-1].get("topic") != topic:
            self.inbox.append(await self.receive())
        self.inbox.pop()
        await self.reply("topic.unsubscribe", topic=topic)
        return not self.inbox


class Ear:
    """What a node hears over its channels, and may be kept from hearing.

    Args:
        server: The node; nobody may have connected to it yet.
    """

    def __init__(self, server: RunningServer) -> None:
        self.is_deaf = False
        #: The topics of all that it heard.
        self.heard: list[str] = []
        bus = server.node.topics.bus
        self._pass_on, bus.on_message = bus.on_message, self._hear

    def _hear(self, channel: bytes, data: bytes) -> None:
        topic = channel.decode().partition("{t:")[2].removesuffix("}")
        self.heard.append(unquote(topic))
        if not self.is_deaf:
            self._pass_on(channel, data)


def position(message: Message) -> Message:
    """The position in a reply."""
    return {"epoch": message["epoch"], "offset": message["offset"]}


def offsets(events: list[Message]) -> list[int]:
    """The numbers of some events."""
    return [event["offset"] for event in events]


@asynccontextmanager
async def serve_topics(*plugins: Plugin, config: Config) -> AsyncIterator[RunningServer]:
    """A server with the topics above, whose clients say who they are."""
    async with run_server(topics, *plugins, config=config, authenticators=[ByHeader()]) as server:
        yield server
        await assert_every_key_expires(server.node.redis, f"{server.node.settings.redis.prefix}:*")


@asynccontextmanager
async def nodes(config: Config, count: int = 2) -> AsyncIterator[list[RunningServer]]:
    """Several servers on one Redis."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serve_topics(config=config)) for _ in range(count)]


@asynccontextmanager
async def own_redis(**sections: Mapping[str, Any]) -> AsyncIterator[tuple[dict[str, Any], Redis]]:
    """A configuration with a Valkey of the test's own, which it may do bad things to."""
    async with embedded_valkey() as url, Redis.from_url(url, protocol=2) as redis:
        about_redis = {"url": url, "prefix": f"test-{secrets.token_hex(6)}"}
        about_redis |= sections.pop("redis", {})
        yield {"redis": about_redis, **sections}, redis
