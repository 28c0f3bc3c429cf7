"""The close codes, and what each of them promises."""

from enum import IntEnum


class CloseCode(IntEnum):
    """WebSocket close codes (RFC 6455, section 7.4).

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


#: The words that stand beside a close code, at most 123 bytes (RFC 6455, section 5.5).
CLOSE_REASONS: dict[CloseCode, str] = {
    CloseCode.OK: "",
    CloseCode.GOING_AWAY: "going away",
    CloseCode.PROTOCOL_ERROR: "protocol error",
    CloseCode.UNSUPPORTED_DATA: "unsupported kind of frame",
    CloseCode.INVALID_TEXT: "text is not UTF-8",
    CloseCode.MESSAGE_TOO_BIG: "message too big",
    CloseCode.INTERNAL_ERROR: "internal error",
    CloseCode.SHUTDOWN: "shutdown",
    CloseCode.TOKEN_EXPIRED: "token expired",
    CloseCode.SLOW_CONSUMER: "slow consumer",
    CloseCode.NO_PONG: "no pong",
    CloseCode.TOO_MANY_REQUESTS: "too many requests",
    CloseCode.UNAVAILABLE: "unavailable",
    CloseCode.BAD_REQUEST: "bad request",
    CloseCode.UNAUTHENTICATED: "unauthenticated",
    CloseCode.REVOKED: "revoked",
    CloseCode.FORBIDDEN: "forbidden origin or protocol",
    CloseCode.CONNECTION_LIMIT: "connection limit",
    CloseCode.AUTHENTICATION_TIMEOUT: "did not authenticate in time",
}
