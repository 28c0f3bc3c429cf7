"""What no server could answer is refused before it is sent, and the fault is named."""

from dataclasses import dataclass
from typing import Any

import pytest

from jackfield.client import NotSent
from jackfield.client.message import decode, write


@dataclass
class Record:
    """Something that is written as an object."""

    n: Any


@pytest.mark.parametrize(
    ("payload", "pointer", "code"),
    [
        ({"text": "\ud83d"}, "/text", "invalid"),
        ({"a": [1, {"b/c": "half \udc00"}]}, "/a/1/b~1c", "invalid"),
        ({"\ud83d": 1}, "", "invalid"),
        ({"n": float("nan")}, "/n", "special"),
        ({"n": [None, float("-inf")]}, "/n/1", "special"),
        ({"n": 10**5000}, "/n", "invalid"),
        ({"o": object()}, "/o", "invalid"),
        ({"r": Record(float("inf"))}, "/r/n", "special"),
        ({"r": Record(object())}, "/r", "invalid"),
        ({"set": {object}}, "/set/0", "invalid"),
    ],
)
def test_what_json_has_no_room_for_is_refused_where_it_stands(
    payload: Any, pointer: str, code: str
) -> None:
    with pytest.raises(NotSent) as refused:
        write("a.b", payload, 1)
    assert refused.value.code == "invalid_payload"
    assert not refused.value.retryable
    (fault,) = refused.value.fields
    assert (fault["pointer"], fault["code"]) == (pointer, code)


def test_what_has_no_end_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = [loop]
    with pytest.raises(NotSent) as refused:
        write("a.b", loop, 1)
    assert "contains itself" in refused.value.fields[0]["message"]


def test_a_type_that_is_no_text_is_refused() -> None:
    with pytest.raises(NotSent) as refused:
        write("\ud83d", {}, 1)
    assert refused.value.code == "invalid_message"


def test_what_json_has_room_for_is_sent() -> None:
    payload = {"null": None, "big": 2**70, "text": "null \U0001f600", "r": Record([1.5])}
    assert decode(write("a.b", payload, 7)) == {
        "type": "a.b",
        "id": 7,
        "payload": {**payload, "r": {"n": [1.5]}},
    }
    assert decode(write("a.b", None)) == {"type": "a.b", "payload": {}}
