"""A new connection is written with the time it was made, and with fields of its own."""

import time

from jackfield.connection.new_connection import NewConnection


def test_it_was_made_now_and_has_no_fields() -> None:
    before = time.time()
    first, second = NewConnection("a", None, ""), NewConnection("b", "alice", "192.0.2.1")
    assert before <= first.connected_at <= second.connected_at <= time.time()
    assert first.fields == {}
    assert first.fields is not second.fields
