"""How clients are refused: by an HTTP status, or by a close code that a page can read."""

from typing import Final

from aiohttp import web

from jackfield.auth.chain import RefusedError
from jackfield.connection.connection import CLOSE_TIMEOUT, Connection
from jackfield.connection.permits import FullError, Permits
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire import protocol
from jackfield.wire.close_codes import CLOSE_REASONS, CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.problem import problem

from .handshake import subprotocols

#: The words of a close because of a limit on connections.
_CONNECTION_LIMIT: Final = "connection limit"
_FULL_SERVER: Final = "The server has as many connections as it may have."


class Refusals:
    """Refuses clients of one node.

    Args:
        permits: What bounds how many are being turned away.
        log: Where to log what any client can cause.
        full_for: Seconds until who was refused for a limit on connections may come back.
    """

    def __init__(self, permits: Permits, log: RateLimitedLog, *, full_for: float) -> None:
        self._permits = permits
        self._log = log
        self._full_for = full_for

    async def turn_away(
        self, request: web.Request, cause: RefusedError | FullError, remote: str
    ) -> web.StreamResponse:
        """Refuse a client that has asked for a WebSocket.

        One that is refused because of who it is gets its WebSocket, only to be closed: a page can
        read a close code, but no HTTP status. Where the server itself is full or can't tell, it
        gets the status 503, which a proxy understands.
        """
        match cause:
            case FullError(limit="connections"):
                self._log.info("turned a client away", remote=remote, limit=cause.limit)
                error = Error("unavailable", _FULL_SERVER, retry_after=self._full_for)
                return problem(error, 503)
            case RefusedError(code=CloseCode.UNAVAILABLE, error=Error(code="unavailable") as error):
                return problem(error, 503)
        code, reason, after, where = self._explain(cause)
        self._log.info("turned a client away", reason=reason, remote=remote, **where)
        try:
            with self._permits.turn_away():
                return await _close_at_once(request, code, reason, after or 0)
        except FullError:  # each stays a moment to read the code: their number is bounded as well
            return problem(Error("unavailable", retry_after=CLOSE_TIMEOUT), 503)

    def close(self, connection: Connection, cause: RefusedError | FullError | Error) -> None:
        """Close the connection of a client that has failed to authenticate by its first message."""
        code, reason, after, where = self._explain(cause)
        self._log.info("turned a client away", reason=reason, remote=connection.remote, **where)
        connection.close(code, reason, after=after)

    def _explain(
        self, cause: RefusedError | FullError | Error
    ) -> tuple[CloseCode, str, float | None, dict[str, str]]:
        """Return how to close for a cause: code, reason, when to come back, words for the log."""
        match cause:
            case FullError():
                where = {"limit": cause.limit}
                return CloseCode.UNAVAILABLE, _CONNECTION_LIMIT, self._full_for, where
            case RefusedError(code=code, error=error):
                pass
            case _:
                code, error = CloseCode.UNAVAILABLE, cause
        return code, CLOSE_REASONS[code], error.retry_after, {"why": error.message}


async def _close_at_once(
    request: web.Request, code: CloseCode, reason: str, after: float
) -> web.StreamResponse:
    socket = web.WebSocketResponse(
        protocols=subprotocols(request), compress=False, timeout=CLOSE_TIMEOUT
    )
    await socket.prepare(request)
    goodbye = protocol.JSON.goodbye(code, reason, reconnect=code.reconnect, after=after)
    await socket.send_str(goodbye.decode())
    await socket.close(code=code, message=reason.encode())
    return socket
