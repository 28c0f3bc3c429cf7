"""The close codes: when each of them is sent, by whom, and whether to connect again after it."""

from enum import IntEnum
from typing import Final, Literal, NamedTuple


class CloseCode(IntEnum):
    """WebSocket close codes (RFC 6455, section 7.4); `CLOSE_CODES` tells of each.

    4000 to 4499 ask the client to reconnect with back-off; 4500 to 4999 tell it not to.
    """

    OK = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SHUTDOWN = 4001
    TOKEN_EXPIRED = 4002
    SLOW_CONSUMER = 4003
    NO_PONG = 4004
    TOO_MANY_REQUESTS = 4005
    UNAVAILABLE = 4006
    BAD_REQUEST = 4500
    UNAUTHENTICATED = 4501
    REVOKED = 4502
    FORBIDDEN = 4503
    CONNECTION_LIMIT = 4504
    AUTHENTICATION_TIMEOUT = 4505

    @property
    def reconnect(self) -> bool:
        """Whether the client is asked to connect again."""
        return 4000 <= self < 4500  # noqa: PLR2004 - the ranges of the protocol


class CloseSpec(NamedTuple):
    """What is fixed about a close code.

    Attributes:
        sender: Who closes with it.
        reason: The words beside it, at most 123 bytes (RFC 6455, section 5.5). A close may have
            others, where `when` says so.
        when: When it is sent, in the words of the guide's table: "you" is the client.
    """

    sender: Literal["server", "client", "either", "nobody"]
    reason: str
    when: str


#: Every close code. The guide's table says the same in the same words.
CLOSE_CODES: Final[dict[CloseCode, CloseSpec]] = {
    CloseCode.OK: CloseSpec(
        "either",
        "",
        "you closed; with the reason `idle`, you sent no message for `limits.idle_timeout`",
    ),
    CloseCode.GOING_AWAY: CloseSpec("client", "going away", "a browser's page goes"),
    CloseCode.PROTOCOL_ERROR: CloseSpec(
        "either", "protocol error", "the other side broke RFC 6455"
    ),
    CloseCode.UNSUPPORTED_DATA: CloseSpec(
        "server",
        "unsupported kind of frame",
        "a binary frame came where text is spoken, or the reverse",
    ),
    CloseCode.INVALID_TEXT: CloseSpec("server", "text is not UTF-8", "a text frame was not UTF-8"),
    CloseCode.MESSAGE_TOO_BIG: CloseSpec(
        "server",
        "message too big",
        "a message was past `limits.message_bytes`, or its frames did not end",
    ),
    CloseCode.INTERNAL_ERROR: CloseSpec("nobody", "internal error", "not in this version"),
    CloseCode.SHUTDOWN: CloseSpec(
        "server",
        "shutdown",
        "the server is stopped, or was asked to disconnect you (the reason is then `disconnected`)",
    ),
    CloseCode.TOKEN_EXPIRED: CloseSpec(
        "server", "token expired", "your token has run out, before you connected or since"
    ),
    CloseCode.SLOW_CONSUMER: CloseSpec(
        "server",
        "slow consumer",
        "you did not read what was sent. The line is cut and no close frame is sent, as you "
        "would not read it: your side sees 1006",
    ),
    CloseCode.NO_PONG: CloseSpec(
        "server", "no pong", "nothing came from you for a whole heartbeat"
    ),
    CloseCode.TOO_MANY_REQUESTS: CloseSpec(
        "server",
        "too many requests",
        "you went on sending at more than twice `limits.requests_per_second`, or sent frame "
        "after frame and not who you are",
    ),
    CloseCode.UNAVAILABLE: CloseSpec(
        "server",
        "unavailable",
        "a plugin could not take the connection for now (its error comes first, with "
        '`"id":null`, and its code is the reason), Redis or what knows tokens is away, the '
        "server stood still for so long that the others have taken it for dead, or the agent "
        "that you are has been taken for dead",
    ),
    CloseCode.BAD_REQUEST: CloseSpec("nobody", "bad request", "not in this version"),
    CloseCode.UNAUTHENTICATED: CloseSpec(
        "server",
        "unauthenticated",
        "no authenticator knew you, or your first message did not say who you are",
    ),
    CloseCode.REVOKED: CloseSpec(
        "server", "revoked", "your token, your user or this connection was revoked"
    ),
    CloseCode.FORBIDDEN: CloseSpec(
        "server",
        "forbidden origin or protocol",
        "the page's origin is not in `[auth] origins`, no subprotocol fits, or a plugin "
        'refused the connection (its error comes first, with `"id":null`, and its code is the '
        "reason)",
    ),
    CloseCode.CONNECTION_LIMIT: CloseSpec(
        "server",
        "connection limit",
        "the server, your address or your user has as many connections as there may be",
    ),
    CloseCode.AUTHENTICATION_TIMEOUT: CloseSpec(
        "server",
        "did not authenticate in time",
        "you were to say who you are by your first message, and sent none for `auth.timeout`, "
        "or so many others waited to that you had to make room",
    ),
}

#: The words that stand beside each close code.
CLOSE_REASONS: Final = {code: spec.reason for code, spec in CLOSE_CODES.items()}
