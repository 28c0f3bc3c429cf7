"""The benchmark counts right: frames taken apart, replies recognised, percentiles, ratios."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import wire
from benchmarks.results import MANY, ONE, WANTED, Measurement, Results, percentile
from jackfield import frames

LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536]
MASK = b"\x01\x02\x03\x04"
REPLIES = [wire.server_frame(wire.TEXT, b"reply %d" % number) for number in range(4)]


def measured(requests: int, server_cpu: float = 1.0) -> Measurement:
    return Measurement(
        requests=requests,
        seconds=2.0,
        server_cpu=server_cpu,
        load_cpu=0.5,
        memory=1,
        p50=0.001,
        p99=0.002,
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_frames_come_apart_into_what_was_sent(length: int) -> None:
    payload = b"x" * length
    sent = frames.frame(frames.TEXT, payload) + frames.HEARTBEAT
    assert wire.server_frame(wire.TEXT, payload) + b"\x89\x00" == sent
    assert wire.split(sent) == ([(wire.TEXT, payload), (wire.PING, b"")], b"")


@given(payloads=st.lists(st.binary(max_size=200)), cut=st.integers(0, 100))
def test_what_is_no_whole_frame_yet_is_left(payloads: list[bytes], cut: int) -> None:
    sent = b"".join(wire.server_frame(wire.TEXT, payload) for payload in payloads)
    whole, rest = wire.split(sent[: max(0, len(sent) - cut)])
    more, nothing = wire.split(rest + sent[max(0, len(sent) - cut) :])
    assert [payload for _, payload in whole + more] == payloads
    assert nothing == b""


@pytest.mark.parametrize("data", [b"\x01\x01x", b"\x81\x81\x00\x00\x00\x00x"])
def test_a_fragmented_or_masked_frame_is_refused(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.split(data)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_clients_frame_is_masked(length: int) -> None:
    payload = bytes(range(256)) * (length // 256) + b"y" * (length % 256)
    sent = wire.client_frame(wire.TEXT, payload, MASK)
    assert sent[1] & 0x80
    head, masked = sent[: len(sent) - length], sent[len(sent) - length :]
    assert head.endswith(MASK)
    assert bytes(byte ^ MASK[index % 4] for index, byte in enumerate(masked)) == payload


def test_a_ring_gives_its_frames_over_and_over() -> None:
    ring = wire.Ring(REPLIES)
    taken = [ring.take(count) for count in (3, 4, 1)]
    assert b"".join(taken) == b"".join(REPLIES * 2)


@given(counts=st.lists(st.integers(1, len(REPLIES)), max_size=20))
def test_replies_are_counted_however_they_come(counts: list[int]) -> None:
    sent, expected = wire.Ring(REPLIES), wire.Ring(REPLIES)
    assert [expected.match(sent.take(count)) for count in counts] == counts


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REPLIES[1],
        REPLIES[0] + REPLIES[0],
        REPLIES[0][:-1],
        REPLIES[0][:-1] + b"!",
        frames.HEARTBEAT + REPLIES[0],
        REPLIES[0] + frames.HEARTBEAT,
        b"".join(REPLIES) * 3,
    ],
)
def test_nothing_else_counts_as_a_reply(data: bytes) -> None:
    ring = wire.Ring(REPLIES)
    assert ring.match(data) == 0
    assert ring.match(REPLIES[0]) == 1


def test_a_ring_of_different_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        wire.Ring([b"abc", b"abcd"])


@pytest.mark.parametrize(
    ("dialect", "reply"),
    [
        ("envelope", b'{"type":"reply","id":7,"payload":{"a":1}}'),
        ("jackfield", b'{"type":"reply","id":7,"payload":{"a":1}}'),
        ("socketio", b'437[{"a":1}]'),
    ],
)
def test_a_reply_is_read(dialect: str, reply: bytes) -> None:
    assert wire.DIALECTS[dialect].reply(reply) == (7, {"a": 1})


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("envelope", b'{"type":"error","id":7,"error":{}}'),
        ("envelope", b"no JSON"),
        ("socketio", b'42["event",{}]'),
        ("socketio", b"43"),
        ("socketio", b"437[1,2]"),
    ],
)
def test_what_is_no_reply_is_refused(dialect: str, message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.DIALECTS[dialect].reply(message)


def test_a_request_is_one_of_the_protocol() -> None:
    payload: Any = {"a": None}
    envelope = wire.DIALECTS["jackfield"].request(7, "a.b", payload)
    assert json.loads(envelope) == {"type": "a.b", "id": 7, "payload": payload}
    assert wire.DIALECTS["socketio"].request(7, "a.b", payload) == b'427["a.b",{"a":null}]'


@given(values=st.lists(st.integers(0, 50), min_size=1), share=st.sampled_from([0.01, 0.5, 0.99, 1]))
def test_a_percentile_is_the_least_value_that_is_enough(values: list[int], share: float) -> None:
    found = percentile(Counter(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile({}, 0.5)


def test_what_counts_is_the_servers_cpu() -> None:
    one = measured(3000, server_cpu=1.5)
    assert (one.per_cpu_second, one.per_second, one.load_share) == (2000, 1500, 0.25)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    results = Results()
    for ours, theirs in [(100, 50), (10, 5), (90, 10)]:  # the machine was slow in the second
        results.add(MANY, "ours", measured(ours))
        results.add(MANY, "theirs", measured(theirs))
    assert results.ratio(MANY, "ours", "theirs") == 2
    assert results.median(MANY, "ours", lambda one: one.requests) == 90


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    results = Results()
    results.add(MANY, "ours", measured(1))
    results.add(ONE, "theirs", measured(1))
    assert results.ratio(MANY, "ours", "theirs") is None
    assert results.servers(MANY) == ["ours"]


def test_what_is_wanted_is_of_a_shape_that_is_measured() -> None:
    assert {shape for shape, _ in WANTED} == {MANY, ONE}
