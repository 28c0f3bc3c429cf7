"""aiohttp's WebSocket says when a client breaks the protocol, and closes nothing itself."""

import pytest

from jackfield.connection.websocket import Socket
from jackfield.wire.close_codes import CloseCode


def socket(violations: list[CloseCode]) -> Socket:
    return Socket("jackfield.v1", message_bytes=100, on_violation=violations.append)


@pytest.mark.parametrize(
    "code", [CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_TEXT, CloseCode.MESSAGE_TOO_BIG]
)
async def test_a_violation_is_reported_with_its_code(code: CloseCode) -> None:
    violations: list[CloseCode] = []
    made = socket(violations)
    assert await made.close(code=code, message=b"aiohttp's words")
    assert violations == [code]
    assert not made.closed


async def test_the_end_of_a_request_is_no_violation() -> None:
    violations: list[CloseCode] = []
    assert await socket(violations).close()
    assert violations == []
