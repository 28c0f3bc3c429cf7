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
from jackfield.connection.connection import Connection
from jackfield.connection.hub import Hub
from jackfield.connection.new_connection import NewConnection
from jackfield.connection.outbox import CompressedOutbox, LoopTurn, Outbox
from jackfield.connection.permits import FullError, Permit, Permits
from jackfield.connection.proxies import TrustedProxies
from jackfield.connection.shares import Shares
from jackfield.connection.websocket import Socket
from jackfield.dispatch.dispatcher import Dispatcher
from jackfield.store.connections import ConnectionStore
from jackfield.telemetry.log import RateLimitedLog
from jackfield.topics.membership import MEMBERSHIP, PendingJoin
from jackfield.topics.topics import Topics
from jackfield.wire import protocol
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.deflate import Compressor, Deflate, agree
from jackfield.wire.deflated_frames import DeflatedFrames
from jackfield.wire.errors import Error
from jackfield.wire.identity import ANONYMOUS, Identity
from jackfield.wire.problem import problem
from jackfield.wire.protocol import Codec

from .closing import finish_close_handshake, stop_requests
from .connection_hooks import ConnectionHooks
from .handshake import admit, bad_handshake, identify_by_message, refuse_upgrade
from .inflation import Inflation
from .receiver import Receiver
from .refusals import Refusals
from .request_heads import LimitedRequestHandler
from .told_limits import told_limits

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
        shares: What clients may keep in Redis.
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
        shares: Shares,
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
        self._shares = shares
        self._hooks = hooks
        self._log = log
        self._turn = LoopTurn()
        self._inflation = Inflation()
        # Connections that nobody has any more are found within a heartbeat.
        self._refusals = Refusals(permits, log, full_for=settings.connections.heartbeat)
        self._told_limits = told_limits(settings.limits)

    # The handshake.

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a client to its end, or turn it away."""
        remote = self._proxies.client_address(request)
        try:
            with self._permits.take(remote) as permit:
                return await self._handshake(request, remote, permit)
        except (RefusedError, FullError) as cause:
            return await self._refusals.turn_away(request, cause, remote)

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
        return await self._serve_authenticated(request, record, codec, identity, permit)

    async def _serve_authenticated(
        self,
        request: web.Request,
        record: NewConnection,
        codec: Codec,
        identity: Identity,
        permit: Permit,
    ) -> web.StreamResponse:
        """Serve a client whose request authenticates it; its state is in Redis meanwhile."""
        try:
            await self._store.add(record)
        except Error as error:
            return problem(error, 503)
        try:
            socket, connection, receiver = await self._upgrade(request, record, codec, identity)
            permit.on_displaced(partial(connection.close, CloseCode.DISPLACED))
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
                permit.on_displaced(partial(connection.close, CloseCode.DISPLACED))
                await self._store.add(connection)
                return True
        except (RefusedError, FullError, Error) as exc:
            self._refusals.close(connection, exc)
        return False

    # The session.

    async def _upgrade(
        self, request: web.Request, record: NewConnection, codec: Codec, identity: Identity
    ) -> tuple[Socket, Connection, Receiver]:
        """Upgrade the request, and make the connection."""
        limits = self._settings.limits

        def violated(code: CloseCode) -> None:
            connection.close(code)

        client, server = request.protocol, self._settings.server
        deflate: Deflate | None = None
        if server.compression and isinstance(client, LimitedRequestHandler):
            offers = request.headers.getall(hdrs.SEC_WEBSOCKET_EXTENSIONS, ())
            deflate = agree(offers, server.compression_window)
            if deflate is not None:
                client.inflate(DeflatedFrames(deflate, limits.message_bytes), self._inflation)
        socket = Socket(
            codec.name,
            extensions=None if deflate is None else deflate.header,
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
        if deflate is not None:
            outbox = partial(CompressedOutbox, compressor=Compressor(deflate))
        elif isinstance(client, LimitedRequestHandler) and not transport.get_extra_info(
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
        if isinstance(client, LimitedRequestHandler):
            client.upgrade(connection)
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
                connection.close(refused.code, after=refused.error.retry_after)
            except Error as error:
                connection.refuse(None, error)
                code = CloseCode.UNAVAILABLE if error.retryable else CloseCode.FORBIDDEN
                connection.close(code, error.code, after=error.retry_after)
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
            self._shares.leave(connection)
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
            connection.close(CloseCode.UNAVAILABLE, after=error.retry_after)
            return
        membership = connection[MEMBERSHIP]
        joins: list[PendingJoin] = [*own, *(membership.early_joins or ())]
        membership.early_joins = None
        connection.send(
            connection.codec.welcome(
                connection=connection.id,
                user=connection.user,
                heartbeat=self._settings.connections.heartbeat,
                limits=self._told_limits,
                features=protocol.FEATURES,
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
    refusal = refuse_upgrade(request)
    if refusal is not None:
        return refusal
    try:
        return await request.app[SESSIONS].serve(request)
    except web.HTTPBadRequest:
        return bad_handshake()
    except ConnectionResetError:  # it left during the handshake: nobody reads an answer
        return web.Response()
