"""One-time tickets: what a page connects with that can send no header and has no cookie.

An application's server, which knows the user, gets one from the server API and gives it to the
page. A ticket is 256 random bits, valid for one connection and a few seconds, and so may stand in a
URL.
"""

import re
import secrets
from typing import Any, Final

from aiohttp import web

from jackfield.store.tickets import TicketStore
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity

from . import Credentials

#: Where an application has the tickets that the server API issues.
TICKETS: Final = web.AppKey("jackfield.tickets", TicketStore)

#: What every ticket starts with, so that it is distinguishable from other tokens.
_PREFIX: Final = "jft_"
_BYTES: Final = 32
_TICKET: Final = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)


def new_ticket() -> str:
    """Make a ticket that nobody can guess; it is valid once it is written with its grant."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def grant(identity: Identity) -> dict[str, Any]:
    """Return what is written with a ticket: the identity that it proves."""
    return {
        "user": identity.user,
        "scopes": sorted(identity.scopes),
        "expires_at": identity.expires_at,
        "token_id": identity.token_id,
    }


class TicketAuthenticator:
    """Accepts tickets from a URL or a message, each of them once."""

    def __init__(self, config: object = None) -> None:
        """Take no configuration: the server API, which issues tickets, has it."""

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Return the identity that a ticket proves; None for what is not a ticket."""
        if credentials.source not in ("ticket", "message"):
            return None
        ticket = credentials.token
        if credentials.source == "message" and not ticket.startswith(_PREFIX):
            return None
        granted = None
        if _TICKET.fullmatch(ticket):
            granted = await credentials.request.app[TICKETS].take(ticket)
        if granted is None:
            raise Error("unauthenticated", "The ticket is not valid: it is too old, or used.")
        return Identity(**{**granted, "scopes": frozenset(granted["scopes"])})
