"""aiohttp's WebSocket without its closing: the connection closes, through its outbox."""

from collections.abc import Callable
from typing import Literal

from aiohttp import WSCloseCode, hdrs, web

from jackfield.wire.close_codes import CloseCode


class Socket(web.WebSocketResponse[Literal[False]]):
    """A WebSocket that leaves closing to its connection.

    aiohttp's `close` writes past the outbox, and with a client that doesn't read it can wait longer
    than its timeout. aiohttp calls it at the end of a request, and in `receive` when the client
    breaks RFC 6455; only the latter needs an answer.

    Args:
        codec_name: The subprotocol.
        extensions: What was agreed on with the client, for ``Sec-WebSocket-Extensions``.
        message_bytes: Bytes of a message, at most.
        on_violation: Called with the close code when the client breaks RFC 6455.
    """

    def __init__(
        self,
        codec_name: str,
        *,
        extensions: str | None = None,
        message_bytes: int,
        on_violation: Callable[[CloseCode], None],
    ) -> None:
        super().__init__(
            protocols=(codec_name,),
            compress=False,  # it inflates without a bound per turn: see `session.inflation`
            # aiohttp refuses a message *of* the size it is given.
            max_msg_size=message_bytes + 1,
            decode_text=False,
            autoping=False,
            autoclose=False,
        )
        if extensions is not None:
            self.headers[hdrs.SEC_WEBSOCKET_EXTENSIONS] = extensions
        self._on_violation = on_violation

    async def close(
        self,
        *,
        code: int = WSCloseCode.OK,
        message: bytes = b"",  # noqa: ARG002 - aiohttp's words; the protocol has its own
        drain: bool = True,  # noqa: ARG002
    ) -> bool:
        """Report a violation of RFC 6455 to the connection; close nothing."""
        if code != WSCloseCode.OK:
            self._on_violation(CloseCode(code))
        return True
