"""Close codes are the wire contract: the table of the protocol, word for word."""

import pytest

from jackfield.wire.close_codes import CLOSE_CODES, CloseCode, CloseSpec

OWN_CLOSE_CODES = {
    4001: "shutdown",
    4002: "token expired",
    4003: "slow consumer",
    4004: "no pong",
    4005: "too many requests",
    4006: "unavailable",
    4500: "bad request",
    4501: "unauthenticated",
    4502: "revoked",
    4503: "forbidden origin or protocol",
    4504: "connection limit",
    4505: "did not authenticate in time",
}
#: RFC 6455, section 7.4.1.
WEBSOCKET_CLOSE_CODES = {1000, 1001, 1002, 1003, 1007, 1009, 1011}


def test_the_close_codes_and_their_reasons_are_those_of_the_protocol() -> None:
    own = {code.value: spec.reason for code, spec in CLOSE_CODES.items() if code >= 4000}
    assert own == OWN_CLOSE_CODES
    assert {code.value for code in CloseCode if code < 4000} == WEBSOCKET_CLOSE_CODES


def test_of_every_code_the_table_tells_when_it_is_sent_and_by_whom() -> None:
    assert list(CLOSE_CODES) == list(CloseCode)
    for spec in CLOSE_CODES.values():
        assert spec.when
        assert (spec.when == "not in this version") is (spec.sender == "nobody")


@pytest.mark.parametrize("spec", CLOSE_CODES.values(), ids=lambda spec: spec.reason)
def test_a_reason_fits_its_frame(spec: CloseSpec) -> None:
    assert len(spec.reason.encode()) <= 123


def test_only_the_server_closes_with_codes_of_the_protocols_own() -> None:
    senders = {spec.sender for code, spec in CLOSE_CODES.items() if code >= 4000}
    assert senders == {"server", "nobody"}


@pytest.mark.parametrize("code", CloseCode)
def test_only_4000_to_4499_ask_the_client_to_come_back(code: CloseCode) -> None:
    assert code.reconnect is (code.value in range(4000, 4500))
