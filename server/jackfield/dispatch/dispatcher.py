"""Handle one message: decode it, look up its type, permit, limit, validate, call, answer.

Nothing here calls Redis, takes a lock or starts a task, unless the handler does or is concurrent.
"""

import asyncio
import difflib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jackfield.authoring.context import Context
from jackfield.config import LimitSettings
from jackfield.connection.connection import Connection
from jackfield.connection.hub import Hub
from jackfield.connection.request import Request
from jackfield.connection.slot import Slot
from jackfield.schema.payload import as_payload
from jackfield.telemetry.incidents import report
from jackfield.wire.errors import CONTAINED, Error, field_fault, with_faults
from jackfield.wire.frames import BINARY, TEXT, frame
from jackfield.wire.protocol import Envelope, MalformedError, MessageId
from jackfield.wire.rates import BYTES_A_TOKEN, rounded_up

from .rate_limits import check_rate
from .route import Route
from .timeouts import SlowRequests

#: A client must be able to cancel, pause and resume a request also at its limit of requests, and
#: during a shutdown.
_ALWAYS_ACCEPTED: Final = frozenset({"request.cancel", "request.pause", "request.resume"})
#: Seconds: handlers that fill the limit, and a restart, take longer than a moment.
_RETRY_AFTER: Final = 1.0
#: Concurrent requests that are started together. Fewer than may be in flight: most end in the turn
#: of the loop in which they begin, and so make room for others.
_MAX_STARTING: Final = 16
#: Errors with suggestions that a connection gets for unknown types: each costs a search.
_MAX_SUGGESTIONS: Final = 10


class PastRateLimit(Exception):  # noqa: N818 - a way out, not an error
    """A message is larger than what its connection may still send.

    Args:
        wait: Seconds until it is accepted.
    """

    def __init__(self, wait: float) -> None:
        super().__init__(wait)
        self.wait = wait


class _Suggestions:
    """How many more errors of a connection come with suggestions."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MAX_SUGGESTIONS


_SUGGESTIONS: Final = Slot("suggestions", _Suggestions)


class Dispatcher:
    """Handles every message of a node.

    Args:
        routes: The message types, by their names; filled before the first message.
        hub: Whether the server is shutting down.
        slow_requests: What finds the requests that do not end at once.
        limits: How large and how deep a message and its answer may be.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        hub: Hub,
        slow_requests: SlowRequests,
        limits: LimitSettings,
    ) -> None:
        self._routes = routes
        self._hub = hub
        self._in_flight = limits.in_flight
        #: Concurrent requests of a connection that may be started before they begin.
        self.max_starting = min(_MAX_STARTING, self._in_flight)
        self._watch_for_timeout = slow_requests.add
        self._loop = slow_requests.loop
        self._reply_bytes = limits.reply_bytes
        self._nesting = limits.nesting
        self._values = limits.values
        #: Bytes by opcode: a message of no more counts as one, and can't be nested too deeply or
        #: have too many values. A level of JSON opens and closes, and a value has something before
        #: it; both take one byte of MessagePack.
        least = min(self._nesting, self._values)
        self._small = {TEXT: min(2 * least, BYTES_A_TOKEN), BINARY: min(least, BYTES_A_TOKEN)}
        #: Messages that were refused before their type was known, by error code.
        self.failures: Counter[str] = Counter()

    def accept(self, connection: Connection, data: bytes) -> Request[Route] | None:
        """Decode a message, look up its type, permit, limit and validate it.

        Returns:
            The request to run; None if the message was refused, and has been answered.

        Raises:
            NotUtf8Error: It is text, and not UTF-8.
            PastRateLimit: It is too large for what the connection may still send.
        """
        try:
            if len(data) > self._small[connection.codec.opcode]:
                envelope = self._decode_large(connection, data)
            else:
                envelope = connection.codec.decode(data)
        except MalformedError as exc:
            self.failures[exc.error.code] += 1
            connection.refuse(exc.id, exc.error)
            return None
        message_id = None if envelope.id is msgspec.UNSET else envelope.id
        route = self._routes.get(envelope.type)
        if route is None:
            self.failures["unknown_type"] += 1
            connection.refuse(message_id, self._unknown_type(connection, envelope.type))
            return None
        requests = connection.requests
        try:
            if (  # all that is rare in one condition
                message_id is None
                or message_id in requests
                or len(requests) >= self._in_flight
                or self._hub.draining
            ):
                self._check_in_flight(connection, route, message_id)
            if route.is_restricted:
                if not route.scopes <= connection.identity.scopes:
                    raise Error("forbidden", scopes=sorted(route.scopes))
                if route.rate is not None:
                    check_rate(connection, route, route.rate)
            payload = route.load(envelope.payload)
        except CONTAINED as exc:  # a schema's own code may raise anything
            self._refuse(connection, route, message_id, exc)
            return None
        request = Request(connection, route, message_id, payload)
        requests[request.key] = request
        return request

    def _decode_large(self, connection: Connection, data: bytes) -> Envelope:
        """Count a message by its bytes, decode it and check how much there is in it."""
        if len(data) > BYTES_A_TOKEN and (wait := connection.charge(len(data))):
            raise PastRateLimit(wait)
        envelope = connection.codec.decode(data)
        connection.codec.check_payload(data, envelope, nesting=self._nesting, values=self._values)
        return envelope

    def refuse(self, connection: Connection, data: bytes, wait: float) -> None:
        """Refuse a message past the connection's rate limit.

        Args:
            connection: The connection.
            data: The message; only its id is used.
            wait: Seconds until another is accepted.

        Raises:
            NotUtf8Error: It is text, and not UTF-8.
        """
        try:
            envelope = connection.codec.decode(data)
            message_id = None if envelope.id is msgspec.UNSET else envelope.id
        except MalformedError as exc:
            message_id = exc.id
        self.failures["rate_limited"] += 1
        error = Error("rate_limited", "Too many messages.", retry_after=rounded_up(wait))
        connection.refuse(message_id, error)

    def start(self, request: Request[Route]) -> None:
        """Run a request beside others: in a task of its own, which begins in the loop's next turn.

        The connection holds the request, and the request the task, until it has ended.
        """
        request.own_task = self._loop.create_task(self._run_beside(request))

    def _check_in_flight(
        self, connection: Connection, route: Route, message_id: MessageId | None
    ) -> None:
        """Refuse a message that can't run beside the requests in flight, or during a shutdown."""
        if message_id is None:
            if route.streams:
                fault = field_fault("/id", "required", "A streamed answer needs an id.")
                raise with_faults("invalid_message", [fault])
        elif message_id in connection.requests:
            raise Error("conflict", "A request with this id is under way.")
        if route.type in _ALWAYS_ACCEPTED:
            return
        if len(connection.requests) >= self._in_flight:
            raise Error(
                "rate_limited", "Too many requests are under way.", retry_after=_RETRY_AFTER
            )
        if self._hub.draining:
            raise Error("unavailable", "The server is shutting down.", retry_after=_RETRY_AFTER)

    async def _run_beside(self, request: Request[Route]) -> None:
        assert request.own_task is not None  # noqa: S101 - `start` has set it
        await self.run(request, request.own_task)

    async def run(self, request: Request[Route], task: "asyncio.Task[Any]") -> None:
        """Call the handler, and send its reply or its error.

        Args:
            request: What `accept` returned.
            task: The current task, which is cancelled to stop the handler.
        """
        connection, route = request.connection, request.options
        request.task = task
        if route.has_short_timeout:
            request.start_timeout()
        self._watch_for_timeout(request)
        try:
            if request.stop_reason is None:
                context = Context(connection, route.runtime, request)
                result = await route.call(context, request.data)
        except asyncio.CancelledError as exc:
            if not request.uncancel():
                if task.cancelling():
                    raise
                # The handler was not cancelled: it awaited something that was.
                self._refuse(connection, route, request.id, exc)
                return
        except CONTAINED as exc:
            if not request.uncancel():
                self._refuse(connection, route, request.id, exc)
                return
        else:
            if request.stop_reason is None:
                self._reply(request, result)
                return
            request.uncancel()
        finally:
            request.finish()
        assert request.stop_reason is not None  # noqa: S101 - every other way has returned
        self._refuse(connection, route, request.id, request.stop_reason)

    def _reply(self, request: Request[Route], result: Any) -> None:
        connection, route = request.connection, request.options
        if request.id is not None:
            try:
                data = connection.codec.reply(request.id, as_payload(result))
            except Exception as exc:  # noqa: BLE001 - a plugin's value may fail to encode in any way
                self._refuse(connection, route, request.id, exc)
                return
            if len(data) > self._reply_bytes:
                self._refuse(connection, route, request.id, Error("too_large"))
                return
            connection.outbox.send(frame(connection.codec.opcode, data))
        route.replies += 1
        if request.after_reply is not None:
            request.replied()

    def _refuse(
        self,
        connection: Connection,
        route: Route,
        message_id: MessageId | None,
        exc: BaseException,
    ) -> None:
        """Send an exception as an error, and count it."""
        if not isinstance(exc, Error):  # as `error_of` does, without the call for most refusals
            plugin = route.runtime.plugin
            exc = report(exc, plugin=plugin, connection=connection.id, type=route.type)
        route.failures[exc.code] += 1
        connection.refuse(message_id, exc)

    def _unknown_type(self, connection: Connection, message_type: str) -> Error:
        """Return the error for a type that does not exist, with similar names that do."""
        suggestions: list[str] = []
        suggested = connection[_SUGGESTIONS]
        if suggested.left > 0:
            suggested.left -= 1
            scopes = connection.identity.scopes
            known = [name for name, route in self._routes.items() if route.scopes <= scopes]
            suggestions = difflib.get_close_matches(message_type, known)
        return Error("unknown_type", suggestions=suggestions)
