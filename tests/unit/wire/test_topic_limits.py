"""The limits of topics hold for every name the server makes itself."""

from jackfield.declaration.pattern import Pattern
from jackfield.wire.identity import MAX_USER_LENGTH
from jackfield.wire.topic_limits import MAX_KEY_LENGTH, MAX_TOPIC_LENGTH
from jackfield_handlers.topic import InTopic, Publish


def test_a_users_own_topic_is_within_them() -> None:
    name = Pattern("user:{id*}").format(id="ä" * MAX_USER_LENGTH)
    assert len(name) <= MAX_TOPIC_LENGTH


def test_a_message_may_name_whatever_a_pattern_can_make() -> None:
    longest = "user:" + "x" * (MAX_TOPIC_LENGTH - 5)
    assert Pattern("user:{id*}").match(longest)
    assert InTopic().validate({"topic": longest}) == {}
    assert "topic" in InTopic().validate({"topic": longest + "x"})


def test_a_key_may_be_as_long_as_the_limit_and_no_longer() -> None:
    publication = {"topic": "a", "payload": {}}
    assert Publish().validate({**publication, "key": "k" * MAX_KEY_LENGTH}) == {}
    assert "key" in Publish().validate({**publication, "key": "k" * (MAX_KEY_LENGTH + 1)})
