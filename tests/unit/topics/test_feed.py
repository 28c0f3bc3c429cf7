"""A feed hands on each message once and in order, however it gets them; nobody misses any."""

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jackfield.topics.encoding import Batch
from jackfield.topics.feed import Feed, Members
from jackfield.wire import frames, protocol
from jackfield.wire.protocol import JSON, MSGPACK, Codec

if TYPE_CHECKING:
    from jackfield.connection.connection import Connection


class FakeOutbox:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)


class FakeConnection:
    """A member, as far as a feed knows one."""

    def __init__(self, codec: Codec = JSON) -> None:
        self.codec = codec
        self.outbox = FakeOutbox()
        #: The number of the last message that it knew when it joined.
        self.start = 0

    @property
    def got(self) -> list[int]:
        """The numbers of all messages it was sent, in the order they came."""
        decode: Any = (msgspec.json if self.codec is JSON else msgspec.msgpack).decode
        return [
            decode(payload)["offset"]
            for frame in self.outbox.sent
            for _, payload in frames.split(frame)
        ]


def member(fake: FakeConnection) -> "Connection":
    return cast("Connection", fake)


def message(number: int) -> bytes:
    return b"%b%d%b" % (protocol.event_head("a"), number, protocol.event_tail({}))


def batch(first: int, last: int) -> Batch:
    return Batch(first, [message(number) for number in range(first, last + 1)])


def begun(*fakes: FakeConnection, position: int = 0, epoch: str = "e") -> Feed:
    """A feed that stands somewhere, and its members."""
    members = Members()
    for fake in fakes:
        members.add(member(fake))
    feed = Feed(members)
    feed.skip_to(epoch, position)
    assert not feed.resume(feed.buffered)
    return feed


def test_what_comes_in_order_is_handed_on_at_once() -> None:
    one, two = FakeConnection(), FakeConnection(MSGPACK)
    feed = begun(one, two)
    assert not feed.receive("e", batch(1, 1))
    assert not feed.receive("e", batch(2, 4))
    assert one.got == two.got == [1, 2, 3, 4]
    assert feed.offset == 4


def test_all_members_of_one_encoding_get_the_same_object() -> None:
    fakes = [FakeConnection() for _ in range(3)]
    begun(*fakes).receive("e", batch(1, 2))
    first = fakes[0].outbox.sent
    assert len(first) == 1
    assert all(fake.outbox.sent[0] is first[0] for fake in fakes)


def test_what_comes_twice_is_handed_on_once_also_in_other_pieces() -> None:
    fake = FakeConnection()
    feed = begun(fake)
    for first, last in ((1, 2), (1, 2), (2, 3), (1, 4), (4, 4)):
        assert not feed.receive("e", batch(first, last))
    assert fake.got == [1, 2, 3, 4]


def test_behind_a_gap_all_is_held_until_that_is_filled() -> None:
    fake = FakeConnection()
    feed = begun(fake)
    assert feed.receive("e", batch(3, 3))
    assert not feed.receive("e", batch(4, 5))
    assert feed.buffered == 2
    assert fake.got == []
    stale = feed.buffered
    feed.send(batch(1, 3))
    assert not feed.resume(stale)
    assert not feed.is_paused
    assert fake.got == [1, 2, 3, 4, 5]


def test_a_second_gap_behind_the_first_is_found() -> None:
    fake = FakeConnection()
    feed = begun(fake)
    feed.receive("e", batch(3, 3))
    feed.receive("e", batch(6, 6))
    feed.send(batch(1, 2))
    assert feed.resume(feed.buffered)
    assert fake.got == [1, 2, 3]
    feed.send(batch(4, 5))
    assert not feed.resume(feed.buffered)
    assert fake.got == [1, 2, 3, 4, 5, 6]


def test_more_than_is_held_is_fetched_again() -> None:
    fake = FakeConnection()
    feed = begun(fake)
    feed.pause()
    for number in range(1, 2502):
        feed.receive("e", batch(number, number))
    assert feed.buffered <= 1001
    assert feed.resume(feed.buffered)  # whoever fills the gap must read on
    feed.send(batch(1, 2501))
    assert not feed.resume(feed.buffered)
    assert fake.got == list(range(1, 2502))


def test_another_epoch_is_a_gap_and_what_came_of_the_one_before_is_dropped() -> None:
    fake = FakeConnection()
    feed = begun(fake, position=5)
    assert feed.receive("new", batch(1, 1))
    feed.receive("e", batch(6, 6))
    feed.receive("new", batch(2, 2))
    stale = feed.buffered
    feed.skip_to("new", 0)
    feed.send(batch(1, 1))
    assert not feed.resume(stale)
    assert fake.got == [1, 2]


def test_another_epoch_that_began_while_the_gap_was_filled_is_a_gap_again() -> None:
    fake = FakeConnection()
    feed = begun(fake)
    feed.pause()
    stale = feed.buffered
    feed.receive("new", batch(1, 1))
    feed.send(batch(1, 2))  # of the old one
    assert feed.resume(stale)
    assert fake.got == [1, 2]


@pytest.mark.parametrize("position", [1, 2, 3, 4])
def test_whoever_joins_gets_what_it_does_not_know_however_far_the_feed_is(position: int) -> None:
    early, late = FakeConnection(), FakeConnection()
    members = Members()
    members.add(member(early))
    feed = Feed(members)
    feed.skip_to("e", 1)
    feed.resume(0)
    feed.begin_join()  # and learns that it knows all up to `position`, which the feed may not have
    feed.receive("e", batch(2, 2))
    feed.receive("e", batch(3, 3))
    assert feed.has_since(position)
    members.add(member(late))
    feed.admit(member(late), position)
    feed.end_join()
    feed.receive("e", batch(4, 6))
    assert early.got == [2, 3, 4, 5, 6]
    assert late.got == list(range(position + 1, 7))


def test_what_was_lost_during_a_join_is_not_hidden() -> None:
    feed = begun()
    feed.begin_join()
    feed.receive("e", batch(1, 2))
    feed.skip_to("e", 7)  # the history had no more
    feed.send(batch(8, 9))
    assert not feed.has_since(2)
    assert feed.has_since(7)
    assert feed.has_since(8)


def test_whoever_left_knows_nothing_when_it_comes_back() -> None:
    fake, members = FakeConnection(), Members()
    feed = Feed(members)
    feed.skip_to("e", 0)
    feed.resume(0)
    feed.begin_join()
    members.add(member(fake))
    feed.admit(member(fake), 5)
    assert feed.floor(member(fake)) == 5
    members.discard(member(fake))
    feed.forget(member(fake))
    members.add(member(fake))
    feed.admit(member(fake), 0)
    feed.end_join()
    feed.receive("e", batch(1, 2))
    assert fake.got == [1, 2]


def test_whoever_joins_again_begins_anew_also_behind_what_it_knew() -> None:
    fake = FakeConnection()
    feed = begun(fake, position=5)
    for position in (9, 5):
        feed.begin_join()
        feed.admit(member(fake), position)
        feed.end_join()
    feed.receive("e", batch(6, 7))
    assert fake.got == [6, 7]


def test_whoever_joins_again_is_sent_what_came_since_the_position_it_was_told() -> None:
    fake = FakeConnection()
    feed = begun(fake, position=5)
    feed.begin_join()
    feed.receive("e", batch(6, 6))  # before its reply, which says 5
    feed.admit(member(fake), 5)
    feed.end_join()
    feed.receive("e", batch(7, 7))
    assert fake.got == [6, 6, 7]


class Following(RuleBasedStateMachine):
    """Messages come late, twice, in pieces or not at all, and members come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.members = Members()
        self.feed = Feed(self.members)
        self.fakes: list[FakeConnection] = []
        self.joining: list[tuple[FakeConnection, int]] = []
        self.published = 0

    @initialize(position=st.integers(0, 3))
    def begin(self, position: int) -> None:
        self.published = position
        self.feed.skip_to("e", position)
        self.feed.resume(0)

    @rule(count=st.integers(1, 4))
    def publish_and_lose(self, count: int) -> None:
        self.published += count

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        first = self.published + 1
        self.published += count
        self.come(first, self.published)

    @precondition(lambda self: self.published)
    @rule(data=st.data())
    def bring_again(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(1, self.published))
        self.come(first, data.draw(st.integers(first, self.published)))

    def come(self, first: int, last: int) -> None:
        was_paused = self.feed.is_paused
        has_gap = self.feed.receive("e", batch(first, last))
        assert not (has_gap and was_paused)
        assert self.feed.is_paused is (was_paused or has_gap)

    @rule()
    def suspect(self) -> None:
        self.feed.pause()

    @precondition(lambda self: self.feed.is_paused)
    @rule(data=st.data())
    def refill(self, data: st.DataObject) -> None:
        upto = data.draw(st.integers(self.feed.offset, self.published))
        stale = data.draw(st.integers(0, self.feed.buffered))
        if upto > self.feed.offset:
            self.feed.send(batch(self.feed.offset + 1, upto))
        self.feed.resume(stale)

    @rule(codec=st.sampled_from([JSON, MSGPACK]))
    def begin_join(self, codec: Codec) -> None:
        self.feed.begin_join()
        fake = FakeConnection(codec)
        self.joining.append((fake, self.published))

    @precondition(lambda self: self.joining)
    @rule(data=st.data())
    def end_join(self, data: st.DataObject) -> None:
        fake, start = self.joining.pop(data.draw(st.integers(0, len(self.joining) - 1)))
        fake.start = start
        assert self.feed.has_since(fake.start)
        self.members.add(member(fake))
        self.feed.admit(member(fake), fake.start)
        self.feed.end_join()
        self.fakes.append(fake)

    @precondition(lambda self: self.fakes)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        fake = self.fakes.pop(data.draw(st.integers(0, len(self.fakes) - 1)))
        self.members.discard(member(fake))
        self.feed.forget(member(fake))
        known = len(fake.got)
        self.feed.pause()
        if self.published > self.feed.offset:
            self.feed.send(batch(self.feed.offset + 1, self.published))
        self.feed.resume(self.feed.buffered)
        assert len(fake.got) == known

    @invariant()
    def each_has_all_up_to_where_the_feed_is_in_order_and_once(self) -> None:
        for fake in self.fakes:
            assert fake.got == list(range(fake.start + 1, self.feed.offset + 1))


TestFollowing = Following.TestCase
