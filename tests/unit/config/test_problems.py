"""A problem is told with its place, its key as TOML spells it, and what was meant."""

from jackfield.config import ConfigError, Problem
from jackfield.config.problems import dotted_key, suggest


def test_an_error_prints_each_problem_on_its_line() -> None:
    problems = [Problem("jackfield.toml:2", "server.port: wrong"), Problem("override", "x: wrong")]

    assert str(ConfigError(problems)) == "jackfield.toml:2: server.port: wrong\noverride: x: wrong"


def test_a_key_is_described_as_toml_spells_it() -> None:
    assert dotted_key(("plugins", "chat", "rooms", 2, "full name")) == (
        'plugins.chat.rooms[2]."full name"'
    )


def test_a_suggestion_is_what_was_meant_or_all_that_there_are() -> None:
    assert suggest("caht", ["chat", "echo"]) == "; did you mean 'chat'?"
    assert suggest("zzz", ["chat", "echo"]) == "; there are: chat, echo"
    assert suggest("zzz", []) == "; there are none"
