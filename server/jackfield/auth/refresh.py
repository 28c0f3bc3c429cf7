"""A live connection's change of identity: `auth.refresh`, and what follows from it."""

from collections.abc import Awaitable, Callable, Sequence

from jackfield.connection.connection import Connection
from jackfield.wire.errors import Error

from . import Credentials
from .chain import AuthenticatorChain, RefusedError
from .expiry import Expiry


class IdentityRefresh:
    """Swaps the identity of live connections.

    Args:
        authenticators: What tells whose a token is.
        expiry: What watches when identities run out.
        check_again: Called with a connection whose identity has changed: each takes from it what
            it may not have any more.
    """

    def __init__(
        self,
        authenticators: AuthenticatorChain,
        expiry: Expiry,
        check_again: Sequence[Callable[[Connection], Awaitable[None]]],
    ) -> None:
        self._authenticators = authenticators
        self._expiry = expiry
        self._check_again = check_again

    async def refresh(self, connection: Connection, token: str) -> float | None:
        """Swap the identity of a connection for a new one of the same user.

        What the new one may no longer do ends: requests that need a scope which is gone are
        stopped, and topics are left.

        Args:
            connection: The connection.
            token: What proves the new identity.

        Returns:
            When it runs out, in seconds since the epoch; None if never.

        Raises:
            Error: ``unauthenticated`` or ``token_expired``: the token is not valid; ``forbidden``:
                it is somebody else's; ``unavailable``. Nothing has changed then.
        """
        try:
            credentials = Credentials("message", token, connection.request)
            identity = await self._authenticators.identify(credentials)
        except RefusedError as refused:
            raise refused.error from None
        if identity is None or identity.user != connection.user:
            raise Error("forbidden", "The token is another user's.")
        connection.identify(identity)
        try:
            # It may have been revoked, or the connection, while that was found out.
            self._authenticators.check(identity, connection.id)
        except RefusedError as refused:
            connection.close(refused.code)
            raise refused.error from None
        self._expiry.watch(connection)
        for request in list(connection.requests.values()):
            needed = request.options.scopes
            if not needed <= identity.scopes:
                request.stop(Error("forbidden", scopes=sorted(needed)))
        for check in self._check_again:
            await check(connection)
        return identity.expires_at
