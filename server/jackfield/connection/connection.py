"""One client: who it is, what it has running, what it is told, and why it closed."""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from jackfield.wire import frames
from jackfield.wire.close_codes import CLOSE_REASONS, CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from jackfield.wire.protocol import Codec, MessageId
from jackfield.wire.rates import Allowance, Rate, TokenBucket

from .outbox import Outbox

if TYPE_CHECKING:
    from jackfield.agents.instance import Instance
    from jackfield.auth.expiry import Deadline
    from jackfield.dispatch.route import Route
    from jackfield.node import Node
    from jackfield.session.receiver import Receiver
    from jackfield.topics.audience import Audience
    from jackfield.topics.join import Join

    from .request import Request

#: Seconds a client has to answer a close frame before the socket is cut. A live one answers in
#: one round trip; RFC 6455 leaves the time open.
CLOSE_TIMEOUT: Final = 2.0
#: Seconds over which clients that are closed at once are asked to spread their return.
RECONNECT_SPREAD: Final = 5.0


#: Shared by connections that have sent nothing to a handler with a rate: most of them.
_NONE: Final[dict["Route", Allowance]] = {}


class Connection:
    """A client's connection, from the moment it is let in.

    Args:
        connection_id: Unique among all nodes.
        node: The process it belongs to.
        identity: Whose it is.
        remote: The client's address.
        codec: The encoding it chose.
    """

    __slots__ = (
        "_abort_timer",
        "_goodbye_said",
        "_refusals",
        "_state_lock",
        "alive",
        "allowance",
        "closing",
        "codec",
        "connected_at",
        "control_frames",
        "deadline",
        "early_joins",
        "fields",
        "given_topics",
        "handler_allowances",
        "has_left",
        "id",
        "identity",
        "instance",
        "node",
        "outbox",
        "publish_bucket",
        "publish_lock",
        "receiver",
        "remote",
        "request",
        "requests",
        "suggestions_left",
        "topics",
        "transport",
    )

    outbox: Outbox
    receiver: "Receiver"
    #: The request for the WebSocket.
    request: web.Request
    transport: asyncio.Transport

    def __init__(
        self, connection_id: str, node: "Node", identity: Identity, remote: str, codec: Codec
    ) -> None:
        self.id = connection_id
        self.node = node
        self.identity = identity
        self.remote = remote
        self.codec = codec
        #: Seconds since the epoch.
        self.connected_at = time.time()
        #: What is to be done when its identity runs out; None if it doesn't.
        self.deadline: Deadline | None = None
        #: Whether anything has come from the client since the last heartbeat.
        self.alive = True
        #: The code it was closed with from this side; None while it is open.
        self.closing: CloseCode | None = None
        #: What it may still send, in messages and control frames.
        rate = node.settings.limits.requests_per_second
        self.allowance = Allowance(rate, rate)
        #: How many of those were control frames.
        self.control_frames = 0
        #: What it may still send to handlers that have a rate; each made for its first message.
        self.handler_allowances: dict[Route, Allowance] = _NONE
        self.requests: dict[object, Request] = {}
        #: The fields that plugins keep in its state, encoded; `ctx.state` is their view of it.
        self.fields: dict[str, bytes] = {}
        #: How many more unknown types are answered with near names: each costs a search.
        self.suggestions_left = 10
        #: The topics it is in, and whether it is past joining any.
        self.topics: list[Audience] = []
        self.has_left = False
        #: How many of them it did not ask for.
        self.given_topics = 0
        #: Which instance of which agent it is, if it is one.
        self.instance: Instance | None = None
        #: What hooks have it join before it is welcomed; None once it is.
        self.early_joins: list[Join] | None = []
        #: What it publishes: one at a time, and so many a second; made for the first.
        self.publish_lock: asyncio.Lock | None = None
        self.publish_bucket: TokenBucket | None = None
        self._goodbye_said = False
        self._refusals: TokenBucket | None = None
        self._state_lock: asyncio.Lock | None = None
        self._abort_timer: asyncio.TimerHandle | None = None

    @property
    def user(self) -> str | None:
        """The user's id; None if anonymous."""
        return self.identity.user

    def send(self, data: bytes) -> None:
        """Queue an encoded message."""
        self.outbox.send(frames.frame(self.codec.opcode, data))

    def refuse(self, message_id: MessageId | None, error: Error) -> None:
        """Answer a message with an error."""
        try:
            data = self.codec.error(message_id, error)
        except Exception as exc:  # noqa: BLE001 - a plugin's keys may fail to encode in any way
            fault = self.node.dispatcher.report(exc, connection=self.id, code=error.code)
            data = self.codec.error(message_id, fault)
        self.send(data)

    def send_chunk(
        self, message_id: MessageId, seq: int, payload: Any, state: str | None = None
    ) -> None:
        """Queue one part of a streamed answer.

        Raises:
            Error: ``too_large``: it is past ``limits.reply_bytes``.
        """
        data = self.codec.chunk(message_id, seq, payload, state)
        if len(data) > self.node.settings.limits.reply_bytes:
            raise Error("too_large", "A chunk is larger than the server sends.")
        self.send(data)

    def read_on(self, request: "Request") -> None:
        """A request is slow: if reading waits for it, have the socket read meanwhile."""
        self.receiver.read_on(request)

    @property
    def activity(self) -> tuple[float, float]:
        """What changes with every message of the client's, and with nothing else."""
        return self.allowance.left + self.control_frames, self.allowance.filled_at

    def is_flooding(self) -> bool:
        """Note that it has sent more than it may; whether it does so without end."""
        if self._refusals is None:
            rate = self.node.settings.limits.requests_per_second
            self._refusals = TokenBucket(rate, rate)
        return self._refusals.take(self.node.watch.loop.time()) > 0

    def wait_for(self, route: "Route", rate: Rate) -> float:
        """Take a message of what it may send to a handler.

        Returns:
            0.0 if there was one; else the seconds until there is.
        """
        allowance = self.handler_allowances.get(route)
        if allowance is None:
            if self.handler_allowances is _NONE:
                self.handler_allowances = {}
            allowance = self.handler_allowances[route] = rate.allowance()
        allowance.left -= 1
        return 0.0 if allowance.left >= 0 else allowance.refill(self.node.watch.loop.time())

    def cancel(self, message_id: MessageId) -> bool:
        """Stop a request on its client's behalf; False if there is none of that id."""
        request = self.requests.get(message_id)
        return request is not None and request.stop(Error("cancelled"))

    def stop_requests(self, reason: Error, *, streams_only: bool = False) -> None:
        """Stop what is running.

        Args:
            reason: What the client is told.
            streams_only: Leave requests alone that end by themselves.
        """
        for request in list(self.requests.values()):
            if request.route.streams or not streams_only:
                request.stop(reason)

    def describe(self, message_type: str | None) -> dict[str, Any]:
        """What it may use; `Context.describe` is the public side of this."""
        return self.node.registry.describe(self.identity.scopes, message_type)

    async def write_fields(self, changes: Mapping[str, bytes | None]) -> None:
        """Write plugin fields to Redis, then here; None removes one.

        Raises:
            Error: ``unavailable``: Redis is away, and nothing has changed here.
        """
        if self._state_lock is None:
            self._state_lock = asyncio.Lock()
        # Two writes of one field, from two handlers, must reach Redis in the order they are seen
        # here; calls on different pool connections would not.
        async with self._state_lock:
            await self.node.store.set_fields(self, changes)
            for name, value in changes.items():
                if value is None:
                    self.fields.pop(name, None)
                else:
                    self.fields[name] = value

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        """Say goodbye and begin the close handshake (RFC 6455, section 7); once only.

        Args:
            code: Why. A code of the protocol's own is preceded by a ``goodbye``.
            reason: Other words than the code's own.
        """
        if self.closing is not None:
            return
        self.closing = code
        if reason is None:
            reason = CLOSE_REASONS[code]
        if code >= CloseCode.SHUTDOWN:  # the codes of the protocol's own
            self.say_goodbye(code, reason)
        self.outbox.send(frames.close(code, reason))
        self._end_writing()

    def say_goodbye(self, code: CloseCode, reason: str) -> None:
        """Announce a close, which may come only once what is running has ended; once only."""
        if self._goodbye_said:
            return
        self._goodbye_said = True
        after = random.uniform(0, RECONNECT_SPREAD)  # noqa: S311 - jitter, not a secret
        self.send(self.codec.goodbye(code, reason, reconnect=code.reconnect, after=after))

    def answer_close(self, code: int) -> None:
        """Echo the close frame of a client that closes first (RFC 6455, section 5.5.1).

        Args:
            code: The client's code; 0 if its frame had none.
        """
        if self.closing is None:
            self.closing = CloseCode.OK
            self.outbox.send(frames.close(code) if code else frames.close_without_code())
            self._end_writing()

    def abort(self, code: CloseCode) -> None:
        """Cut the connection without a word: the client would not read one."""
        if self.closing is None:
            self.closing = code
        self.outbox.discard()
        self.transport.abort()

    def _end_writing(self) -> None:
        self.outbox.seal()
        self._abort_timer = self.node.watch.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def gone(self) -> None:
        """The socket is closed: leave nothing scheduled, unless it still has bytes to send.

        A client that has sent its close frame and reads no more would keep these for ever.
        """
        self.outbox.discard()
        if self._abort_timer is not None and not self.outbox.unsent:
            self._abort_timer.cancel()
