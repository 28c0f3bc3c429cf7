"""What topics keep of a connection is its own, and made when it is first needed."""

from jackfield.topics.membership import MEMBERSHIP
from tests.support.connected import Connected


async def test_a_new_connection_is_in_no_topic_and_may_join_before_its_welcome() -> None:
    membership = Connected().connection[MEMBERSHIP]
    assert membership.joined == []
    assert membership.given == 0
    assert membership.early_joins == []
    assert not membership.has_left
    assert membership.publish_lock is None
    assert membership.publish_bucket is None


async def test_each_connection_has_its_own() -> None:
    one, two = Connected().connection, Connected().connection
    assert one[MEMBERSHIP] is one[MEMBERSHIP]
    assert one[MEMBERSHIP] is not two[MEMBERSHIP]
    assert one[MEMBERSHIP].joined is not two[MEMBERSHIP].joined
