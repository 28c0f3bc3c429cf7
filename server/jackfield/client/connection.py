"""The connection of the Python client: `connect` opens it, `Client` is its interface."""

import asyncio
import ssl as tls
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout

from jackfield.wire.close_codes import CloseCode
from jackfield.wire.position import Position

from .errors import ConnectionClosed, ConnectionFailed, RequestError, StreamBroken
from .events import History, Presence, read_events, read_position, read_presence
from .message import Message
from .multiplexer import PAUSE, Multiplexer
from .socket import ClientSocket, open_socket, raise_refusal
from .subscription import Subscription
from .time_limit import time_limit

#: Bytes of messages that may wait for one reader; a server queues as many for a connection.
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
    request_timeout: float | None = None,
    ssl: tls.SSLContext | None = None,
) -> AsyncIterator["Client"]:
    """Connect to a server for the time of an `async with`, which gives a `Client`.

    Args:
        url: The address of the socket, `ws://` or `wss://`.
        token: The token that authenticates this client, sent as `Authorization: Bearer`.
        headers: Further headers of the handshake.
        timeout: Seconds until the server must have welcomed this client, None for no limit.
        subprotocol: The version of the protocol to ask for; this client reads and writes JSON.
        buffer_bytes: Bytes of messages that may wait for the reader of the events, and as many
            again for the reader of each stream and subscription. The server pauses a stream that
            is read slowly. Other messages that do not fit are dropped; the reader is told, or gets
            them from the topic's history.
        request_timeout: Seconds that each request waits for its answer, and each stream for its
            next chunk, if it has no timeout of its own; None for no limit.
        ssl: Decides whose certificates are trusted, and which certificate this client shows. None
            for the authorities that the system trusts, or those in the file that the environment
            variable ``SSL_CERT_FILE`` names.

    Raises:
        ConnectionFailed: The server was not reached, or refused.
        ConnectionClosed: The server closed the connection without a welcome.
    """
    all_headers = dict(headers or {})
    if token is not None:
        all_headers["Authorization"] = f"Bearer {token}"
    # The timeout below covers all of the opening, so the session needs none.
    async with ClientSession(timeout=ClientTimeout(), middlewares=[raise_refusal]) as session:
        try:
            async with asyncio.timeout(timeout):
                socket, welcome = await open_socket(session, url, all_headers, subprotocol, ssl)
        except TimeoutError as error:
            raise ConnectionFailed(
                None,
                f"The server did not welcome this client within {timeout:g} s."
                + ("" if token else " It may be waiting for a token, and was given none."),
            ) from error
        client = Client(socket, welcome, buffer_bytes, request_timeout)
        try:
            yield client
        finally:
            await client.close()


class Client:
    """A connection that the server has welcomed; `connect` makes it.

    Attributes:
        welcome: The payload of the server's welcome: `connection`, `user`, `limits` and more.
    """

    def __init__(
        self,
        socket: ClientSocket,
        welcome: Message,
        buffer_bytes: int,
        request_timeout: float | None = None,
    ) -> None:
        self.welcome = welcome
        self._timeout = request_timeout
        limits = welcome.get("limits")
        message_bytes = limits.get("message_bytes") if isinstance(limits, dict) else None
        self._multiplexer = Multiplexer(
            socket,
            welcome.get("topics") or (),
            buffer_bytes,
            message_bytes=message_bytes if isinstance(message_bytes, int) else None,
            can_pause=PAUSE in (welcome.get("features") or ()),
        )

    @property
    def connection(self) -> str:
        """The id of this connection at the server."""
        return str(self.welcome["connection"])

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended, None while it is open."""
        return self._multiplexer.closed

    async def request(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the server is told when it runs out
    ) -> Message:
        """Send a message and wait for its reply; chunks on the way to it are skipped.

        A request that is cancelled here, or runs out of time, is cancelled at the server too.

        Args:
            message_type: A registered message type.
            payload: Its payload, anything that msgspec writes as JSON.
            timeout: Seconds to wait; None for the client's `request_timeout`, `math.inf` for as
                long as it takes.

        Returns:
            The payload of the reply.

        Raises:
            RequestError: The server answered with an error.
            NotSent: It can't be sent as JSON, or is larger than the server takes.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimedOut: The reply did not come in time.
        """
        return await self._multiplexer.request(message_type, payload, self._limit(timeout))

    async def stream(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the server is told when it runs out
    ) -> AsyncGenerator[Message, None]:
        """Send a message and iterate over the payloads of the chunks that answer it.

        Nothing is sent before the first step, and the final reply only ends the iteration.
        Leaving early cancels the request at the server, at once with `contextlib.aclosing`, else
        when Python finalizes the generator.

        Args:
            message_type: A registered message type.
            payload: Its payload, anything that msgspec writes as JSON.
            timeout: Seconds to wait for each next chunk; None and infinity as of `request`.

        Raises:
            RequestError: The server answered with an error, perhaps after some chunks.
            StreamBroken: A chunk is missing.
            ConnectionClosed: The connection has ended, perhaps before the stream.
            TimedOut: The next chunk did not come in time.
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
        timeout: float | None = None,  # noqa: ASYNC109 - the server is told when it runs out
    ) -> AsyncGenerator[Message, None]:
        """Send a message and iterate over all its answers: the chunks, if any, then the reply.

        As `stream`, for a type of which it is not known whether it streams. Each answer is the
        whole message, as it stands on the wire.

        Args:
            message_type: A registered message type.
            payload: Its payload, anything that msgspec writes as JSON.
            timeout: Seconds to wait for each next answer; None and infinity as of `request`.

        Raises:
            RequestError: The server answered with an error, perhaps after some chunks.
            StreamBroken: A chunk is missing.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimedOut: The next answer did not come in time.
        """
        async with self._multiplexer.exchange(message_type, payload) as inbox:
            for due in count():
                async with time_limit(self._limit(timeout)):
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
        """Send a message without a reply; an error that it causes comes among the `events`.

        Raises:
            NotSent: It can't be sent as JSON, or is larger than the server takes.
            ConnectionClosed: The connection has ended.
        """
        await self._multiplexer.send(self._multiplexer.write(message_type, payload))

    async def events(self) -> AsyncGenerator[Message, None]:
        """Iterate over the messages that answer no request, each as it stands on the wire.

        These are the events and presence of topics that this client has not subscribed to with
        `subscribe`, and errors whose `id` is null. Up to `buffer_bytes` of them wait to be read.
        The iteration ends when this client closes the connection.

        Raises:
            EventsLost: Events were read too slowly, and some are missing here.
            ConnectionClosed: The server closed the connection, or it was lost.
        """
        while True:
            try:
                message = await self._multiplexer.events.get()
            except ConnectionClosed:
                if self._multiplexer.closed_here:
                    return
                raise
            yield message

    def subscribe(
        self, topic: str, *, since: Position | None = None, timeout: float | None = None
    ) -> Subscription:
        """Subscribe to a topic for the time of an `async with`, which gives a `Subscription`.

        Leaving it unsubscribes. A topic that the server has subscribed this connection to by
        itself (`topics` in the welcome) stays subscribed: its events come among the `events` again.
        A topic can be subscribed to once at a time; for several readers, use several connections.

        Args:
            topic: Its name.
            since: The position of an earlier subscription or event: what came after it is
                recovered first. None to get only what comes from now on.
            timeout: Seconds to wait for each answer of the server; None for the client's
                `request_timeout`.

        Raises:
            AlreadySubscribed: This client is subscribed to the topic already.
            RequestError: The server refused the subscription, or a renewal of it while iterating.
            ConnectionClosed: The connection has ended.
            TimedOut: The server did not answer in time.
        """
        return Subscription(self._multiplexer, topic, since, self._limit(timeout))

    async def publish(
        self,
        topic: str,
        payload: Mapping[str, Any],
        key: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as `request`
    ) -> Position:
        """Publish an event to a topic that allows clients to publish.

        Args:
            topic: Its name.
            payload: The payload of the event, or what the plugin makes an event of.
            key: Makes it idempotent: of several with the same key, only the first is published.
                So a publication whose reply did not come can be sent again.
            timeout: As of `request`.

        Returns:
            The position of the event, or of the first one with this key.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimedOut: The reply did not come in time.
        """
        publication = _without_none(topic=topic, payload=payload, key=key)
        reply = await self.request("topic.publish", publication, timeout=timeout)
        return read_position(reply)

    async def history(
        self,
        topic: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as `request`
    ) -> History:
        """Read events from a topic's history, without subscribing.

        Args:
            topic: Its name.
            after: Return events after this offset; None for the newest events.
            before: Return events before this offset, None for no such bound.
            limit: How many events to return at most, None for as many as the server gives.
            timeout: As of `request`.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimedOut: The reply did not come in time.
        """
        payload = _without_none(topic=topic, after=after, before=before, limit=limit)
        reply = await self.request("topic.history", payload, timeout=timeout)
        return History(read_position(reply), read_events(reply))

    async def presence(
        self,
        topic: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as `request`
    ) -> Presence:
        """Return who is in a topic: its `members`, and their `count`.

        Args:
            topic: Its name.
            timeout: As of `request`.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimedOut: The reply did not come in time.
        """
        reply = await self.request("topic.presence", {"topic": topic}, timeout=timeout)
        return read_presence(reply)

    async def agents(
        self,
        skill: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as `request`
    ) -> list[Message]:
        """Return all agents, or those that have a skill, in the order of their names.

        They come in pages: one request for each.

        Args:
            skill: The skill.
            timeout: Of each request, as of `request`.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimedOut: A reply did not come in time.
        """
        payload = {} if skill is None else {"skill": skill}
        found: list[Message] = []
        while True:
            reply = await self.request("agent.list", payload, timeout=timeout)
            found += reply["agents"]
            if "next" not in reply:
                return found
            payload = {**payload, "after": reply["next"]}

    def _limit(self, timeout: float | None) -> float | None:
        """Return the time limit of one request: its own, else the client's."""
        return self._timeout if timeout is None else timeout

    async def wait_closed(self) -> ConnectionClosed:
        """Wait for the end of the connection, and return how it ended."""
        return await self._multiplexer.wait_closed()

    async def close(self, code: int = CloseCode.OK) -> None:
        """Close the connection; requests that still wait for an answer raise `ConnectionClosed`.

        Args:
            code: The close code: 1000, or 3000 to 4999 for reasons of your own (RFC 6455, section
                7.4.2).
        """
        await self._multiplexer.close(code)


def _without_none(**options: Any) -> Message:
    return {name: value for name, value in options.items() if value is not None}
