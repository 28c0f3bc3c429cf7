"""The scripts have no key, no message and no error of their own: those stand in Python once."""

import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

from jackfield.redis.lua import filled
from jackfield.store.lua import TEMPLATES
from jackfield.wire.errors import ERROR_CODES

SCRIPTS = {
    script.name: re.sub(r"--.*", "", script.read_text("utf-8"))
    for script in (files("jackfield.store") / "scripts").iterdir()
}

#: What scripts may join to something: it parts words, or makes offsets and scores of numbers.
JOINED = {" ", "-0", "("}


def literals(text: str) -> Iterator[str]:
    return (literal[1:-1] for literal in re.findall(r"'(?:\\.|[^'\\])*'", text))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_no_part_of_a_key_or_of_a_message_and_no_error(name: str) -> None:
    assert '"' not in SCRIPTS[name]
    assert "[[" not in SCRIPTS[name]
    for literal in literals(SCRIPTS[name]):
        assert ":" not in literal.replace("run_id:", "")  # of the reply to INFO
        assert literal not in ERROR_CODES
        assert literal not in {spec.message for spec in ERROR_CODES.values()}
        assert not re.search(r"[A-Z][a-z]+ .*\.$", literal), "a sentence is for people to read"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_joins_nothing_to_anything_but_blanks_and_signs_of_numbers(name: str) -> None:
    text = SCRIPTS[name]
    joined = re.findall(r"'((?:\\.|[^'\\])*)' \.\.", text)
    joined += re.findall(r"\.\.\s+'((?:\\.|[^'\\])*)'", text)
    assert set(joined) <= JOINED


def test_each_template_is_called_by_a_script() -> None:
    everything = "\n".join(SCRIPTS.values())
    assert [name for name in TEMPLATES if f"{name}(" not in everything] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_call_of_a_template_is_left(name: str) -> None:
    text = filled(SCRIPTS[name], TEMPLATES)
    assert not re.search(rf"\b({'|'.join(TEMPLATES)})\(", text)
