"""The benchmarks count right: frames taken apart, replies recognised, percentiles, ratios."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import wire
from benchmarks.load.flight import Flight, Progress
from benchmarks.message import JOIN, PUBLISH, message_to
from benchmarks.results import FANOUT, REQUESTS, Measurement, Results, Shape, percentile
from benchmarks.servers import JACKFIELD, WS
from benchmarks.side_by_side import Comparison
from jackfield.wire import frames

LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536]
MASK = b"\x01\x02\x03\x04"
MANY, ONE = Shape(REQUESTS, 64, 8), Shape(REQUESTS, 64, 1)
PEERS = Path(wire.__file__).parent / "peers"
REPLIES = [wire.server_frame(wire.TEXT, b"reply %d" % number) for number in range(4)]


def measured(count: int, server_cpu: float = 1.0, redis_cpu: float | None = None) -> Measurement:
    return Measurement(
        count=count,
        seconds=2.0,
        server_cpu=server_cpu,
        load_cpu=0.5,
        redis_cpu=redis_cpu,
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
    assert results.median(MANY, "ours", lambda one: one.count) == 90


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    results = Results()
    results.add(MANY, "ours", measured(1))
    results.add(ONE, "theirs", measured(1))
    assert results.ratio(MANY, "ours", "theirs") is None
    assert results.servers(MANY) == ["ours"]


def test_a_redis_of_its_own_is_told_apart() -> None:
    assert measured(1000, redis_cpu=0.5).redis_each == 0.0005
    assert measured(1000, redis_cpu=0.5).per_cpu_second == measured(1000).per_cpu_second
    assert measured(1000).redis_each == 0


def test_what_others_cost_is_the_median_of_the_rounds() -> None:
    results = Results()
    alone, among = Shape(FANOUT, 10, 8), Shape(FANOUT, 10, 8, others=5000)
    assert results.cost_ratio("ours", among, alone) is None
    for before, after in [(100, 50), (100, 100), (90, 100)]:
        results.add(alone, "ours", measured(before))
        results.add(among, "ours", measured(after))
    assert results.cost_ratio("ours", among, alone) == 1


def test_only_those_are_measured_that_are_named() -> None:
    comparison = Comparison("title", "req", {MANY: [JACKFIELD, WS], ONE: [JACKFIELD]}, {})
    assert comparison.only(["ws"]) == {MANY: [WS], ONE: []}
    assert comparison.only([]) == comparison.servers
    assert comparison.server(MANY, "ws") is WS


def test_nothing_is_wanted_of_who_is_not_measured() -> None:
    with pytest.raises(ValueError, match="ws"):
        Comparison("title", "req", {MANY: [JACKFIELD, WS], ONE: [JACKFIELD]}, {(ONE, "ws"): 2})


def test_a_shape_tells_in_words_what_the_load_is() -> None:
    assert str(MANY) == "64 connections, 8 in flight each"
    assert str(Shape(FANOUT, 1000, 16)) == "1,000 members of one room, 16 in flight"
    assert str(Shape(FANOUT, 10, 8, others=5000)).endswith(", 5,000 other rooms")


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("envelope", b'{"type":"event","payload":{"a":1}}'),
        ("jackfield", b'{"type":"event","topic":"a:b","offset":12,"payload":{"a":1}}'),
        ("socketio", b'42["event",{"a":1}]'),
    ],
)
def test_an_event_is_read(dialect: str, message: bytes) -> None:
    assert wire.DIALECTS[dialect].event(message) == {"a": 1}


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("jackfield", b'{"type":"reply","id":1,"payload":{}}'),
        ("jackfield", b'{"type":"error","id":null,"error":{}}'),
        ("socketio", b'42["other",{}]'),
        ("socketio", b'42["event"]'),
        ("socketio", b'430[{"a":1}]'),
        ("socketio", b"42["),
    ],
)
def test_what_is_no_event_is_refused(dialect: str, message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.DIALECTS[dialect].event(message)


def test_a_publication_asks_for_no_answer() -> None:
    payload = message_to("a")
    envelope = wire.DIALECTS["jackfield"].request(None, PUBLISH, payload)
    assert json.loads(envelope) == {"type": PUBLISH, "payload": payload}
    assert wire.DIALECTS["socketio"].request(None, "x", {}) == b'42["x",{}]'


def test_a_member_of_a_room_subscribes_to_its_topic_at_ours() -> None:
    assert wire.DIALECTS["socketio"].join("a") == (JOIN, {"room": "a"})
    assert wire.DIALECTS["jackfield"].join("a") == ("topic.subscribe", {"topic": "benchmark:a"})


@pytest.mark.parametrize("peer", ["ws.mjs", "socketio.mjs"])
def test_the_peers_on_node_know_the_message_types(peer: str) -> None:
    script = (PEERS / peer).read_text("utf-8")
    assert f'"{JOIN}"' in script
    assert f'"{PUBLISH}"' in script


def test_heartbeats_are_answered_by_their_kind() -> None:
    envelope, socketio = wire.DIALECTS["envelope"], wire.DIALECTS["socketio"]
    assert envelope.answer(wire.PING, b"x") == (wire.PONG, b"x")
    assert envelope.answer(wire.TEXT, b"2") is None
    assert socketio.answer(wire.PING, b"") == (wire.PONG, b"")
    assert socketio.answer(wire.TEXT, b"2") == (wire.TEXT, b"3")
    assert socketio.answer(wire.TEXT, b'42["event",{}]') is None


@pytest.mark.parametrize("dialect", list(wire.DIALECTS))
@given(data=st.data())
def test_events_are_counted_wherever_the_stream_is_cut(dialect: str, data: st.DataObject) -> None:
    heartbeat = wire.server_frame(*wire.DIALECTS[dialect].heartbeat)
    event = wire.server_frame(wire.TEXT, b"x" * data.draw(st.integers(150, 200)))
    marks = wire.Marks(heartbeat)
    marks.check(event)
    sent = data.draw(st.lists(st.sampled_from([event, heartbeat]), max_size=10))
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    events = heartbeats = 0
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer = bytearray(stream[start:end] + event + heartbeat)  # what an earlier read has left
        beats = marks.heartbeats(buffer, end - start)
        heartbeats += beats
        events += marks.events(buffer, end - start, beats)
    assert (events, heartbeats) == (sent.count(event), sent.count(heartbeat))


@pytest.mark.parametrize(
    ("dialect", "length"), [("envelope", 0x81), ("envelope", 0x89), ("socketio", 0x100)]
)
def test_events_that_cannot_be_counted_are_refused(dialect: str, length: int) -> None:
    marks = wire.Marks(wire.server_frame(*wire.DIALECTS[dialect].heartbeat))
    with pytest.raises(wire.WireError, match="longer or shorter"):
        marks.check(wire.server_frame(wire.TEXT, b"x" * length))


def test_how_long_it_took_is_counted_from_when_it_was_sent() -> None:
    latencies: Counter[int] = Counter()
    flight = Flight(latencies)
    flight.sent(2, 1.0)
    flight.sent(3, 2.0)
    flight.returned(1, 2.0)
    flight.returned(3, 2.5)
    assert latencies == {1_000_000: 1, 1_500_000: 1, 500_000: 2}


@given(data=st.data())
def test_a_publication_is_in_flight_until_the_last_member_has_it(data: st.DataObject) -> None:
    members, depth = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    progress = Progress(members, depth)
    got, sent = [0] * members, depth
    for _ in range(data.draw(st.integers(0, 30))):
        who = data.draw(st.integers(0, members - 1))
        before = got[who]
        got[who] = data.draw(st.integers(before, sent))
        sent += progress.advance(before, got[who])
        assert progress.done == min(got)
        assert sent == progress.done + depth
