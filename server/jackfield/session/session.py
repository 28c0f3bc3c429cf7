"""One client of ``/ws``, from its upgrade to its end: let in or turned away, served, cleaned up.

Who it is and how it speaks is found out by `handshake`; `receiver` reads what it sends.
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
from jackfield.connection.outbox import CompressedOutbox, Outbox, Turn
from jackfield.connection.permits import FullError, Permit, Permits
from jackfield.connection.proxies import TrustedProxies
from jackfield.connection.websocket import Socket
from jackfield.dispatch.dispatcher import Dispatcher
from jackfield.store.connections import ConnectionStore
from jackfield.telemetry.log import SparingLog
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
from .request_heads import GuardedHandler

_log = structlog.get_logger("jackfield")

_GOING: Final = Error("unavailable", "The server is shutting down.", retry_after=1.0)


class Sessions:
    """Serves the clients of one node.

    Args:
        settings: The server's settings.
        hub: Where connections are entered while they are open.
        permits: How many connections there may be.
        proxies: What tells a client's address.
        authenticators: What tells who a client is.
        expiry: What watches when identities run out.
        store: The connections' state in Redis.
        dispatcher: What is done with a message.
        topics: The node's topics.
        agents: The node's agents.
        hooks: The plugins' hooks.
        log: Where to tell of strangers.
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
        log: SparingLog,
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
        self._turn = Turn()

    # Letting in.

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Let a client in, or turn it away, and serve it to its end."""
        remote = self._proxies.client(request)
        try:
            with self._permits.take(remote) as permit:
                return await self._admit(request, remote, permit)
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

    async def _admit(self, request: web.Request, remote: str, permit: Permit) -> web.StreamResponse:
        """Let a client in, at once or once it has said who it is.

        Raises:
            RefusedError: It is not let in.
            FullError: There are as many connections as may be.
            aiohttp.web.HTTPBadRequest: It does not shake hands as it should.
        """
        if self._hub.draining:
            raise RefusedError(_GOING, CloseCode.UNAVAILABLE)
        identity, codec = await admit(request, self._settings.auth, self._authenticators)
        user = None if identity is None else identity.user
        record = NewConnection(secrets.token_urlsafe(12), user, remote)
        if identity is None:
            return await self._introduce(request, record, codec, permit)
        permit.identify(user)
        return await self._connect(request, record, codec, identity)

    async def _connect(
        self, request: web.Request, record: NewConnection, codec: Codec, identity: Identity
    ) -> web.StreamResponse:
        """Serve a client that is let in, with its state in Redis for as long as it is here."""
        try:
            await self._store.add(record)
        except Error as error:
            return _unavailable(error)
        try:
            socket, connection, receiver = await self._open(request, record, codec, identity)
            await self._serve(connection, receiver)
        finally:
            await self._remove(record)
        return socket

    async def _introduce(
        self, request: web.Request, record: NewConnection, codec: Codec, permit: Permit
    ) -> web.StreamResponse:
        """Serve a client that has yet to say who it is: before it does, there is nothing of it."""
        socket, connection, receiver = await self._open(request, record, codec, ANONYMOUS)
        permit.await_identity(partial(connection.close, CloseCode.AUTHENTICATION_TIMEOUT))
        try:
            if await self._learn_identity(connection, receiver, permit):
                try:
                    await self._serve(connection, receiver)
                finally:
                    await self._remove(connection)
            else:
                if receiver.last is None:
                    await receiver.run(connection)
                await finish_close_handshake(connection, receiver)
        finally:
            connection.gone()
        return socket

    async def _learn_identity(
        self, connection: Connection, receiver: Receiver, permit: Permit
    ) -> bool:
        """Wait until a client has said who it is, and write its state.

        Returns:
            False if it has gone, or is closed.
        """
        timeout = self._settings.auth.timeout
        try:
            with self._hub.waiting(connection):
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
            self._close_stranger(connection, exc)
        return False

    # Turning away.

    def _close_stranger(
        self, connection: Connection, cause: RefusedError | FullError | Error
    ) -> None:
        """Close the connection of a client that has said who it is, or not, to no avail."""
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
        """Accept the upgrade only to close it: a page can read a close code, but no HTTP status."""
        reason = CLOSE_REASONS[code]
        self._log.info("turned a client away", reason=reason, **where)
        try:
            with self._permits.take_leave():
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

    # Serving.

    async def _open(
        self, request: web.Request, record: NewConnection, codec: Codec, identity: Identity
    ) -> tuple[Socket, Connection, Receiver]:
        """Upgrade the request, and make the connection of its socket."""
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
        elif isinstance(request.protocol, GuardedHandler) and not transport.get_extra_info(
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
        if isinstance(request.protocol, GuardedHandler):
            request.protocol.upgrade(connection)
        return socket, connection, receiver

    async def _serve(self, connection: Connection, receiver: Receiver) -> None:
        """Serve a client whose socket is open and whose state is in Redis, to its end."""
        hooked = False
        try:
            try:
                # It may have been revoked on its way here; from now on it is found in the hub.
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
            connection.gone()
            if hooked:
                await self._hooks.disconnected(connection)
            _log.debug(
                "closed",
                connection=connection.id,
                code=None if connection.closing is None else int(connection.closing),
            )

    async def _welcome(self, connection: Connection) -> None:
        """Welcome a client, with the topics it is in from the first: events come behind that."""
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
        """A connection has ended, or was never opened: remove its state."""
        self._hub.discard(connection.id)
        try:
            await self._store.remove(connection)
        except Error:  # Redis is away: its TTL removes it
            _log.debug("left to its TTL", connection=connection.id)


#: Where an application has what serves its clients.
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
    except ConnectionResetError:  # it left during the handshake: nobody is there to be answered
        return web.Response()


def _unavailable(error: Error) -> web.Response:
    retry_after = max(1, round(error.extra.get("retry_after", 1)))
    return problem(error, 503, {hdrs.RETRY_AFTER: str(retry_after)})
