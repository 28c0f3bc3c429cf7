"""The path of a message: decode, look up, permit, limit, validate, call, answer.

Nothing on it touches Redis, takes a lock or starts a task unless the handler does.
"""

import asyncio
import difflib
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from .context import Context
from .errors import Error, field_fault, with_faults
from .frames import frame
from .protocol import MalformedError, MessageId
from .request import Request
from .route import Route, as_payload

if TYPE_CHECKING:
    from .connection import Connection
    from .node import Node

#: A client at its limit of requests in flight, or of a server that goes, must still be able to
#: cancel one.
_ALWAYS_ADMITTED: Final = "request.cancel"
#: Seconds: a handler that is slow enough to fill the limit is slower than this.
_RETRY_AFTER: Final = 1.0


class Dispatcher:
    """What is done with every message of a node.

    Args:
        node: The node, whose registry has the routes.
    """

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._routes = node.registry.routes
        self._in_flight = node.settings.limits.in_flight
        self._watch = node.watch.note
        self._loop = node.watch.loop
        self._reply_bytes = node.settings.limits.reply_bytes
        #: Messages that got as far as no route, by error code.
        self.failures: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("jackfield")

    def accept(self, connection: "Connection", data: bytes) -> Request | None:
        """Decode a message, look up its type, permit, limit and validate it.

        Returns:
            The request to run; None if the message was wrong, and has been answered.

        Raises:
            NotUtf8Error: It is text, and not UTF-8.
        """
        try:
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
            if (  # one look for all that is rare
                message_id is None
                or message_id in requests
                or len(requests) >= self._in_flight
                or route.scopes
                or self._node.draining
            ):
                self._admit(connection, route, message_id)
            payload = route.load(envelope.payload)
        except Exception as exc:  # noqa: BLE001 - a schema's own code may raise anything
            self._refuse(connection, route, message_id, exc)
            return None
        request = Request(connection, route, message_id, payload)
        requests[request.key] = request
        return request

    async def start(self, request: Request) -> None:
        """Run a request beside others, in a task of its own; returns once that has begun.

        Messages so begin in the order they came in, whatever their kind.
        """
        request.task = task = self._loop.create_task(self._run_beside(request))
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(0)

    def _admit(self, connection: "Connection", route: Route, message_id: MessageId | None) -> None:
        """Refuse what this connection may not do, or not now."""
        if route.scopes and not route.scopes <= connection.identity.scopes:
            raise Error("forbidden", scopes=sorted(route.scopes))
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
        if self._node.draining:
            raise Error("unavailable", "The server is shutting down.", retry_after=_RETRY_AFTER)

    async def _run_beside(self, request: Request) -> None:
        assert request.task is not None  # noqa: S101 - `start` has set it
        await self.run(request, request.task)

    async def run(self, request: Request, task: "asyncio.Task[Any]") -> None:
        """Call the handler and answer with what comes of it.

        Args:
            request: What `accept` returned.
            task: The current task, which is cancelled to stop the handler.
        """
        connection, route = request.connection, request.route
        request.task = task
        if route.is_brief:
            request.hold_to_timeout()
        self._watch(request)
        try:
            if request.stopped is None:
                context = Context(connection, route.runtime, request)
                result = await route.call(context, request.data)
        except asyncio.CancelledError:
            if not request.caught_stop():
                raise
        except Exception as exc:  # noqa: BLE001 - whatever a plugin raises is contained here
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

    def _reply(self, request: Request, result: Any) -> None:
        connection, route = request.connection, request.route
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
        if request.joins is not None:
            request.answered()

    def _refuse(
        self,
        connection: "Connection",
        route: Route,
        message_id: MessageId | None,
        exc: BaseException,
    ) -> None:
        """The one map from exception to error: an `Error` as it is, all else is ``internal``."""
        if not isinstance(exc, Error):
            exc = self.report(
                exc, plugin=route.runtime.plugin, connection=connection.id, type=route.type
            )
        route.failures[exc.code] += 1
        connection.refuse(message_id, exc)

    def report(self, exc: BaseException, **where: str | None) -> Error:
        """Log a fault under an incident's id; the client learns the id and nothing else.

        Args:
            exc: What a plugin, or the server, raised.
            **where: Further keys for the log.

        Returns:
            The error to answer with.
        """
        incident = secrets.token_hex(8)
        self._log.error("a handler failed", incident=incident, exc_info=exc, **where)
        return Error("internal", incident=incident)

    def _unknown_type(self, connection: "Connection", message_type: str) -> Error:
        suggestions: list[str] = []
        if connection.suggestions_left > 0:
            connection.suggestions_left -= 1
            scopes = connection.identity.scopes
            known = [name for name, route in self._routes.items() if route.scopes <= scopes]
            suggestions = difflib.get_close_matches(message_type, known)
        return Error("unknown_type", suggestions=suggestions)
