"""`AuthenticatorChain`: ask the authenticators of a node in turn, and refuse what is revoked."""

import asyncio
from collections.abc import Sequence
from typing import Final

from jackfield.telemetry.incidents import error_of
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity, is_token_id, is_user

from . import MAX_TOKEN_LENGTH, Authenticator, Credentials
from .revocations import Revocations

#: Seconds that one authenticator may take: meanwhile the client is unauthenticated, and has one of
#: the few permits of such.
_TIMEOUT: Final = 10.0
#: Seconds after which to try again where an authenticator has failed.
_RETRY_AFTER: Final = 5.0


class RefusedError(Exception):
    """A client is not accepted.

    Args:
        error: Why.
        code: The code to close its connection with.
    """

    def __init__(self, error: Error, code: CloseCode) -> None:
        self.error = error
        self.code = code
        super().__init__(str(error))


class AuthenticatorChain:
    """The authenticators of one node.

    Args:
        authenticators: Asked in turn.
        revocations: What is revoked: refused whatever they say.
    """

    def __init__(
        self,
        authenticators: Sequence[Authenticator],
        revocations: Revocations,
    ) -> None:
        self._authenticators = authenticators
        self._revocations = revocations

    async def identify(self, credentials: Credentials) -> Identity | None:
        """Find out who sent something.

        Returns:
            The identity; None for a client that sent nothing, and may still send something.

        Raises:
            RefusedError: It is not accepted.
        """
        try:
            identity = await self._ask(credentials)
        except Error as error:
            code = CloseCode.UNAUTHENTICATED
            if error.code == "token_expired":
                code = CloseCode.TOKEN_EXPIRED
            elif error.retryable:
                code = CloseCode.UNAVAILABLE
            raise RefusedError(error, code) from None
        if identity is not None:
            self.check(identity)
        return identity

    def check(self, identity: Identity, connection_id: str | None = None) -> None:
        """Refuse an identity, or a connection, that is revoked.

        Raises:
            RefusedError: It is, or it is not known yet whether it is.
        """
        if not self._revocations.is_ready:
            raise RefusedError(
                Error("unavailable", retry_after=_RETRY_AFTER), CloseCode.UNAVAILABLE
            )
        if self._revocations.is_revoked(identity, connection_id):
            raise RefusedError(Error("unauthenticated", "The token is revoked."), CloseCode.REVOKED)

    async def _ask(self, credentials: Credentials) -> Identity | None:
        if len(credentials.token) > MAX_TOKEN_LENGTH:
            raise Error("unauthenticated", "The token is too long.")
        failed = False
        for authenticator in self._authenticators:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    identity = await authenticator.authenticate(credentials)
            except Error:
                raise
            except Exception as exc:  # noqa: BLE001 - it may be anyone's, and raise anything
                error_of(exc, authenticator=type(authenticator).__name__)
                failed = True
                continue
            if identity is not None:
                _check_ids(identity)
                return identity
        if failed:  # the one that failed might have known it
            raise Error("unavailable", retry_after=_RETRY_AFTER)
        if credentials.source != "none" or not self._authenticators:
            raise Error("unauthenticated", "No authenticator knows it.")
        return None


def _check_ids(identity: Identity) -> None:
    """Refuse ids that can't be named in a topic or a revocation, whoever has made them.

    Raises:
        Error: ``unauthenticated``.
    """
    if identity.user is not None and not is_user(identity.user):
        raise Error("unauthenticated", "The user's id has characters that no id may have.")
    if identity.token_id is not None and not is_token_id(identity.token_id):
        raise Error("unauthenticated", "The token's id has characters that no id may have.")
