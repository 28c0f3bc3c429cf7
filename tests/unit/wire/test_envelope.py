"""What an envelope is, and every fault of one that is none: in both encodings."""

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from jackfield.wire.envelope import Envelope, MalformedError, NotUtf8Error
from jackfield.wire.protocol import JSON, MSGPACK, Codec
from tests.support.messages import both, encode, outcome, refusal, values

ID_FAULT = (
    "Must be an integer from 0 to 9007199254740991 or a string of 1 to 64 characters.",
    "/id",
    "invalid",
)


KEY_FAULT = ("Has keys that are not strings.", "", "invalid")


PAYLOAD_KEY_FAULT = ("Has keys that are not strings.", "/payload", "invalid")


def faults(codec: Codec, data: bytes) -> list[tuple[str, str, str]]:
    """What is wrong with an envelope: message, pointer and code of each fault."""
    error = refusal(codec, data).error.as_dict()
    assert error.pop("message") == "The message is not a valid envelope."
    assert (error["code"], error["retryable"]) == ("invalid_message", False)
    assert list(error) == ["code", "retryable", "fields"]
    return [(fault["message"], fault["pointer"], fault["code"]) for fault in error["fields"]]


@both
@pytest.mark.parametrize("message_id", [0, 7, 2**53 - 1, "x", "é" * 64, "7"])
def test_an_envelope_is_read_with_its_type_id_and_payload(codec: Codec, message_id: Any) -> None:
    message = {"type": "chat.send", "id": message_id, "payload": {"room": "lobby", "n": [1, None]}}
    envelope = codec.decode(encode(codec, message))
    assert envelope.type == "chat.send"
    assert envelope.id == message_id
    assert type(envelope.id) is type(message_id)
    assert envelope.payload == {"room": "lobby", "n": [1, None]}


@both
def test_id_and_payload_may_be_left_out(codec: Codec) -> None:
    envelope = codec.decode(encode(codec, {"type": "a"}))
    assert (envelope.type, envelope.id, envelope.payload) == ("a", UNSET, {})


@both
def test_envelopes_share_no_payload(codec: Codec) -> None:
    data = encode(codec, {"type": "a"})
    codec.decode(data).payload["left"] = "behind"
    assert codec.decode(data).payload == {}


@both
@pytest.mark.parametrize("message_type", ["a", "x" * 128, "é" * 128, "😀" * 128, "\x00", "A b"])
def test_any_text_of_1_to_128_characters_is_a_type(codec: Codec, message_type: str) -> None:
    assert codec.decode(encode(codec, {"type": message_type})).type == message_type


@both
@pytest.mark.parametrize("message", [None, True, 7, 1.5, "chat.send", [], [{"type": "a"}]])
def test_a_message_that_is_no_object_is_told_so(codec: Codec, message: Any) -> None:
    data = encode(codec, message)
    assert faults(codec, data) == [("Not an object.", "", "type")]
    assert refusal(codec, data).id is None


@both
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, ("Missing message type.", "/type", "required")),
        ({"type": None}, ("Not a string.", "/type", "invalid")),
        ({"type": 7}, ("Not a string.", "/type", "invalid")),
        ({"type": ["a"]}, ("Not a string.", "/type", "invalid")),
        ({"type": ""}, ("Must be 1 to 128 characters.", "/type", "length")),
        ({"type": "x" * 129}, ("Must be 1 to 128 characters.", "/type", "length")),
        ({"type": "é" * 129}, ("Must be 1 to 128 characters.", "/type", "length")),
        ({"type": "a", "payload": None}, ("Not an object.", "/payload", "type")),
        ({"type": "a", "payload": []}, ("Not an object.", "/payload", "type")),
        ({"type": "a", "payload": "{}"}, ("Not an object.", "/payload", "type")),
        ({"type": "a", "data": {}}, ("Unknown key.", "/data", "unknown")),
        ({"type": "a", "": 1}, ("Unknown key.", "/", "unknown")),
        ({"type": "a", "a/b~c": 1}, ("Unknown key.", "/a~1b~0c", "unknown")),
        ({"type": "a", "~1": 1}, ("Unknown key.", "/~01", "unknown")),
        ({"type": "a", "Type": "a"}, ("Unknown key.", "/Type", "unknown")),
        ({"type": "a", "\x00é": 1}, ("Unknown key.", "/\x00é", "unknown")),
    ],
    ids=lambda value: None if isinstance(value, tuple) else repr(value)[:40],
)
def test_one_fault_is_told_exactly_and_answered_under_its_id(
    codec: Codec, message: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert faults(codec, encode(codec, message)) == [expected]
    for message_id in (0, 2**53 - 1, "x"):
        data = encode(codec, {**message, "id": message_id})
        assert faults(codec, data) == [expected]
        assert refusal(codec, data).id == message_id


@both
@pytest.mark.parametrize(
    "message_id",
    [None, True, False, -1, 2**53, 2**63, 2**64 - 1, 0.0, 7.0, 7.5, "", "x" * 65, [], [7], {}],
    ids=repr,
)
def test_an_id_that_can_not_be_one_is_told_and_not_echoed(codec: Codec, message_id: Any) -> None:
    data = encode(codec, {"type": "a", "id": message_id})
    assert faults(codec, data) == [ID_FAULT]
    assert refusal(codec, data).id is None


@both
def test_every_fault_of_an_envelope_is_told_at_once(codec: Codec) -> None:
    message = {"id": -1, "payload": 5, "type": 5, "extra": 1, "more": 2}
    assert faults(codec, encode(codec, message)) == [
        ("Unknown key.", "/extra", "unknown"),
        ("Unknown key.", "/more", "unknown"),
        ("Not a string.", "/type", "invalid"),
        ID_FAULT,
        ("Not an object.", "/payload", "type"),
    ]


@both
def test_of_thousands_of_faults_64_are_told(codec: Codec) -> None:
    message = {f"k{number}": number for number in range(5_000)}
    error = refusal(codec, encode(codec, message)).error.as_dict()
    assert len(error["fields"]) == 64
    assert error["fields_omitted"] == 4_937  # with the missing type


def test_a_key_given_twice_is_told_if_only_its_last_value_would_do() -> None:
    assert faults(JSON, b'{"type":7,"type":"a"}') == [("Has a key more than once.", "", "invalid")]
    refused = refusal(JSON, b'{"type":"a","id":[],"id":9}')
    assert refused.id == 9
    assert refused.error.extra["fields"][0]["message"] == "Has a key more than once."


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "a", 5: 1}, KEY_FAULT),
        ({"type": "a", b"id": 1}, KEY_FAULT),
        ({"type": "a", None: 1, 2: 3}, KEY_FAULT),
        ({"type": "a", "payload": {1: 2}}, PAYLOAD_KEY_FAULT),
        ({"type": "a", "payload": {b"x": 2}}, PAYLOAD_KEY_FAULT),
        ({"type": b"a"}, ("Not a string.", "/type", "invalid")),
        ({"type": "a", "id": b"x"}, ID_FAULT),
        ({"type": "a", "id": msgspec.msgpack.Ext(5, b"")}, ID_FAULT),
        ({"type": "a", "id": float("nan")}, ID_FAULT),
        (
            {"type": "a", "payload": msgspec.msgpack.Ext(5, b"")},
            ("Not an object.", "/payload", "type"),
        ),
        ({"type": "a", "payload": b"{}"}, ("Not an object.", "/payload", "type")),
    ],
)
def test_the_envelope_itself_takes_nothing_that_is_not_json(
    message: dict[Any, Any], expected: tuple[str, str, str]
) -> None:
    assert faults(MSGPACK, encode(MSGPACK, message)) == [expected]


def test_a_key_nested_just_not_too_deep_is_told_like_any_other() -> None:
    for depth in range(800, 1000):
        data = b"\x82\xa4type\xa3a.b" + b"\x91" * depth + b"\x01\x01"
        assert refusal(MSGPACK, data).error.code in {"invalid_message", "invalid_json"}


envelopes = st.dictionaries(
    st.sampled_from(["type", "id", "payload"]) | st.text(string.printable, max_size=5), values
)


@both
@given(message=envelopes)
def test_what_is_refused_is_refused_for_a_reason(codec: Codec, message: dict[str, Any]) -> None:
    result = outcome(codec, encode(codec, message))
    if isinstance(result, MalformedError):
        assert result.error.code == "invalid_message"
        told = result.error.extra["fields"]
        assert 1 <= len(told) <= 64
        assert all("more than once" not in fault["message"] for fault in told)
    else:
        assert result == Envelope(**message)


@both
@given(message=envelopes, message_id=st.integers(0, 2**53 - 1) | st.text(min_size=1, max_size=64))
def test_an_id_that_can_be_read_is_always_known(
    codec: Codec, message: dict[str, Any], message_id: int | str
) -> None:
    result = outcome(codec, encode(codec, {**message, "id": message_id}))
    assert not isinstance(result, NotUtf8Error)
    assert result.id == message_id
