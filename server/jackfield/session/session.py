"""The WebSocket endpoint: let a client in or turn it away, serve it, and clean up after it."""

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from aiohttp import hdrs, web

from jackfield.auth.chain import RefusedError
from jackfield.connection.connection import CLOSE_TIMEOUT, Connection
from jackfield.connection.outbox import CompressedOutbox, Outbox
from jackfield.connection.permits import FullError, Place
from jackfield.connection.request import GONE
from jackfield.connection.websocket import Socket
from jackfield.http.health import NODE
from jackfield.node import Node
from jackfield.wire import protocol
from jackfield.wire.close_codes import CLOSE_REASONS, CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import ANONYMOUS
from jackfield.wire.problem import problem

from .handshake import admit, identify_by_message, subprotocols
from .listener import Peer
from .receiver import Receiver

_log = structlog.get_logger("jackfield")

#: Seconds that handlers of a connection that has ended have to take their cancellation.
_CANCEL_TIMEOUT: Final = 5.0
_GOING: Final = Error("unavailable", "The server is shutting down.", retry_after=1.0)
#: Seconds between looks at whether a client that broke the protocol has gone.
_LINGER_LOOK: Final = 0.05


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve one client of ``/ws`` from its upgrade to its end."""
    if request.headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        error = Error("invalid_message", "This is a WebSocket endpoint.")
        return problem(error, 426, {hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "upgrade"})
    try:
        return await _receive(request)
    except web.HTTPBadRequest:
        return problem(Error("invalid_message", "The WebSocket handshake is not valid."), 400)
    except ConnectionResetError:  # it left during the handshake: nobody is there to be answered
        return web.Response()


async def _receive(request: web.Request) -> web.StreamResponse:
    """Let a client in, or turn it away."""
    node = request.app[NODE]
    remote = node.proxies.client(request)
    try:
        with node.places.take(remote) as place:
            return await _admit(request, node, remote, place)
    except RefusedError as refused:
        if refused.code is CloseCode.UNAVAILABLE:
            return _unavailable(refused.error)
        return await _turn_away(request, refused.code, remote=remote, why=refused.error.message)
    except FullError as full:
        return await _turn_away(
            request, CloseCode.CONNECTION_LIMIT, remote=remote, limit=full.limit
        )


async def _admit(request: web.Request, node: Node, remote: str, place: Place) -> web.StreamResponse:
    """Let a client in, at once or once it has said who it is.

    Raises:
        RefusedError: It is not let in.
        FullError: There is no place for it.
        aiohttp.web.HTTPBadRequest: It does not shake hands as it should.
    """
    if node.draining:
        raise RefusedError(_GOING, CloseCode.UNAVAILABLE)
    identity, codec = await admit(request, node)
    connection_id = secrets.token_urlsafe(12)
    connection = Connection(connection_id, node, identity or ANONYMOUS, remote, codec)
    if identity is None:
        return await _introduce(request, connection, place)
    place.identify(identity.user)
    return await _connect(request, connection)


async def _connect(request: web.Request, connection: Connection) -> web.StreamResponse:
    """Serve a client that is let in, with its state in Redis for as long as it is here."""
    node = connection.node
    try:
        await node.store.add(connection)
    except Error as error:
        return _unavailable(error)
    try:
        socket = await _open(request, node, connection)
        await _serve(request, node, connection)
    finally:
        await _remove_state(connection)
    return socket


async def _introduce(
    request: web.Request, connection: Connection, place: Place
) -> web.StreamResponse:
    """Serve a client that has yet to say who it is: before it does, there is nothing of it."""
    node = connection.node
    socket = await _open(request, node, connection)
    place.await_identity(partial(connection.close, CloseCode.AUTHENTICATION_TIMEOUT))
    try:
        if await _learn_identity(connection, socket, place):
            try:
                await _serve(request, node, connection)
            finally:
                await _remove_state(connection)
        else:
            if connection.receiver.last is None:
                await connection.receiver.run()
            await _end(request, connection)
    finally:
        connection.gone()
    return socket


async def _learn_identity(connection: Connection, socket: Socket, place: Place) -> bool:
    """Wait until a client has said who it is, and write its state.

    Returns:
        False if it has gone, or is closed.
    """
    node = connection.node
    try:
        with node.hub.waiting(connection):
            identity = await identify_by_message(connection, socket)
        if node.draining:
            connection.close(CloseCode.SHUTDOWN)
        elif identity is not None:
            connection.identity = identity
            place.identify(identity.user)
            await node.store.add(connection)
            return True
    except (RefusedError, FullError, Error) as exc:
        _close_stranger(connection, exc)
    return False


def _close_stranger(connection: Connection, cause: RefusedError | FullError | Error) -> None:
    """Close the connection of a client that has said who it is, or not, to no avail."""
    match cause:
        case RefusedError():
            code, why = cause.code, cause.error.message
        case FullError():
            code, why = CloseCode.CONNECTION_LIMIT, cause.limit
        case _:
            code, why = CloseCode.UNAVAILABLE, cause.message
    connection.node.sparing_log.info(
        "turned a client away", reason=CLOSE_REASONS[code], remote=connection.remote, why=why
    )
    connection.close(code)


async def _remove_state(connection: Connection) -> None:
    """A connection has ended, or was never opened."""
    node = connection.node
    node.hub.discard(connection)
    try:
        await node.store.remove(connection)
    except Error:  # Redis is away: its TTL removes it
        _log.debug("left to its TTL", connection=connection.id)


def _unavailable(error: Error) -> web.Response:
    retry_after = max(1, round(error.extra.get("retry_after", 1)))
    return problem(error, 503, {hdrs.RETRY_AFTER: str(retry_after)})


async def _turn_away(request: web.Request, code: CloseCode, **where: str) -> web.StreamResponse:
    """Accept the upgrade only to close it: a page can read a close code, but no HTTP status."""
    node = request.app[NODE]
    reason = CLOSE_REASONS[code]
    node.sparing_log.info("turned a client away", reason=reason, **where)
    try:
        with node.places.take_leave():
            socket = web.WebSocketResponse(
                protocols=subprotocols(request), compress=False, timeout=CLOSE_TIMEOUT
            )
            await socket.prepare(request)
            goodbye = protocol.JSON.goodbye(code, reason, reconnect=code.reconnect, after=0)
            await socket.send_str(goodbye.decode())
            await socket.close(code=code, message=reason.encode())
            return socket
    except FullError:  # each stays a moment, to read the code: too many would be a burden
        return _unavailable(Error("unavailable", retry_after=CLOSE_TIMEOUT))


async def _serve(request: web.Request, node: Node, connection: Connection) -> None:
    """Serve a client whose socket is open and whose state is in Redis, to its end."""
    hooked = False
    try:
        try:
            # It may have been revoked on its way here; from now on it would be found in the hub.
            node.authenticators.check(connection.identity, connection.id)
            node.hub.add(connection)
            hooked = True
            await node.run_connect_hooks(connection)
        except RefusedError as refused:
            connection.close(refused.code)
        except Error as error:
            connection.refuse(None, error)
            code = CloseCode.UNAVAILABLE if error.retryable else CloseCode.FORBIDDEN
            connection.close(code, error.code)
        else:
            await _welcome(node, connection)
            node.expiry.watch(connection)
        await connection.receiver.run()
        await _end(request, connection)
    finally:
        node.expiry.forget(connection)
        await _stop(connection)
        node.topics.leave_all(connection)
        node.agents.leave(connection)
        connection.gone()
        if hooked:
            await node.run_disconnect_hooks(connection)
        _log.debug(
            "closed",
            connection=connection.id,
            code=None if connection.closing is None else int(connection.closing),
        )


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
    connection.request = request
    connection.transport = transport

    def stalled() -> None:
        node.sparing_log.info("cut off a client that does not read", connection=connection.id)
        connection.abort(CloseCode.SLOW_CONSUMER)

    outbox: Callable[..., Outbox] = Outbox
    if isinstance(request.protocol, Peer):
        request.protocol.upgrade(connection)
        if transport.get_extra_info("sslcontext") is None:
            outbox = partial(Outbox, descriptor=transport.get_extra_info("socket").fileno())
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
    if not connection.requests:
        return
    connection.stop_requests(GONE)
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
