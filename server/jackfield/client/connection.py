"""A connection as the user of the Python client has it, and how to come by one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout

from jackfield.wire.close_codes import CloseCode
from jackfield.wire.position import Position

from .errors import ConnectionClosed, ConnectionFailed, RequestError, StreamBroken
from .link import Link
from .socket import Message, Socket, encode, refusal, shake_hands
from .subscription import History, Presence, Subscription, read_events, read_position, read_presence

#: Bytes on the wire that wait for one reader; a server queues as many for a whole connection.
BUFFER_BYTES: Final = 2**20


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 10.0,  # noqa: ASYNC109 - it bounds the opening, not the body
    subprotocol: str = "jackfield.v1",
    buffer_bytes: int = BUFFER_BYTES,
) -> AsyncIterator["Client"]:
    """Connect to a server for the time of an `async with`, which gives a `Client`.

    Args:
        url: The address of the socket, `ws://` or `wss://`.
        token: What proves who this is, sent as `Authorization: Bearer`.
        headers: Further headers of the handshake.
        timeout: Seconds until the server must have welcomed this client, None for no limit.
        subprotocol: The version of the protocol to ask for; this client reads and writes JSON.
        buffer_bytes: Bytes of messages that may wait for the reader of the events, and as many
            again for the reader of each stream and subscription. What does not fit is dropped, and
            that is told, or made good from a topic's history.

    Raises:
        ConnectionFailed: The server was not reached, or refused.
        ConnectionClosed: The server closed the connection without a welcome.
    """
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    # The timeout below covers the whole of the opening, so the session needs none.
    async with ClientSession(timeout=ClientTimeout(), middlewares=[refusal]) as session:
        try:
            async with asyncio.timeout(timeout):
                socket, welcome = await shake_hands(session, url, sent, subprotocol)
        except TimeoutError as error:
            raise ConnectionFailed(
                None,
                f"The server did not welcome this client within {timeout:g} s."
                + ("" if token else " It may be waiting for a token, and was given none."),
            ) from error
        client = Client(socket, welcome, buffer_bytes)
        try:
            yield client
        finally:
            await client.close()


class Client:
    """A connection that the server has welcomed; `connect` makes it.

    Attributes:
        welcome: The payload of the server's welcome: `connection`, `user`, `limits` and more.
    """

    def __init__(self, socket: Socket, welcome: Message, buffer_bytes: int) -> None:
        self.welcome = welcome
        self._link = Link(socket, welcome.get("topics", ()), buffer_bytes)

    @property
    def connection(self) -> str:
        """The id that the server knows this connection by."""
        return str(self.welcome["connection"])

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended, None while it lives."""
        return self._link.closed

    async def request(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - running out of it is told to the server
    ) -> Message:
        """Send a message and wait for its reply; chunks on the way to it are skipped.

        To be cancelled here, or to run out of time, cancels the request at the server too.

        Args:
            message_type: A registered message type.
            payload: What it carries, anything that msgspec writes as JSON.
            timeout: Seconds to wait, None for as long as it takes.

        Returns:
            The payload of the reply.

        Raises:
            RequestError: The server answered with an error.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimeoutError: The reply did not come in time.
        """
        return await self._link.request(message_type, payload, timeout)

    async def stream(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - running out of it is told to the server
    ) -> AsyncGenerator[Message, None]:
        """Send a message and iterate over the payloads of the chunks that answer it.

        Nothing is sent before the first step, and the final reply only ends the iteration. To
        leave early cancels the request at the server; `contextlib.aclosing` has that happen at
        once, and not when Python comes to it.

        Args:
            message_type: A registered message type.
            payload: What it carries, anything that msgspec writes as JSON.
            timeout: Seconds to wait for each next chunk, None for as long as it takes.

        Raises:
            RequestError: The server answered with an error, perhaps after some chunks.
            StreamBroken: Chunks were read too slowly (see `buffer_bytes`), or one is missing.
            ConnectionClosed: The connection has ended, perhaps before the stream.
            TimeoutError: The next chunk did not come in time.
        """
        answers = self.answers(message_type, payload, timeout=timeout)
        async with aclosing(answers):
            async for message in answers:
                if message["type"] == "chunk":
                    yield message["payload"]

    async def answers(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - running out of it is told to the server
    ) -> AsyncGenerator[Message, None]:
        """Send a message and iterate over all that answers it: chunks, if any, then the reply.

        As `stream`, for whoever can't tell beforehand how a type answers. Each is whole, as it
        stands on the wire.

        Args:
            message_type: A registered message type.
            payload: What it carries, anything that msgspec writes as JSON.
            timeout: Seconds to wait for each next answer, None for as long as it takes.

        Raises:
            RequestError: The server answered with an error, perhaps after some chunks.
            StreamBroken: Chunks were read too slowly (see `buffer_bytes`), or one is missing.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimeoutError: The next answer did not come in time.
        """
        async with self._link.exchange(message_type, payload) as inbox:
            for due in count():
                async with asyncio.timeout(timeout):
                    message = await inbox.get()
                if message["type"] != "chunk":
                    break
                if message["seq"] != due:
                    raise StreamBroken(f"Chunk {message['seq']} came where {due} was due.")
                yield message
        if message["type"] == "error":
            raise RequestError(message["error"])
        yield message

    async def send(self, message_type: str, payload: Mapping[str, Any] | None = None) -> None:
        """Send a message that wants no reply; an error it causes comes among the events.

        Raises:
            ConnectionClosed: The connection has ended.
        """
        await self._link.send(encode({"type": message_type, "payload": payload or {}}))

    async def events(self) -> AsyncGenerator[Message, None]:
        """Iterate over the messages that answer nothing, each whole as it stands on the wire.

        Those are events and presence of topics that this client has not subscribed to with
        `subscribe`, and errors whose `id` is null. They wait for their reader up to
        `buffer_bytes`. The iteration ends when this client closes the connection.

        Raises:
            EventsLost: Events were read too slowly; this is where some are missing.
            ConnectionClosed: The server closed the connection, or the line was lost.
        """
        while True:
            try:
                message = await self._link.events.get()
            except ConnectionClosed:
                if self._link.leaving:
                    return
                raise
            yield message

    def subscribe(
        self, topic: str, *, since: Position | None = None, timeout: float | None = None
    ) -> Subscription:
        """Subscribe to a topic for the time of an `async with`, which gives a `Subscription`.

        To leave it unsubscribes. A topic that the server has subscribed this connection to by
        itself (`topics` in the welcome) stays: its events come among the `events` again. A topic
        can be subscribed to once at a time; for several readers, make several connections.

        Args:
            topic: Its name.
            since: Where an earlier subscription, or an event, stood: what came after it comes
                first. None for what comes from now on.
            timeout: Seconds to wait for each answer of the server, None for as long as it takes.

        Raises:
            ValueError: This client is subscribed to the topic already.
            RequestError: The server refused; at a later step, it did not let this client catch up.
            ConnectionClosed: The connection has ended.
            TimeoutError: The server did not answer in time.
        """
        return Subscription(self._link, topic, since, timeout)

    async def publish(
        self, topic: str, payload: Mapping[str, Any], key: str | None = None
    ) -> Position:
        """Publish an event to a topic that lets clients do so.

        Args:
            topic: Its name.
            payload: What the event carries, or what the plugin makes one of.
            key: Makes it idempotent: of several with the same key, only the first is published.
                So one whose reply did not come can be sent again.

        Returns:
            Where the event stands, or the first of its key.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended, perhaps before the reply.
        """
        asked = _given(topic=topic, payload=payload, key=key)
        return read_position(await self.request("topic.publish", asked))

    async def history(
        self,
        topic: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> History:
        """Read what a topic keeps of its events, without subscribing.

        Args:
            topic: Its name.
            after: The offset that the events come after; None for the newest events.
            before: The offset that they come before, None for no such bound.
            limit: How many events at the most, None for as many as the server gives.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended, perhaps before the reply.
        """
        asked = _given(topic=topic, after=after, before=before, limit=limit)
        reply = await self.request("topic.history", asked)
        return History(read_position(reply), read_events(reply))

    async def presence(self, topic: str) -> Presence:
        """Who is in a topic: its `members`, and their `count`.

        Args:
            topic: Its name.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended, perhaps before the reply.
        """
        return read_presence(await self.request("topic.presence", {"topic": topic}))

    async def wait_closed(self) -> ConnectionClosed:
        """Wait for the end of the connection, and return how it ended."""
        return await self._link.wait_closed()

    async def close(self, code: int = CloseCode.OK) -> None:
        """Close the connection; what still waits for an answer raises `ConnectionClosed`.

        Args:
            code: What the server is told: 1000, or 3000 to 4999 for reasons of one's own.
        """
        await self._link.close(code)


def _given(**options: Any) -> Message:
    return {name: value for name, value in options.items() if value is not None}
