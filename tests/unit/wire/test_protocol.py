"""The wire format: what can be read and what can't, and the exact bytes of each answer."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.wire import frames
from jackfield.wire.errors import Error
from jackfield.wire.protocol import (
    CODECS,
    JSON,
    MSGPACK,
    Codec,
    MalformedError,
    NotUtf8Error,
    event_head,
    event_tail,
    presence_head,
    presence_snapshot,
)
from tests.support.messages import both, encode, in_msgpack, outcome, refusal, values


def reason(codec: Codec, data: bytes) -> str:
    """The words for a message that can't be read at all."""
    refused = refusal(codec, data)
    assert refused.id is None
    assert list(refused.error.as_dict()) == ["code", "message", "retryable"]
    assert (refused.error.code, refused.error.retryable) == ("invalid_json", False)
    return refused.error.message


def test_each_encoding_has_its_subprotocol_and_kind_of_frame() -> None:
    assert {name: codec.opcode for name, codec in CODECS.items()} == {
        "jackfield.v1": frames.TEXT,
        "jackfield.v1.msgpack": frames.BINARY,
    }
    assert all(codec.name == name for name, codec in CODECS.items())


@pytest.mark.parametrize(
    ("text", "message_type"),
    [
        (b'{"type":"a","type":"b"}', "b"),
        (b' \t\r\n{"type" : "b"}\n', "b"),
        (b'{"\\u0074ype":"b"}', "b"),
        (b'{"type":"\\ud83d\\ude00"}', "😀"),
        ('{"type":"\U0010ffff"}'.encode(), "\U0010ffff"),
        (b'{"type":"\\u0000"}', "\x00"),
    ],
)
def test_json_is_read_as_rfc_8259_writes_it(text: bytes, message_type: str) -> None:
    assert JSON.decode(text).type == message_type


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"\x00",
        b"{",
        b'{"type":"a"',
        b'{"type":"a",}',
        b'{"type":"a"}x',
        b'{"type":"a"}{"type":"a"}',
        b'{"type":"a"}\x00',
        b"{'type':'a'}",
        b'{type:"a"}',
        b"undefined",
        b'\xef\xbb\xbf{"type":"a"}',
        b'{"type":"a\x00"}',
        b'{"type":"a\nb"}',
        b'{"type":"a","payload":{"x":NaN}}',
        b'{"type":"a","payload":{"x":Infinity}}',
        b'{"type":"a","payload":{"x":-Infinity}}',
        b'{"type":"a","payload":{"x":nan}}',
        b"NaN",
        b'{"type":"a","payload":{"x":01}}',
        b'{"type":"a","payload":{"x":1.}}',
        b'{"type":"a","payload":{"x":.5}}',
        b'{"type":"a","payload":{"x":+1}}',
        b'{"type":"a","payload":{"x":1e}}',
        b'{"type":"a","payload":{"x":-}}',
        b'{"type":"a","payload":{"x":0x1}}',
        b'{"type":"\\ud800"}',
        b'{"type":"a","payload":{"x":"\\ud83d"}}',
        b'{"type":"a","payload":{"x":"\\ude00\\ud83d"}}',
        b'{"type":"a","payload":{"\\udfff":1}}',
        b'{"type":"\\x41"}',
        b'{"type":"\\u12"}',
        b'{"type":"a"} // comment',
    ],
    ids=repr,
)
def test_what_is_not_json_is_told_so(text: bytes) -> None:
    assert reason(JSON, text) == "The message is not valid JSON."


@pytest.mark.parametrize(
    "number", [b"1" * 5_000, b"-" + b"9" * 5_000, b"1e999", b"-1e999", b"1" * 5_000 + b".5e1"]
)
@pytest.mark.parametrize(
    "text",
    [b'{"type":"a","payload":{"x":%s}}', b'{"type":"a","id":%s}', b'{"type":"a","x":%s}', b"%s"],
)
def test_a_number_past_what_python_holds_is_told_so(text: bytes, number: bytes) -> None:
    assert reason(JSON, text % number) == "The message has a number that is out of range."


def test_long_numbers_within_that_are_read() -> None:
    text = b'{"type":"a","payload":{"n":%s,"f":0.%s}}' % (b"1" * 4_300, b"1" * 5_000)
    payload = JSON.decode(text).payload
    assert payload["n"] == int("1" * 4_300)
    assert payload["f"] == pytest.approx(1 / 9)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"a","payload":{"x":' + b"[" * 100_000,
        b'{"type":"a","payload":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"type":"a","payload":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"type":' + b"[" * 100_000,
    ],
    ids=["open", "closed", "objects", "in-payload-open", "in-payload", "as-payload", "as-type"],
)
def test_nesting_without_end_is_told_so(text: bytes) -> None:
    assert reason(JSON, text) == "The message is nested too deeply."


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b'{"type":"\x80"}',
        b'{"type":"a","payload":{"x":"\xc3"}}',
        b'{"type":"a","payload":{"\xc3\x28":1}}',
        b'{"\xff":1}',
        b'{"type":"\xed\xa0\x80"}',
        b'{"type":"\xc0\xaf"}',
        b'{"type":"\xf4\x90\x80\x80"}',
        b"not even json \xfe",
    ],
    ids=repr,
)
def test_text_that_is_not_utf_8_ends_the_connection(text: bytes) -> None:
    with pytest.raises(NotUtf8Error):
        JSON.decode(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x81\xa4type\xa3a.b\x00",
        b"\x81\xa4type",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        in_msgpack(b"\xdd\xff\xff\xff\xff"),
        in_msgpack(b"\xc9\xff\xff\xff\xff\x05"),
        in_msgpack(b"\x81\x80\x01"),
        in_msgpack(b"\x81\x91\x80\x01"),
        b"\x82\xa4type\xa3a.b\x80\x01",
    ],
    ids=repr,
)
def test_what_is_not_message_pack_is_told_so(data: bytes) -> None:
    assert reason(MSGPACK, data) == "The message is not valid MessagePack."


@pytest.mark.parametrize("data", [b"\x81\xa4type\xa2\xff\xff", in_msgpack(b"\xa1\xff")])
def test_message_pack_text_that_is_not_utf_8_is_no_reason_to_close(data: bytes) -> None:
    assert reason(MSGPACK, data) == "The message has text that is not UTF-8."


@pytest.mark.parametrize(
    "data", [b"\x91" * 100_000, in_msgpack(b"\x91" * 100_000), in_msgpack(b"\x81\xa1x" * 100_000)]
)
def test_message_pack_without_end_is_told_so(data: bytes) -> None:
    assert reason(MSGPACK, data) == "The message is nested too deeply."


@pytest.mark.parametrize(
    "timestamp", [b"\xc7\x0c\xff" + b"\xff" * 12, b"\xc7\x05\xff" + b"\xff" * 5]
)
def test_a_time_that_never_was_is_a_number_out_of_range(timestamp: bytes) -> None:
    assert (
        reason(MSGPACK, in_msgpack(timestamp)) == "The message has a number that is out of range."
    )


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\xff",
        {1: 2, b"key": 3, None: 4, 1.5: 5, False: 6},
        {(1, "a"): 2},
        float("inf"),
        datetime(2026, 1, 1, tzinfo=UTC),
        [2**64 - 1, -(2**63)],
    ],
    ids=repr,
)
def test_message_pack_brings_its_own_kinds_of_value_to_the_schema(value: Any) -> None:
    assert MSGPACK.decode(encode(MSGPACK, {"type": "a", "payload": {"x": value}})).payload == {
        "x": value
    }


def test_message_pack_brings_extension_types_and_nan_to_the_schema() -> None:
    message = {"type": "a", "payload": {"e": msgspec.msgpack.Ext(5, b"abc"), "n": float("nan")}}
    payload = MSGPACK.decode(encode(MSGPACK, message)).payload
    assert (payload["e"].code, payload["e"].data) == (5, b"abc")
    assert payload["n"] != payload["n"]


@both
@given(data=st.binary(max_size=40))
def test_any_bytes_are_an_envelope_or_refused(codec: Codec, data: bytes) -> None:
    result = outcome(codec, data)
    if isinstance(result, MalformedError):
        assert result.error.code in {"invalid_json", "invalid_message"}
    elif isinstance(result, NotUtf8Error):
        assert codec is JSON
    else:
        assert 1 <= len(result.type) <= 128


ANSWERS = [
    (
        lambda codec: codec.reply(7, {"text": "hé"}),
        '{"type":"reply","id":7,"payload":{"text":"hé"}}',
    ),
    (lambda codec: codec.reply("a", {}), '{"type":"reply","id":"a","payload":{}}'),
    (
        lambda codec: codec.chunk(7, 0, {"n": [1, None, True]}),
        '{"type":"chunk","id":7,"seq":0,"payload":{"n":[1,null,true]}}',
    ),
    (
        lambda codec: codec.error(None, Error("unknown_type", suggestions=["chat.send"])),
        (
            '{"type":"error","id":null,"error":{"code":"unknown_type",'
            '"message":"There is no such message type.","retryable":false,'
            '"suggestions":["chat.send"]}}'
        ),
    ),
    (
        lambda codec: codec.error("x", Error("unavailable", retry_after=1.5)),
        (
            '{"type":"error","id":"x","error":{"code":"unavailable",'
            '"message":"This is unavailable for now.","retryable":true,"retry_after":1.5}}'
        ),
    ),
    (
        lambda codec: codec.welcome(
            connection="c1",
            user="alice",
            heartbeat=15.0,
            limits={"message_bytes": 65536},
            topics={"user:alice": {"epoch": "e", "offset": 2}},
        ),
        (
            '{"type":"welcome","payload":{"connection":"c1","user":"alice","protocol":1,'
            '"heartbeat":15,"limits":{"message_bytes":65536},'
            '"topics":{"user:alice":{"epoch":"e","offset":2}}}}'
        ),
    ),
    (
        lambda codec: codec.welcome(
            connection="c1", user=None, heartbeat=0.5, limits={}, topics={}
        ),
        (
            '{"type":"welcome","payload":{"connection":"c1","user":null,"protocol":1,'
            '"heartbeat":0.5,"limits":{},"topics":{}}}'
        ),
    ),
    (
        lambda codec: codec.goodbye(4001, "shutdown", reconnect=True, after=1.6666),
        (
            '{"type":"goodbye","payload":{"code":4001,"reason":"shutdown","reconnect":true,'
            '"after":1.7}}'
        ),
    ),
    (
        lambda codec: codec.goodbye(4502, "revoked", reconnect=False, after=9.0),
        '{"type":"goodbye","payload":{"code":4502,"reason":"revoked","reconnect":false}}',
    ),
]


@pytest.mark.parametrize(("answer", "text"), ANSWERS, ids=[text[9:22] for _, text in ANSWERS])
def test_an_answer_is_these_very_bytes(answer: Any, text: str) -> None:
    assert answer(JSON) == text.encode()
    # The keys stand in the same order in MessagePack.
    assert answer(MSGPACK) == msgspec.msgpack.encode(msgspec.json.decode(text))


@given(
    topic=st.text(st.characters(codec="utf-8"), max_size=20),
    payload=st.dictionaries(st.text(max_size=5), values, max_size=3),
    offset=st.integers(1, 2**53 - 1),
)
def test_an_event_is_made_of_two_parts_and_its_offset(
    topic: str, payload: dict[str, Any], offset: int
) -> None:
    event = b"%b%d%b" % (event_head(topic), offset, event_tail(payload))
    decoded = msgspec.json.decode(event)
    assert decoded == {"type": "event", "topic": topic, "offset": offset, "payload": payload}
    assert list(decoded) == ["type", "topic", "offset", "payload"]
    assert JSON.from_json(event) is event
    assert MSGPACK.from_json(event) == msgspec.msgpack.encode(decoded)


def test_presence_is_these_very_bytes() -> None:
    head = presence_head('room:"é"')
    assert head == '{"type":"presence","topic":"room:\\"é\\"",'.encode()
    assert presence_snapshot(head, {"members": [{"user": "a", "connections": 1}], "count": 1}) == (
        head + b'"members":[{"user":"a","connections":1}],"count":1}'
    )


@both
def test_a_message_is_embedded_in_another_as_it_is(codec: Codec) -> None:
    event = b'{"type":"event","topic":"a","offset":1,"payload":{"x":1.50}}'
    reply = codec.reply(7, {"events": [codec.embed(event)] * 2})
    expected = msgspec.json.decode(event)
    assert (msgspec.json if codec is JSON else msgspec.msgpack).decode(reply) == {
        "type": "reply",
        "id": 7,
        "payload": {"events": [expected, expected]},
    }
    assert (event in reply) is (codec is JSON)


@both
@pytest.mark.parametrize("value", [object(), "\ud800", {1j: 1}])
def test_what_can_not_be_encoded_raises(codec: Codec, value: Any) -> None:
    with pytest.raises((TypeError, UnicodeEncodeError, msgspec.MsgspecError)):
        codec.reply(1, {"value": value})
    with pytest.raises((TypeError, UnicodeEncodeError, msgspec.MsgspecError)):
        codec.chunk(1, 0, {"value": value})
    assert codec.reply(1, {}) == encode(codec, {"type": "reply", "id": 1, "payload": {}})


def nested(codec: Codec, depth: int, *, lists: bool = True, text: str = "") -> bytes:
    """A message whose payload is that deep, itself counted."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value, 1] if lists else {"a": value, "b": text}
    return encode(codec, {"type": "a.b", "id": 7, "payload": {"x": value}})


@both
@pytest.mark.parametrize("lists", [True, False], ids=["lists", "objects"])
def test_a_payload_may_be_as_deep_as_the_limit_and_no_deeper(codec: Codec, lists: bool) -> None:  # noqa: FBT001
    for depth, limit in ((1, 1), (2, 2), (50, 50)):
        data = nested(codec, depth, lists=lists)
        codec.check_nesting(data, codec.decode(data), limit)
        data = nested(codec, depth + 1, lists=lists)
        with pytest.raises(MalformedError) as caught:
            codec.check_nesting(data, codec.decode(data), limit)
        assert caught.value.id == 7
        assert caught.value.error.code == "invalid_json"
        assert caught.value.error.message == "The message is nested too deeply."


@both
def test_what_is_wide_is_not_deep(codec: Codec) -> None:
    payload = {"x": [[{}, []] for _ in range(1000)], "brackets": "[{" * 1000}
    data = encode(codec, {"type": "a.b", "payload": payload})
    codec.check_nesting(data, codec.decode(data), 4)
    with pytest.raises(MalformedError):
        codec.check_nesting(data, codec.decode(data), 3)
