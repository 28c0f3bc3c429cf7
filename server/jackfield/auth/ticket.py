"""One-time tickets: what a page connects with that can send no header, and that has no cookie.

A server that knows who its user is asks for one over the server API, and hands it to the page. It
is 256 random bits, good for one connection and a few seconds, and so may stand in a URL.
"""

import re
import secrets
from typing import Any, Final

from aiohttp import web

from jackfield.store.tickets import TicketStore
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity

from . import Credentials

#: Where an application has the tickets that the server API gives out.
TICKETS: Final = web.AppKey("jackfield.tickets", TicketStore)

#: What every ticket starts with, so that one can be told from other tokens.
_PREFIX: Final = "jft_"
_BYTES: Final = 32
_TICKET: Final = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)


def new_ticket() -> str:
    """A ticket that nobody can guess; it is worth nothing until it is written."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def grant(identity: Identity) -> dict[str, Any]:
    """What is written with a ticket: whom it lets in."""
    return {
        "user": identity.user,
        "scopes": sorted(identity.scopes),
        "expires_at": identity.expires_at,
        "token_id": identity.token_id,
    }


class TicketAuthenticator:
    """Takes tickets from a URL or a message, each of them once."""

    def __init__(self, config: object = None) -> None:
        """What there is to configure is about the server API, which gives tickets out."""

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Whose a ticket is; None for what is no ticket."""
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
