"""A topic's members here are counted by user, and what Redis may not know is written again."""

from typing import Any

import pytest

from jackfield.store.presence import PresenceSnapshot
from jackfield.topics.encoding import Batch
from jackfield.topics.feed import Members
from jackfield.topics.presence import MAX_LISTED, TopicPresence, presence_reply
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.audiences import KEYS, KeptPresence, Subscriber, turns

ALICE = Identity("alice")
CHANGE = b'{"type":"presence","topic":"room","joined":{"user":"bob"}}'


class Presence:
    """A presence, where it is kept, and the members who are told."""

    def __init__(self) -> None:
        self.store = KeptPresence()
        self.members = Members()
        store: Any = self.store
        self.here = TopicPresence(store, KEYS.topic("room"), "room", self.members)

    async def opened(self) -> "Presence":
        await self.here.open()
        self.here.feed.resume(self.here.feed.buffered)
        return self


async def test_the_connections_of_a_user_are_one_member() -> None:
    presence = Presence()
    one, two = Subscriber(identity=ALICE), Subscriber(identity=ALICE)
    assert await presence.here.add(one.connection, None) == 101
    assert await presence.here.add(two.connection, {"mood": "good"}) == 101
    assert presence.store.members == {"u:alice": (2, b'{"user":"alice","info":{"mood":"good"}}')}
    presence.here.remove(one.connection)
    assert presence.store.written[-1] == ("u:alice", 1)
    presence.here.remove(two.connection)
    assert presence.store.members == {}


async def test_each_anonymous_connection_is_a_member_of_its_own() -> None:
    presence = Presence()
    for connection_id in ("a", "b"):
        await presence.here.add(Subscriber(connection_id=connection_id).connection, None)
    assert presence.store.members == {
        f"c:{each}": (1, b'{"user":null,"connection":"%b"}' % each.encode()) for each in "ab"
    }


async def test_a_connection_that_joins_again_counts_once_and_may_look_otherwise() -> None:
    presence = Presence()
    one = Subscriber(identity=ALICE)
    for mood in ("good", "bad"):
        await presence.here.add(one.connection, {"mood": mood})
    assert presence.store.members["u:alice"] == (1, b'{"user":"alice","info":{"mood":"bad"}}')


async def test_to_remove_who_is_not_there_changes_nothing() -> None:
    presence = Presence()
    presence.here.remove(Subscriber().connection)
    assert presence.store.written == []


async def test_whose_identity_has_changed_leaves_as_who_it_came() -> None:
    presence = Presence()
    one = Subscriber(identity=ALICE)
    await presence.here.add(one.connection, None)
    one.connection.identify(Identity("bob"))
    presence.here.remove(one.connection)
    assert presence.store.members == {}


async def test_without_members_nothing_is_refreshed() -> None:
    presence = Presence()
    assert await presence.here.refresh() == 0
    assert presence.store.refreshes == 0


async def test_what_was_not_written_is_written_by_the_next_refresh_and_then_no_more() -> None:
    presence = Presence()
    one = Subscriber(identity=ALICE)
    await presence.here.add(one.connection, None)
    presence.store.is_away = True
    presence.here.remove(one.connection)
    presence.store.is_away = False
    await turns()
    assert presence.store.members != {}
    await presence.here.refresh()
    assert presence.store.members == {}
    written = list(presence.store.written)
    await presence.here.refresh()
    assert presence.store.written == written


async def test_a_refresh_that_can_not_write_fails_and_is_repeated() -> None:
    presence = Presence()
    one = Subscriber(identity=ALICE)
    presence.store.is_away = True
    with pytest.raises(Error, match="unavailable"):
        await presence.here.add(one.connection, None)
    with pytest.raises(Error, match="unavailable"):
        await presence.here.refresh()
    presence.store.is_away = False
    assert await presence.here.refresh() == 100
    assert list(presence.store.members) == ["u:alice"]


async def test_what_redis_has_forgotten_or_knows_wrongly_is_written_anew() -> None:
    presence = Presence()
    await presence.here.add(Subscriber(identity=ALICE).connection, None)
    presence.store.written.clear()
    presence.store.known = ["u:ghost"]
    await presence.here.refresh()
    assert sorted(presence.store.written) == [("u:alice", 1), ("u:ghost", 0)]


async def test_changes_before_the_version_is_known_are_told_or_dropped_by_it() -> None:
    presence = Presence()
    presence.members.add((member := Subscriber()).connection)
    presence.here.feed.receive("-", Batch(100, [CHANGE]))
    presence.here.feed.receive("-", Batch(101, [CHANGE]))
    await presence.opened()
    assert len(member.got) == 1
    assert presence.here.feed.offset == 101


async def test_a_missed_change_has_the_whole_list_sent_and_what_came_meanwhile_behind_it() -> None:
    presence = await Presence().opened()
    presence.members.add((member := Subscriber(identity=ALICE)).connection)
    await presence.here.add(member.connection, None)
    presence.here.feed.receive("-", Batch(103, [CHANGE]))  # 101 and 102 were missed
    presence.store.version = 102
    await presence.here.refill()
    snapshot, change = member.got
    assert snapshot == {
        "type": "presence",
        "topic": "room",
        "members": [{"user": "alice", "connections": 1}],
        "count": 1,
    }
    assert change["joined"] == {"user": "bob"}
    assert presence.store.refreshes == 1  # so that this node's own members are in the list


async def test_the_list_is_read_again_while_it_is_behind_what_came() -> None:
    presence = await Presence().opened()
    presence.members.add((member := Subscriber()).connection)
    presence.here.feed.receive("-", Batch(105, [CHANGE]))
    versions = presence.store.versions = [101, 104]
    await presence.here.refill()
    assert versions == []
    assert ["count" in each for each in member.got] == [True, True, False]


def test_a_reply_lists_members_with_their_connections_and_counts_all() -> None:
    snapshot = PresenceSnapshot(9, 5, [(2, b'{"user":"alice"}'), (1, b'{"user":"bob","info":{}}')])
    assert presence_reply(snapshot) == {
        "members": [
            {"user": "alice", "connections": 2},
            {"user": "bob", "info": {}, "connections": 1},
        ],
        "count": 5,
    }
    assert MAX_LISTED == 1000
