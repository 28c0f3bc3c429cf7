"""Data of every depth that Jackfield takes becomes a part, and comes whole to who reads it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from a2a.types import Part
from google.protobuf.json_format import MessageToDict

from jackfield_a2a.translate import JSON, make_part


def in_lists(value: Any) -> Any:
    return [value]


def in_objects(value: Any) -> Any:
    return {"a": value}


def in_both(value: Any) -> Any:
    return {"a": [value]}


@pytest.mark.parametrize("wrap", [in_lists, in_objects, in_both])
def test_data_of_every_depth_becomes_a_part(wrap: Callable[[Any], Any]) -> None:
    value: Any = "leaf"
    as_data = []
    for _ in range(64):
        value = wrap(value)
        made = make_part({"deep": value})
        part = Part.FromString(made.SerializeToString())
        assert part.media_type == JSON
        as_data.append(part.WhichOneof("content") == "data")
        told = MessageToDict(part.data) if as_data[-1] else json.loads(part.text)
        assert told == {"deep": value}
    # What is data comes first, and then what is too deep for that.
    assert as_data == sorted(as_data, reverse=True)
    assert as_data[0]
    assert not as_data[-1]
