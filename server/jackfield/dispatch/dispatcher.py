"""The path of a message: decode, look up, permit, limit, validate, call, answer.

Nothing on it touches Redis, takes a lock or starts a task unless the handler does.
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
from jackfield.telemetry.incidents import error_of
from jackfield.wire.errors import CONTAINED, Error, field_fault, with_faults
from jackfield.wire.frames import frame
from jackfield.wire.protocol import MalformedError, MessageId

from .rate_limits import check_rate, rounded_up
from .route import Route
from .timeouts import SlowRequests

#: A client at its limit of requests in flight, or of a server that goes, must still be able to
#: cancel one.
_ALWAYS_ADMITTED: Final = "request.cancel"
#: Seconds: a handler that is slow enough to fill the limit is slower than this.
_RETRY_AFTER: Final = 1.0
#: Fewer than may be in flight: most requests that begin have ended in the same turn of the loop,
#: and so have made room for others.
_MAX_STARTING: Final = 16


#: How many more unknown types of a connection are answered with near names: each costs a search.
_MAX_SUGGESTIONS: Final = 10


class _Suggestions:
    """How often a connection was answered with near names."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MAX_SUGGESTIONS


_SUGGESTIONS: Final = Slot("suggestions", _Suggestions)


class Dispatcher:
    """What is done with every message of a node.

    Args:
        routes: The message types, by their names; there may be more of them later.
        hub: The node's connections, and whether they are being sent home.
        slow_requests: What looks after a request that has begun.
        limits: How much a message and its answer may take.
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
        #: Requests of a connection that may be started before they begin.
        self.max_starting = min(_MAX_STARTING, self._in_flight)
        self._note = slow_requests.note
        self._loop = slow_requests.loop
        self._reply_bytes = limits.reply_bytes
        self._nesting = limits.nesting
        #: Bytes that a message can't be nested too deeply in: each level opens and closes.
        self._surely_flat = 2 * self._nesting
        #: Messages that got as far as no route, by error code.
        self.failures: Counter[str] = Counter()

    def accept(self, connection: Connection, data: bytes) -> Request[Route] | None:
        """Decode a message, look up its type, permit, limit and validate it.

        Returns:
            The request to run; None if the message was wrong, and has been answered.

        Raises:
            NotUtf8Error: It is text, and not UTF-8.
        """
        try:
            envelope = connection.codec.decode(data)
            if len(data) > self._surely_flat:
                connection.codec.check_nesting(data, envelope, self._nesting)
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
            if (  # one look for all that is rare
                message_id is None
                or message_id in requests
                or len(requests) >= self._in_flight
                or self._hub.draining
            ):
                self._admit(connection, route, message_id)
            if route.is_restricted:
                self._permit(connection, route)
            payload = route.load(envelope.payload)
        except CONTAINED as exc:  # a schema's own code may raise anything
            self._refuse(connection, route, message_id, exc)
            return None
        request = Request(connection, route, message_id, payload)
        requests[request.key] = request
        return request

    def refuse(self, connection: Connection, data: bytes, wait: float) -> None:
        """Refuse a message because the connection has sent too many.

        Args:
            connection: The connection.
            data: The message; of interest is only its id.
            wait: Seconds until it may send another.

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
        """Run a request beside others, in a task of its own, which begins in the loop's next turn.

        The connection keeps the request, and that the task, until it has ended.
        """
        request.task = self._loop.create_task(self._run_beside(request))

    def _admit(self, connection: Connection, route: Route, message_id: MessageId | None) -> None:
        """Refuse what can't be done now."""
        if message_id is None:
            if route.streams:
                fault = field_fault("/id", "required", "A streamed answer needs an id.")
                raise with_faults("invalid_message", [fault])
        elif message_id in connection.requests:
            raise Error("conflict", "A request with this id is under way.")
        if route.type == _ALWAYS_ADMITTED:
            return
        if len(connection.requests) >= self._in_flight:
            raise Error(
                "rate_limited", "Too many requests are under way.", retry_after=_RETRY_AFTER
            )
        if self._hub.draining:
            raise Error("unavailable", "The server is shutting down.", retry_after=_RETRY_AFTER)

    def _permit(self, connection: Connection, route: Route) -> None:
        """Refuse what this connection may not do, or not as often."""
        if not route.scopes <= connection.identity.scopes:
            raise Error("forbidden", scopes=sorted(route.scopes))
        check_rate(connection, route)

    async def _run_beside(self, request: Request[Route]) -> None:
        assert request.task is not None  # noqa: S101 - `start` has set it
        await self.run(request, request.task)

    async def run(self, request: Request[Route], task: "asyncio.Task[Any]") -> None:
        """Call the handler and answer with what comes of it.

        Args:
            request: What `accept` returned.
            task: The current task, which is cancelled to stop the handler.
        """
        connection, route = request.connection, request.options
        request.task = task
        if route.is_brief:
            request.start_timeout()
        self._note(request)
        try:
            if request.stopped is None:
                context = Context(connection, route.runtime, request)
                result = await route.call(context, request.data)
        except asyncio.CancelledError as exc:
            if not request.caught_stop():
                if task.cancelling():
                    raise
                # Nobody has cancelled the handler: it waited for something else that was.
                self._refuse(connection, route, request.id, exc)
                return
        except CONTAINED as exc:
            if not request.caught_stop():
                self._refuse(connection, route, request.id, exc)
                return
        else:
            if request.stopped is None:
                self._reply(request, result)
                return
            request.caught_stop()
        finally:
            request.finish()
        assert request.stopped is not None  # noqa: S101 - every other way has returned
        self._refuse(connection, route, request.id, request.stopped)

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
        """Answer with an error: the exception's own, or ``internal``."""
        plugin = route.runtime.plugin
        error = error_of(exc, plugin=plugin, connection=connection.id, type=route.type)
        route.failures[error.code] += 1
        connection.refuse(message_id, error)

    def _unknown_type(self, connection: Connection, message_type: str) -> Error:
        suggestions: list[str] = []
        suggested = connection[_SUGGESTIONS]
        if suggested.left > 0:
            suggested.left -= 1
            scopes = connection.identity.scopes
            known = [name for name, route in self._routes.items() if route.scopes <= scopes]
            suggestions = difflib.get_close_matches(message_type, known)
        return Error("unknown_type", suggestions=suggestions)
