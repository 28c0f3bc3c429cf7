"""What a connection knows of a message type is what the type was declared with."""

from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions, RunningRequest
from jackfield.wire.rates import Rate
from tests.support.connected import Connected


def options(message_type: str = "a.b", *, timeout: float | None = None) -> MessageOptions:
    return MessageOptions(
        message_type,
        scopes=frozenset({"a"}),
        rate=Rate(1, 1),
        streams=True,
        concurrent=False,
        timeout=timeout,
    )


def test_the_options_are_kept_as_they_are() -> None:
    made = options("a.b", timeout=2.5)
    assert (made.type, made.scopes, made.rate) == ("a.b", frozenset({"a"}), Rate(1, 1))
    assert (made.streams, made.concurrent, made.timeout) == (True, False, 2.5)


def test_each_type_is_a_key_of_its_own() -> None:
    assert len({options(), options()}) == 2


async def test_a_request_is_what_a_connection_knows_as_running() -> None:
    running: RunningRequest = Request(Connected().connection, options(), 1, {})
    assert running.options.type == "a.b"
    assert running.task is None
