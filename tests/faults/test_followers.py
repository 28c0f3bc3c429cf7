"""What the verdict of the other tests is worth: followers find whatever a server does wrong."""

import pytest

from tests.support.followers import Follower, Message, Position, Publisher, faults

TOPIC = "room:lobby"


def line(number: int) -> Message:
    return {"by": "p", "number": number}


def event(offset: int) -> Message:
    return {"type": "event", "topic": TOPIC, "offset": offset, "payload": line(offset)}


def unrecoverable(offset: int) -> Message:
    error = {"code": "unrecoverable", "topic": TOPIC, "epoch": "b", "offset": offset}
    return {"type": "error", "id": None, "error": error}


def published(*offsets: int) -> Publisher:
    publisher = Publisher(lambda: "", TOPIC, "p")
    publisher.acknowledged += [Position("a", offset) for offset in offsets]
    return publisher


def follower_of(*messages: Message) -> Follower:
    follower = Follower(lambda: "", TOPIC)
    follower._subscribed(None, {"epoch": "a", "offset": 0})
    for message in messages:
        follower._take(message)
    return follower


def test_every_event_once_and_in_order_is_right() -> None:
    follower = follower_of(event(1), event(2), event(3))
    assert faults([follower], [published(1, 2, 3)]) == []


def test_an_event_that_is_said_to_be_lacking_is_not_missed() -> None:
    follower = follower_of(event(1), unrecoverable(2), event(3))
    assert faults([follower], [published(1, 2, 3)]) == []
    assert follower.position == ("b", 3)


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([event(1), event(3)], id="one is missing"),
        pytest.param([event(1), event(2)], id="the last is missing"),
        pytest.param([event(1), event(2), event(2), event(3)], id="one came twice"),
        pytest.param([event(1), event(3), event(2)], id="out of order"),
        pytest.param([event(1), unrecoverable(2)], id="one after the gap is missing"),
        pytest.param([event(1), unrecoverable(3), event(3)], id="one came that was lacking"),
        pytest.param([event(1), event(2), event(3), event(4)], id="nobody published one"),
        pytest.param([event(1), {**event(2), "payload": line(1)}, event(3)], id="another's text"),
    ],
)
def test_anything_else_is_found(messages: list[Message]) -> None:
    assert faults([follower_of(*messages)], [published(1, 2, 3)]) != []


def test_two_publications_of_one_offset_are_found() -> None:
    assert faults([], [published(1), published(1)]) != []


def test_what_is_recovered_must_come_up_to_the_offset_that_is_told() -> None:
    follower = follower_of(event(1))
    events = [event(2), event(3)]
    reply = {"epoch": "a", "offset": 3, "recovered": True, "events": events}
    follower._subscribed(follower.position, reply)
    assert faults([follower], [published(1, 2, 3)]) == []
    follower._subscribed(follower.position, {**reply, "offset": 4, "events": []})
    assert follower.faults != []


def test_what_cannot_be_recovered_is_a_gap() -> None:
    follower = follower_of(event(1))
    follower._subscribed(follower.position, {"epoch": "b", "offset": 3, "recovered": False})
    assert faults([follower], [published(1, 2, 3)]) == []
    assert follower.gaps == [(("a", 1), ("b", 3))]
