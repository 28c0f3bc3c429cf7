"""A live connection's change of identity: `auth.refresh`, and what follows from it."""

from typing import TYPE_CHECKING

from jackfield.wire.errors import Error

from . import Credentials
from .chain import RefusedError

if TYPE_CHECKING:
    from jackfield.connection.connection import Connection


async def refresh(connection: "Connection", token: str) -> float | None:
    """Swap the identity of a connection for a new one of the same user.

    What the new one may no longer do ends: requests that need a scope which is gone are stopped,
    and topics are left.

    Args:
        connection: The connection.
        token: What proves the new identity.

    Returns:
        When it runs out, in seconds since the epoch; None if never.

    Raises:
        Error: ``unauthenticated`` or ``token_expired``: the token is not valid; ``forbidden``: it
            is somebody else's; ``unavailable``. Nothing has changed then.
    """
    node = connection.node
    try:
        credentials = Credentials("message", token, connection.request)
        identity = await node.authenticators.identify(credentials)
    except RefusedError as refused:
        raise refused.error from None
    if identity is None or identity.user != connection.user:
        raise Error("forbidden", "The token is another user's.")
    connection.identity = identity
    try:
        # It may have been revoked, or the connection, while that was found out.
        node.authenticators.check(identity, connection.id)
    except RefusedError as refused:
        connection.close(refused.code)
        raise refused.error from None
    node.expiry.watch(connection)
    for request in list(connection.requests.values()):
        needed = request.route.scopes
        if not needed <= identity.scopes:
            request.stop(Error("forbidden", scopes=sorted(needed)))
    node.agents.check_again(connection)
    await node.access.check_again(connection)
    return identity.expires_at
