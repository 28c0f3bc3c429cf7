"""`Connection`: one client, its identity, its running requests, what it is sent, how it closes."""

import asyncio
import random
from typing import Any, Final, Protocol, TypeVar

from aiohttp import web

from jackfield.config import LimitSettings
from jackfield.telemetry.incidents import error_of
from jackfield.wire import frames
from jackfield.wire.close_codes import CLOSE_REASONS, CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from jackfield.wire.protocol import Codec, MessageId
from jackfield.wire.rates import Allowance, TokenBucket, cost_of

from .new_connection import NewConnection
from .outbox import Outbox
from .running import RunningRequest
from .slot import Slot

T = TypeVar("T")

#: Seconds a client has to answer a close frame before the socket is cut. A live one answers in
#: one round trip; RFC 6455 leaves the time open.
CLOSE_TIMEOUT: Final = 2.0
#: Seconds over which clients that are closed at once are asked to spread their return.
RECONNECT_SPREAD: Final = 5.0


class SocketReader(Protocol):
    """What reads a connection's socket, as far as others have to know it; see `Receiver`."""

    @property
    def is_reading(self) -> bool:
        """Whether the socket is being read; not while a full queue waits to be handled."""

    def keep_reading(self, request: RunningRequest) -> None:
        """Read on beside a slow request, if this is the one that reading waits for."""


class Connection:
    """A client's connection, from its upgrade on.

    Args:
        record: Its id, address and fields, as they stand in Redis.
        identity: Whose it is.
        codec: The encoding that the client chose.
        request: The HTTP request that was upgraded.
        transport: The socket's transport.
        outbox: Writes to the socket.
        reader: Reads from the socket.
        limits: How much it may send and be sent.
    """

    __slots__ = (
        "_abort_timer",
        "_features",
        "_goodbye_sent",
        "_limits",
        "_refusals",
        "alive",
        "allowance",
        "closing",
        "codec",
        "connected_at",
        "control_frames",
        "fields",
        "id",
        "identity",
        "loop",
        "outbox",
        "reader",
        "remote",
        "request",
        "requests",
        "transport",
    )

    def __init__(
        self,
        record: NewConnection,
        *,
        identity: Identity,
        codec: Codec,
        request: web.Request,
        transport: asyncio.Transport,
        outbox: Outbox,
        reader: SocketReader,
        limits: LimitSettings,
    ) -> None:
        self.id = record.id
        self.remote = record.remote
        self.connected_at = record.connected_at
        #: The fields that plugins keep with it, encoded; plugins see them as `ctx.state`.
        self.fields = record.fields
        self.identity = identity
        self.codec = codec
        self.request = request
        self.transport = transport
        self.outbox = outbox
        self.reader = reader
        #: Kept, as asking asyncio for it costs a system call.
        self.loop = outbox.loop
        #: Whether anything has come from the client since the last heartbeat.
        self.alive = True
        #: The close code that this side has sent or decided on; None while it is open.
        self.closing: CloseCode | None = None
        #: The messages and control frames that it may still send.
        self.allowance = Allowance(limits.requests_per_second, limits.requests_per_second)
        #: Control frames that it has sent.
        self.control_frames = 0
        self.requests: dict[object, RunningRequest] = {}
        self._limits = limits
        self._features: dict[Slot[Any], Any] = {}
        self._goodbye_sent = False
        self._refusals: TokenBucket | None = None
        self._abort_timer: asyncio.TimerHandle | None = None

    def __getitem__(self, slot: Slot[T]) -> T:
        """Return what a feature keeps of this connection, made when first asked for; see `Slot`."""
        try:
            kept: T = self._features[slot]
        except KeyError:
            kept = self._features[slot] = slot.make()
        return kept

    @property
    def user(self) -> str | None:
        """The user's id; None if anonymous."""
        return self.identity.user

    def identify(self, identity: Identity) -> None:
        """Set whose it is: after its first message, or by a refreshed token."""
        self.identity = identity

    def send(self, data: bytes) -> None:
        """Queue an encoded message."""
        self.outbox.send(frames.frame(self.codec.opcode, data))

    def refuse(self, message_id: MessageId | None, error: Error) -> None:
        """Answer a message with an error."""
        try:
            data = self.codec.error(message_id, error)
        except Exception as exc:  # noqa: BLE001 - a plugin's keys may fail to encode in any way
            fault = error_of(exc, connection=self.id, code=error.code)
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
        if len(data) > self._limits.reply_bytes:
            raise Error("too_large", "A chunk is larger than the server sends.")
        self.send(data)

    @property
    def activity(self) -> tuple[float, float]:
        """A value that changes with every message of the client's, and with nothing else."""
        return self.allowance.left + self.control_frames, self.allowance.filled_at

    def charge(self, size: int) -> float:
        """Count a message by its bytes, beyond the one that it is counted as already.

        Args:
            size: Bytes.

        Returns:
            0.0 if it is within the rate limit; else the seconds until it would be.
        """
        return self.allowance.take_more(self.loop.time(), cost_of(size) - 1)

    def count_refusal(self, size: int) -> bool:
        """Count a message past the rate limit.

        Args:
            size: Bytes.

        Returns:
            True if it is flooding: as many were refused, and as fast, as may be sent at all.
        """
        if self._refusals is None:
            rate = self._limits.requests_per_second
            self._refusals = TokenBucket(rate, rate)
        return self._refusals.take(self.loop.time(), cost_of(size)) > 0

    def cancel(self, message_id: MessageId) -> bool:
        """Cancel a request on the client's behalf; return False if none of that id is running."""
        request = self.requests.get(message_id)
        return request is not None and request.stop(Error("cancelled"))

    def pause(self, message_id: MessageId, *, wait: bool) -> bool:
        """Have a stream wait for its client, or go on.

        Returns:
            False if no stream of that id is running.
        """
        request = self.requests.get(message_id)
        if request is None or not request.options.streams:
            return False
        if wait:
            request.pause()
        else:
            request.resume()
        return True

    def stop_requests(self, reason: Error, *, streams_only: bool = False) -> None:
        """Stop all requests that are running.

        Args:
            reason: The error that the client gets for each.
            streams_only: Stop only streams; other requests end by themselves.
        """
        for request in list(self.requests.values()):
            if request.options.streams or not streams_only:
                request.stop(reason)

    def close(
        self, code: CloseCode, reason: str | None = None, *, after: float | None = None
    ) -> None:
        """Begin the close handshake (RFC 6455, section 7); no effect if it has begun.

        Args:
            code: The close code. One of the protocol's own is preceded by a ``goodbye`` message.
            reason: The close reason, if not the code's own.
            after: Seconds until the client may come back; None for a moment, drawn at random.
        """
        if self.closing is not None:
            return
        self.closing = code
        if reason is None:
            reason = CLOSE_REASONS[code]
        if code >= CloseCode.SHUTDOWN:  # the first of the protocol's own codes
            self.send_goodbye(code, reason, after)
        self.outbox.send(frames.close(code, reason))
        self._end_writing()

    def send_goodbye(self, code: CloseCode, reason: str, after: float | None = None) -> None:
        """Send the ``goodbye`` message, which announces a close; no effect if it was sent."""
        if self._goodbye_sent:
            return
        self._goodbye_sent = True
        if after is None:
            after = random.uniform(0, RECONNECT_SPREAD)  # noqa: S311 - jitter, not a secret
        self.send(self.codec.goodbye(code, reason, reconnect=code.reconnect, after=after))

    def answer_close(self, code: int) -> None:
        """Echo the close frame of a client that closes first (RFC 6455, section 5.5.1).

        A code that must not be sent is a violation of the protocol, and not echoed.

        Args:
            code: The client's code; 0 if its frame had none.
        """
        if code and not frames.may_close_with(code):
            self.close(CloseCode.PROTOCOL_ERROR)
        elif self.closing is None:
            self.closing = CloseCode.OK
            self.outbox.send(frames.close(code) if code else frames.close_without_code())
            self._end_writing()

    def abort(self, code: CloseCode) -> None:
        """Cut the connection without a close frame: the client would not read one."""
        if self.closing is None:
            self.closing = code
        self.outbox.discard()
        self.transport.abort()

    def _end_writing(self) -> None:
        self.outbox.seal()
        self._abort_timer = self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def release(self) -> None:
        """Cancel what is scheduled, once the socket is closed.

        While bytes are unsent the timer stays, to cut the socket: a client that has sent its close
        frame and reads no more would hold them for ever.
        """
        self.outbox.discard()
        if self._abort_timer is not None and not self.outbox.unsent:
            self._abort_timer.cancel()
