"""What is refused is told in its place, with what is expected and what was given."""

from pathlib import Path

import pytest

from tests.support.configuration import Toml, problem_of


@pytest.fixture
def toml(tmp_path: Path) -> "Toml":
    return Toml(tmp_path / "jackfield.toml")


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("[server]\nprot = 1", "2", "server.prot: Unknown key; did you mean 'port'?"),
        ("[drain]\nx = 1", "2", "drain.x: Unknown key; there are: deadline"),
        ("\n[sever]", "2", "sever: Unknown section; did you mean 'server'?"),
        ("plugin = 1", "1", "plugin: Unknown section; did you mean 'plugins'?"),
        ("server = 1", "1", "server: Must be a table, [server]"),
        ("plugins = 1", "1", "plugins: Must be a table, [plugins]"),
        ("[[server]]", "1", "server: Must be a table, [server]"),
        ("[plugins]\nchat = 1", "2", "plugins.chat: Unknown key; there are: enabled, disabled, "),
        ("[plugins]\nstrickt = 1", "2", "plugins.strickt: Unknown key; did you mean 'strict'?"),
        ("[plugins.strict]", "1", "plugins.strict: Not a valid boolean; got a table"),
        ("[plugins.Chat]", "1", "plugins.Chat: Not the name of a plugin"),
        ('[server]\n"a b" = 1', "2", 'server."a b": Unknown key'),
    ],
)
def test_an_unknown_key_is_refused_where_it_stands(
    toml: Toml, text: str, where: str, message: str
) -> None:
    ((found_where, found_message),) = toml.problems(text)

    assert found_where == where
    assert found_message.startswith(message)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("server", "port", "80", 'Not a valid integer; got "80"'),
        ("server", "port", True, "Not a valid integer; got true"),
        ("server", "port", 80.0, "Not a valid integer; got 80.0"),
        ("server", "port", [], "Not a valid integer; got a list"),
        ("server", "port", -1, "Must be from 0 to 65535; got -1"),
        ("server", "port", 65_536, "Must be from 0 to 65535; got 65536"),
        ("server", "debug", 1, "Not a valid boolean; got 1"),
        ("server", "debug", "true", 'Not a valid boolean; got "true"'),
        ("server", "host", 1, "Not a valid string; got 1"),
        ("redis", "pool", 0, "Must be at least 1; got 0"),
        ("redis", "timeout", 0, "Must be more than 0; got 0"),
        ("redis", "probe", 0, "Must be more than 0; got 0"),
        ("redis", "prefix", "{x}", 'Must be 1 to 64 letters, digits or . _ : -; got "{x}"'),
        ("redis", "prefix", "x\n", 'Must be 1 to 64 letters, digits or . _ : -; got "x\\n"'),
        ("limits", "message_bytes", 1023, "Must be from 1024 to 1073741824; got 1023"),
        ("limits", "event_bytes", 1023, "Must be from 1024 to 1073741824; got 1023"),
        ("limits", "topics", 0, "Must be at least 1; got 0"),
        ("limits", "history", 0, "Must be at least 1; got 0"),
        ("limits", "publishes_per_second", 0, "Must be at least 1; got 0"),
        ("plugins", "enabled", "*", "Not a valid list; got a string"),
        ("logging", "level", "loud", 'Must be one of: debug, info, warning, error; got "loud"'),
        ("logging", "format", "xml", 'Must be one of: auto, console, json; got "xml"'),
    ],
)
def test_a_wrong_value_is_answered_with_what_is_expected_and_what_was_given(
    section: str, key: str, value: object, message: str
) -> None:
    assert problem_of(**{section: {key: value}}) == f"{section}.{key}: {message}"


def test_an_item_of_a_list_is_named_by_its_index() -> None:
    assert problem_of(plugins={"enabled": ["a", 1]}) == (
        "plugins.enabled[1]: Not a valid string; got 1"
    )


def test_a_long_value_is_not_quoted_whole() -> None:
    message = problem_of(logging={"level": "x" * 10_000})

    assert len(message) < 300


@pytest.mark.parametrize("value", [["hunter2"], {"x": "hunter2"}, 4242, ""])
def test_a_wrong_secret_is_refused_without_its_value(value: object) -> None:
    message = problem_of(redis={"url": "redis://h", "password": value})

    assert message.startswith("redis.password: ")
    assert "hunter2" not in message
    assert "4242" not in message
