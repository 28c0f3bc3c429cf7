"""Events, gaps, presence and history are what the messages of a topic say."""

from jackfield.client import Event, Gap, Position, Presence
from jackfield.client.events import read_events, read_position, read_presence


def test_an_event_and_a_gap_know_their_position() -> None:
    assert Event(12, {"text": "hi"}, "e1").position == Position("e1", 12)
    assert Gap("e2", 7).position == Position("e2", 7)


def test_a_reply_has_a_position_and_perhaps_events() -> None:
    reply = {"epoch": "e1", "offset": 2}
    assert read_position(reply) == Position("e1", 2)
    assert read_events(reply) == []
    events = [{"offset": 1, "payload": {"n": 1}}, {"offset": 2, "payload": {"n": 2}}]
    assert read_events({**reply, "events": events}) == [
        Event(1, {"n": 1}, "e1"),
        Event(2, {"n": 2}, "e1"),
    ]


def test_presence_is_who_joined_or_left_or_all() -> None:
    bob = {"user": "bob", "info": {}}
    presence = {"type": "presence", "topic": "t"}
    assert read_presence({**presence, "joined": bob}) == Presence(joined=bob)
    assert read_presence({**presence, "left": bob}) == Presence(left=bob)
    assert read_presence({"members": [bob], "count": 1}) == Presence(members=[bob], count=1)
