"""Serve one client of ``/ws``: handshake or refusal, upgrade, welcome, messages, clean-up.

`handshake` authenticates it; `receiver` reads its messages; `closing` ends it.
"""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from aiohttp import hdrs, web

from jackfield.agents.agents import Agents
from jackfield.auth.chain import AuthenticatorChain, RefusedError
from jackfield.auth.expiry import Expiry
from jackfield.config import Settings
from jackfield.connection.connection import CLOSE_TIMEOUT, Connection
from jackfield.connection.hub import Hub
from jackfield.connection.new_connection import NewConnection
from jackfield.connection.outbox import CompressedOutbox, LoopTurn, Outbox
from jackfield.connection.permits import FullError, Permit, Permits
from jackfield.connection.proxies import TrustedProxies
from jackfield.connection.websocket import Socket
from jackfield.dispatch.dispatcher import Dispatcher
from jackfield.store.connections import ConnectionStore
from jackfield.telemetry.log import RateLimitedLog
from jackfield.topics.membership import MEMBERSHIP, PendingJoin
from jackfield.topics.topics import Topics
from jackfield.wire import protocol
from jackfield.wire.close_codes import CLOSE_REASONS, CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import ANONYMOUS, Identity
from jackfield.wire.problem import problem
from jackfield.wire.protocol import Codec

from .closing import finish_close_handshake, stop_requests
from .connection_hooks import ConnectionHooks
from .handshake import admit, identify_by_message, subprotocols
from .receiver import Receiver
from .request_heads import LimitedRequestHandler

_log = structlog.get_logger("jackfield")

_SHUTTING_DOWN: Final = Error("unavailable", "The server is shutting down.", retry_after=1.0)


class Sessions:
    """Serves the clients of one node.

    Args:
        settings: The server's settings.
        hub: The open connections.
        permits: The limits on connections.
        proxies: What finds a client's address.
        authenticators: What authenticates a client.
        expiry: What closes connections whose identity expires.
        store: The connections' state in Redis.
        dispatcher: What handles a message.
        topics: The node's topics.
        agents: The node's agents.
        hooks: The plugins' connection hooks.
        log: Where to log what any client can cause.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        hub: Hub,
        permits: Permits,
        proxies: TrustedProxies,
        authenticators: AuthenticatorChain,
        expiry: Expiry,
        store: ConnectionStore,
        dispatcher: Dispatcher,
        topics: Topics,
        agents: Agents,
        hooks: ConnectionHooks,
        log: RateLimitedLog,
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._permits = permits
        self._proxies = proxies
        self._authenticators = authenticators
        self._expiry = expiry
        self._store = store
        self._dispatcher = dispatcher
        self._topics = topics
        self._agents = agents
        self._hooks = hooks
        self._log = log
        self._turn = LoopTurn()

    # The handshake.

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a client to its end, or turn it away."""
        remote = self._proxies.client_address(request)
        try:
            with self._permits.take(remote) as permit:
                return await self._handshake(request, remote, permit)
        except RefusedError as refused:
            if refused.code is CloseCode.UNAVAILABLE:
                return _unavailable(refused.error)
            return await self._turn_away(
                request, refused.code, remote=remote, why=refused.error.message
            )
        except FullError as full:
            return await self._turn_away(
                request, CloseCode.CONNECTION_LIMIT, remote=remote, limit=full.limit
            )

    async def _handshake(
        self, request: web.Request, remote: str, permit: Permit
    ) -> web.StreamResponse:
        """Authenticate a client by its request, and serve it; or serve it up to its first message.

        Raises:
            RefusedError: The client is refused.
            FullError: A connection limit is reached.
            aiohttp.web.HTTPBadRequest: Its request is no valid WebSocket handshake.
        """
        if self._hub.draining:
            raise RefusedError(_SHUTTING_DOWN, CloseCode.UNAVAILABLE)
        identity, codec = await admit(request, self._settings.auth, self._authenticators)
        user = None if identity is None else identity.user
        record = NewConnection(secrets.token_urlsafe(12), user, remote)
        if identity is None:
            return await self._serve_unauthenticated(request, record, codec, permit)
        permit.identify(user)
        return await self._serve_authenticated(request, record, codec, identity)

    async def _serve_authenticated(
        self, request: web.Request, record: NewConnection, codec: Codec, identity: Identity
    ) -> web.StreamResponse:
        """Serve a client whose request authenticates it; its state is in Redis meanwhile."""
        try:
            await self._store.add(record)
        except Error as error:
            return _unavailable(error)
        try:
            socket, connection, receiver = await self._upgrade(request, record, codec, identity)
            await self._run(connection, receiver)
        finally:
            await self._remove(record)
        return socket

    async def _serve_unauthenticated(
        self, request: web.Request, record: NewConnection, codec: Codec, permit: Permit
    ) -> web.StreamResponse:
        """Serve a client that has yet to authenticate: until then it is not in Redis."""
        socket, connection, receiver = await self._upgrade(request, record, codec, ANONYMOUS)
        permit.await_identity(partial(connection.close, CloseCode.AUTHENTICATION_TIMEOUT))
        try:
            if await self._authenticate(connection, receiver, permit):
                try:
                    await self._run(connection, receiver)
                finally:
                    await self._remove(connection)
            else:
                if receiver.ended_by is None:
                    await receiver.run(connection)
                await finish_close_handshake(connection, receiver)
        finally:
            connection.release()
        return socket

    async def _authenticate(
        self, connection: Connection, receiver: Receiver, permit: Permit
    ) -> bool:
        """Authenticate a client by its first message, and write its state.

        Returns:
            False if it has left, or its connection is being closed.
        """
        timeout = self._settings.auth.timeout
        try:
            with self._hub.authenticating(connection):
                identity = await identify_by_message(
                    connection, receiver, self._authenticators, timeout=timeout
                )
            if self._hub.draining:
                connection.close(CloseCode.SHUTDOWN)
            elif identity is not None:
                connection.identify(identity)
                permit.identify(identity.user)
                await self._store.add(connection)
                return True
        except (RefusedError, FullError, Error) as exc:
            self._close_refused(connection, exc)
        return False

    # Refusals.

    def _close_refused(
        self, connection: Connection, cause: RefusedError | FullError | Error
    ) -> None:
        """Close the connection of a client that has failed to authenticate by its first message."""
        match cause:
            case RefusedError():
                code, why = cause.code, cause.error.message
            case FullError():
                code, why = CloseCode.CONNECTION_LIMIT, cause.limit
            case _:
                code, why = CloseCode.UNAVAILABLE, cause.message
        self._log.info(
            "turned a client away", reason=CLOSE_REASONS[code], remote=connection.remote, why=why
        )
        connection.close(code)

    async def _turn_away(
        self, request: web.Request, code: CloseCode, **where: str
    ) -> web.StreamResponse:
        """Upgrade a request only to close it: a page can read a close code, but no HTTP status."""
        reason = CLOSE_REASONS[code]
        self._log.info("turned a client away", reason=reason, **where)
        try:
            with self._permits.turn_away():
                socket = web.WebSocketResponse(
                    protocols=subprotocols(request), compress=False, timeout=CLOSE_TIMEOUT
                )
                await socket.prepare(request)
                goodbye = protocol.JSON.goodbye(code, reason, reconnect=code.reconnect, after=0)
                await socket.send_str(goodbye.decode())
                await socket.close(code=code, message=reason.encode())
                return socket
        except FullError:  # each stays a moment to read the code: their number is bounded as well
            return _unavailable(Error("unavailable", retry_after=CLOSE_TIMEOUT))

    # The session.

    async def _upgrade(
        self, request: web.Request, record: NewConnection, codec: Codec, identity: Identity
    ) -> tuple[Socket, Connection, Receiver]:
        """Upgrade the request, and make the connection."""
        limits = self._settings.limits

        def violated(code: CloseCode) -> None:
            connection.close(code)

        socket = Socket(
            codec.name,
            compress=self._settings.server.compression,
            message_bytes=limits.message_bytes,
            on_violation=violated,
        )
        writer = await socket.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client left during the handshake")

        def cut_off() -> None:
            self._log.info("cut off a client that does not read", connection=record.id)
            connection.abort(CloseCode.SLOW_CONSUMER)

        outbox: Callable[..., Outbox] = Outbox
        if socket.compress:
            outbox = partial(CompressedOutbox, send_frame=socket.send_frame)
        elif isinstance(request.protocol, LimitedRequestHandler) and not transport.get_extra_info(
            "sslcontext"
        ):
            outbox = partial(Outbox, descriptor=transport.get_extra_info("socket").fileno())
        receiver = Receiver(
            socket, codec.opcode, self._dispatcher, in_flight=limits.in_flight, log=self._log
        )
        connection = Connection(
            record,
            identity=identity,
            codec=codec,
            request=request,
            transport=transport,
            outbox=outbox(
                transport,
                writer.drain,
                limit=limits.queue_bytes,
                timeout=limits.write_timeout,
                on_stalled=cut_off,
                turn=self._turn,
            ),
            reader=receiver,
            limits=limits,
        )
        if isinstance(request.protocol, LimitedRequestHandler):
            request.protocol.upgrade(connection)
        return socket, connection, receiver

    async def _run(self, connection: Connection, receiver: Receiver) -> None:
        """Serve a client to its end; its socket is open, and its state is in Redis."""
        hooked = False
        try:
            try:
                # It may have been revoked meanwhile; from now on a revocation finds it in the hub.
                self._authenticators.check(connection.identity, connection.id)
                self._hub.add(connection)
                hooked = True
                await self._hooks.connected(connection)
            except RefusedError as refused:
                connection.close(refused.code)
            except Error as error:
                connection.refuse(None, error)
                code = CloseCode.UNAVAILABLE if error.retryable else CloseCode.FORBIDDEN
                connection.close(code, error.code)
            else:
                await self._welcome(connection)
                self._expiry.watch(connection)
            await receiver.run(connection)
            await finish_close_handshake(connection, receiver)
        finally:
            self._expiry.forget(connection)
            await stop_requests(connection)
            self._topics.leave_all(connection)
            self._agents.leave(connection)
            connection.release()
            if hooked:
                await self._hooks.disconnected(connection)
            _log.debug(
                "closed",
                connection=connection.id,
                code=None if connection.closing is None else int(connection.closing),
            )

    async def _welcome(self, connection: Connection) -> None:
        """Send the welcome, with the topics it is a member of from the start, then their events."""
        try:
            own = await self._topics.join_own(connection)
        except Error as error:
            connection.refuse(None, error)
            connection.close(CloseCode.UNAVAILABLE)
            return
        membership = connection[MEMBERSHIP]
        joins: list[PendingJoin] = [*own, *(membership.early_joins or ())]
        membership.early_joins = None
        limits = self._settings.limits
        connection.send(
            connection.codec.welcome(
                connection=connection.id,
                user=connection.user,
                heartbeat=self._settings.connections.heartbeat,
                limits={"message_bytes": limits.message_bytes, "in_flight": limits.in_flight},
                topics={join.topic: join.position._asdict() for join in joins},
            )
        )
        for join in joins:
            join.activate()
        membership.given = len(membership.joined)

    async def _remove(self, connection: Connection | NewConnection) -> None:
        """Remove a connection that has ended, or was never opened, from the hub and from Redis."""
        self._hub.discard(connection.id)
        try:
            await self._store.remove(connection)
        except Error:  # Redis is away: the TTL removes it
            _log.debug("left to its TTL", connection=connection.id)


#: The key of an application's sessions.
SESSIONS: Final = web.AppKey("jackfield.sessions", Sessions)


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve one client of ``/ws`` from its upgrade to its end."""
    if request.headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        error = Error("invalid_message", "This is a WebSocket endpoint.")
        return problem(error, 426, {hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "upgrade"})
    try:
        return await request.app[SESSIONS].serve(request)
    except web.HTTPBadRequest:
        return problem(Error("invalid_message", "The WebSocket handshake is not valid."), 400)
    except ConnectionResetError:  # it left during the handshake: nobody reads an answer
        return web.Response()


def _unavailable(error: Error) -> web.Response:
    retry_after = max(1, round(error.extra.get("retry_after", 1)))
    return problem(error, 503, {hdrs.RETRY_AFTER: str(retry_after)})
