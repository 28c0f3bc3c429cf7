"""The address and the token of a connection, and a server that is not there."""

from typing import Any

import pytest

from jackfield.cli.connecting import connected
from jackfield.cli.terminal import Failure
from tests.support.commands import lines, run
from tests.support.peer import Peer, serve


def test_a_token_with_a_line_end_in_it_never_becomes_a_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "secret\r\nX-Evil: 1")
    result = run("call", "x.y", "--token-env", "TOKEN")
    assert result.exit_code == 2
    assert "secret" not in result.output


def test_a_server_that_is_not_there_exits_with_3(refusing_url: str) -> None:
    result = run("call", "session.ping", "--url", refusing_url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(lines(result.stderr)) == 1
    assert "cannot be reached: Connection refused." in result.stderr


@pytest.mark.parametrize("url", ["", "localhost", "ws://[::1", "ws://127.0.0.1:99999/ws"])
def test_an_address_that_is_none_exits_with_3(url: str) -> None:
    result = run("call", "session.ping", "--url", url)
    assert result.exit_code == 3
    assert "is not an address like ws://host:port/path" in result.stderr


def test_the_address_may_stand_in_a_variable_which_no_configuration_minds(
    refusing_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_URL", refusing_url)
    result = run("call", "session.ping")
    assert refusing_url.split("/")[2] in result.stderr
    assert run("check").exit_code == 0


async def test_an_error_is_told_with_all_that_helps() -> None:
    async def refuse(peer: Peer, message: dict[str, Any]) -> None:
        fields = [
            {"pointer": "/a", "code": "required", "message": "Missing."},
            {"pointer": "/long", "code": "type", "message": "Not a number."},
        ]
        error = {"code": "forbidden", "message": "No.", "fields": fields, "incident": "4f1c"}
        more = {"suggestions": ["a.b", "a.c"], "scopes": ["x", "y"], "retry_after": 2}
        await peer.send("error", id=message["id"], error={**error, **more})

    async with serve() as server:
        server.answer = refuse
        with pytest.raises(Failure, match="forbidden: No") as failure:
            async with connected(server.url, None, 10) as client:
                await client.request("a.d")
    assert failure.value.exit_code == 1
    assert list(failure.value.details) == [
        "  /a     required  Missing.",
        "  /long  type      Not a number.",
        "  Did you mean a.b or a.c?",
        "  It needs the scopes x, y.",
        "  The server's log has more under incident 4f1c.",
        "  Try again in 2 s.",
    ]


async def test_a_connection_that_is_lost_fails_the_command() -> None:
    async def cut(peer: Peer, _message: dict[str, Any]) -> None:
        peer.cut()

    async with serve() as server:
        server.answer = cut
        with pytest.raises(Failure, match="The connection is closed") as failure:
            async with connected(server.url, None, 10) as client:
                await client.request("a.d")
    assert failure.value.exit_code == 1
