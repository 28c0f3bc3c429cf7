"""A text that has a code keeps it, whatever is done with it."""

import copy
import pickle
from typing import Any

import pytest

from jackfield.schema.fault_code import UNNAMED, CodedText, code_of, snake_case, with_code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Length", "length"),
        ("OneOf", "one_of"),
        ("HTTPOnly", "http_only"),
        ("IsURL", "is_url"),
        ("minLength", "min_length"),
        ("Utf8Only", "utf8_only"),
        ("_private", "private"),
        ("at_least", "at_least"),
    ],
)
def test_a_name_becomes_a_code_in_snake_case(name: str, code: str) -> None:
    assert snake_case(name) == code


def test_every_text_gets_the_code_that_has_none() -> None:
    named = CodedText("Two.", "own")
    coded = with_code({"a": ["One.", named], "b": {0: "Three."}, "c": [{"d": 4}]}, "length")
    assert coded == {"a": ["One.", "Two."], "b": {0: "Three."}, "c": [{"d": 4}]}
    assert [code_of(text) for text in (*coded["a"], coded["b"][0])] == ["length", "own", "length"]


def test_the_code_of_a_plain_text_is_invalid() -> None:
    assert code_of("Refused.") == UNNAMED == "invalid"


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: text.format(name="x"),
        copy.copy,
        copy.deepcopy,
        lambda text: pickle.loads(pickle.dumps(text)),
    ],
    ids=["format", "copy", "deepcopy", "pickle"],
)
def test_a_coded_text_stays_coded(changed: Any) -> None:
    text = changed(CodedText("No {name}.", "regexp"))
    assert type(text) is CodedText
    assert text in {"No {name}.", "No x."}
    assert text.code == "regexp"
