"""Tasks are read from what Redis keeps and publishes of them."""

import msgspec
import pytest

from jackfield.agents.task import ChannelRecord, is_task_id, read_event, read_records, task_object


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("echo." + "x" * 22, True),
        ("a-b_c9." + "-_" * 11, True),
        ("a" * 64 + "." + "x" * 22, True),
        ("a" * 65 + "." + "x" * 22, False),
        ("echo." + "x" * 21, False),
        ("echo." + "x" * 23, False),
        ("echo." + "x" * 22 + "\n", False),
        ("Echo." + "x" * 22, False),
        ("e}cho." + "x" * 22, False),
        ("echo." + "x" * 21 + "}", False),
        ("echo." + "x" * 21 + "é", False),
        ("." + "x" * 22, False),
        ("echo", False),
        ("", False),
    ],
)
def test_only_what_can_be_a_tasks_id_gets_as_far_as_a_key(text: str, *, is_one: bool) -> None:
    assert is_task_id(text) is is_one


def test_a_record_ends_where_it_says_and_may_hold_anything() -> None:
    records = [
        ChannelRecord(["e", "echo.x", "epoch", "1"], b'{"a":"\\n"}'),
        ChannelRecord(["o", "i", "echo.x", "1", "hold"], b""),
        ChannelRecord(["e", "echo.x", "epoch", "2"], "e 1 2 3\né\n".encode()),
        ChannelRecord(["o", "i", "echo.x", "1", "answered", "3"], b"{}"),
    ]
    data = b"".join(
        b"%s %d\n%s" % (" ".join(each.words).encode(), len(each.body), each.body)
        for each in records
    )
    assert list(read_records(data)) == records
    assert list(read_records(b"")) == []


def test_an_event_is_read_for_what_it_says() -> None:
    told = read_event(
        b'{"type":"event","topic":"task:x","offset":3,"payload":'
        b'{"kind":"chunks","seq":4,"chunks":[{"a": 1.50},{"state":"completed"}]}}'
    )
    assert (told.kind, told.seq, told.state) == ("chunks", 4, "")
    assert [bytes(chunk) for chunk in told.chunks] == [b'{"a": 1.50}', b'{"state":"completed"}']


def test_a_task_is_shown_as_its_fields_say() -> None:
    fields = {
        "brief": b'"task":"echo.x","agent":"echo","caller":null,"deadline":1.5',
        "state": b"completed",
        "attempt": b"2",
        "seq": b"7",
        "input": b'{"b": 1.50}',
        "output": b"{}",
        "caller": b"null",
        "watchers": b'["bob"]',
        "instance": b"secret",
        "answer": b"{}",
        "slow": b"node",
    }
    shown = task_object(fields)
    assert msgspec.json.decode(msgspec.json.encode(shown)) == {
        "task": "echo.x",
        "agent": "echo",
        "caller": None,
        "deadline": 1.5,
        "state": "completed",
        "attempt": 2,
        "seq": 7,
        "input": {"b": 1.5},
        "output": {},
    }
