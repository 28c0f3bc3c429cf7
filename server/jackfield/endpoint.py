"""The WebSocket endpoint: let a client in or turn it away, serve it, and clean up after it."""

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import structlog
from aiohttp import hdrs, web

from . import protocol
from .auth import Identity
from .connection import CLOSE_TIMEOUT, Connection
from .errors import CLOSE_REASONS, CloseCode, Error
from .http_api import NODE, problem
from .node import Node
from .outbox import CompressedOutbox, Outbox
from .protocol import Codec
from .receiver import Receiver
from .socket import Socket

_log = structlog.get_logger("jackfield")

#: Seconds that handlers of a connection that has ended have to take their cancellation.
_CANCEL_TIMEOUT: Final = 5.0
#: Seconds between looks at whether a client that broke the protocol has gone.
_LINGER_LOOK: Final = 0.05


class _Admission(NamedTuple):
    identity: Identity
    codec: Codec


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve one client of ``/ws`` from its upgrade to its end."""
    node = request.app[NODE]
    if request.headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        error = Error("invalid_message", "This is a WebSocket endpoint.")
        return problem(error, 426, {hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "upgrade"})
    if node.draining:
        return _unavailable(Error("unavailable", "The server is shutting down.", retry_after=1.0))
    if node.hub.taken >= node.settings.limits.connections:
        return await _turn_away(request, CloseCode.CONNECTION_LIMIT)
    with node.hub.place():
        admission = await _admit(request, node)
        if isinstance(admission, CloseCode):
            return await _turn_away(request, admission)
        identity, codec = admission
        connection_id = secrets.token_urlsafe(12)
        return await _connect(
            request, Connection(connection_id, node, identity, request.remote or "", codec)
        )


async def _connect(request: web.Request, connection: Connection) -> web.StreamResponse:
    """Serve a client that is let in, with its state in Redis for as long as it is here."""
    node = connection.node
    try:
        await node.store.add(connection)
    except Error as error:
        return _unavailable(error)
    try:
        return await _serve(request, node, connection)
    except web.HTTPBadRequest:
        return problem(Error("invalid_message", "The WebSocket handshake is not valid."), 400)
    finally:
        node.hub.discard(connection)
        try:
            await node.store.remove(connection)
        except Error:  # Redis is away: its TTL removes it
            _log.debug("left to its TTL", connection=connection.id)


async def _admit(request: web.Request, node: Node) -> _Admission | CloseCode:
    """Whose the connection is and how it speaks; or why it is turned away."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin not in node.settings.auth.origins:
        return CloseCode.FORBIDDEN
    offered = _subprotocols(request)
    codec = protocol.JSON if not offered else _choose_codec(offered)
    if codec is None:
        return CloseCode.FORBIDDEN
    for authenticate in node.authenticators:
        identity = await authenticate(request)
        if identity is not None:
            return _Admission(identity, codec)
    return CloseCode.UNAUTHENTICATED


def _subprotocols(request: web.Request) -> list[str]:
    headers = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    return [name.strip() for header in headers for name in header.split(",") if name.strip()]


def _choose_codec(offered: list[str]) -> Codec | None:
    """The first the client offers that is known here (RFC 6455, section 4.2.2)."""
    return next((protocol.CODECS[name] for name in offered if name in protocol.CODECS), None)


def _unavailable(error: Error) -> web.Response:
    retry_after = max(1, round(error.extra.get("retry_after", 1)))
    return problem(error, 503, {hdrs.RETRY_AFTER: str(retry_after)})


async def _turn_away(request: web.Request, code: CloseCode) -> web.StreamResponse:
    """Accept the upgrade only to close it: a page can read a close code, but no HTTP status."""
    _log.info("turned a client away", reason=CLOSE_REASONS[code], remote=request.remote)
    socket = web.WebSocketResponse(
        protocols=_subprotocols(request), compress=False, timeout=CLOSE_TIMEOUT
    )
    await socket.prepare(request)
    reason = CLOSE_REASONS[code]
    goodbye = protocol.JSON.goodbye(code, reason, reconnect=code.reconnect, after=0)
    await socket.send_str(goodbye.decode())
    await socket.close(code=code, message=reason.encode())
    return socket


async def _serve(request: web.Request, node: Node, connection: Connection) -> web.StreamResponse:
    socket = await _open(request, node, connection)
    hooked = False
    try:
        node.hub.add(connection)
        hooked = True
        try:
            await node.run_connect_hooks(connection)
        except Error as error:
            connection.refuse(None, error)
            code = CloseCode.UNAVAILABLE if error.retryable else CloseCode.FORBIDDEN
            connection.close(code, error.code)
        else:
            await _welcome(node, connection)
        await connection.receiver.run()
        await _end(request, connection)
    finally:
        await _stop(connection)
        node.topics.leave_all(connection)
        connection.gone()
        if hooked:
            await node.run_disconnect_hooks(connection)
        _log.debug(
            "closed",
            connection=connection.id,
            code=None if connection.closing is None else int(connection.closing),
        )
    return socket


async def _open(request: web.Request, node: Node, connection: Connection) -> Socket:
    """Upgrade the request, and give the connection its socket."""
    limits = node.settings.limits
    socket = Socket(
        protocols=(connection.codec.name,),
        compress=node.settings.server.compression,
        # aiohttp refuses a message *of* the size it is given.
        max_msg_size=limits.message_bytes + 1,
        decode_text=False,
        autoping=False,
        autoclose=False,
    )
    writer = await socket.prepare(request)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left during the handshake")
    connection.transport = transport

    def stalled() -> None:
        _log.info("cut off a client that does not read", connection=connection.id)
        connection.abort(CloseCode.SLOW_CONSUMER)

    outbox: Callable[..., Outbox] = Outbox
    if socket.compress:
        outbox = partial(CompressedOutbox, send_frame=socket.send_frame)
    connection.outbox = outbox(
        transport,
        writer.drain,
        limit=limits.queue_bytes,
        timeout=limits.write_timeout,
        on_stalled=stalled,
        turn=node.turn,
    )
    socket.on_violation = connection.close
    connection.receiver = Receiver(connection, socket, node.dispatcher)
    return socket


async def _welcome(node: Node, connection: Connection) -> None:
    """Welcome a client, with the topics it is in from the first: their events come behind that."""
    try:
        joins = await node.topics.join_own(connection)
    except Error as error:
        connection.refuse(None, error)
        connection.close(CloseCode.UNAVAILABLE)
        return
    joins += connection.early_joins or []
    connection.early_joins = None
    limits = node.settings.limits
    connection.send(
        connection.codec.welcome(
            connection=connection.id,
            user=connection.user,
            heartbeat=node.settings.connections.heartbeat,
            limits={"message_bytes": limits.message_bytes, "in_flight": limits.in_flight},
            topics={
                join.audience.topic: {"epoch": join.read.epoch, "offset": join.read.offset}
                for join in joins
            },
        )
    )
    for join in joins:
        join.activate()
    connection.given_topics = len(connection.topics)


async def _end(request: web.Request, connection: Connection) -> None:
    """Finish the close handshake (RFC 6455, section 7.1) whichever side began it."""
    last = connection.receiver.last
    if last is not None and last.type is web.WSMsgType.CLOSE:
        connection.answer_close(last.data)
        await connection.outbox.written()  # bounded: the transport is cut if this takes too long
        connection.transport.close()
    elif connection.closing is not None:
        # It broke the protocol. Closing the socket while it still sends would reset it, and the
        # close frame would be lost with it: so wait until it has gone, or long enough.
        await connection.outbox.written()
        waited = 0.0
        while request.transport is not None and waited < CLOSE_TIMEOUT:
            await asyncio.sleep(_LINGER_LOOK)
            waited += _LINGER_LOOK
        connection.transport.abort()


async def _stop(connection: Connection) -> None:
    """Cancel what still runs for a connection that has ended, and wait for it."""
    connection.stop_requests(Error("cancelled"))
    await asyncio.sleep(0)  # those that had not begun begin now, and see that they were stopped
    tasks = {
        request.task for request in connection.requests.values() if request.task is not None
    } - {asyncio.current_task()}
    if tasks:
        _, stuck = await asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT)
        if stuck:
            _log.error(
                "handlers ignore their cancellation", connection=connection.id, count=len(stuck)
            )
