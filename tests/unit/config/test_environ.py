"""Environment variables: each names a key, and is read as the kind of value it has."""

import pytest

from jackfield.config import load_settings
from tests.support.configuration import problems_of


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SERVER__DEBUG", "true", True),
        ("SERVER__DEBUG", "False", False),
        ("SERVER__PORT", "0", 0),
        ("CONNECTIONS__TTL", "2m", 120.0),
        ("CONNECTIONS__TTL", "50.5", 50.5),
        ("REDIS__PREFIX", "12", "12"),
        ("PLUGINS__DISABLED", '["a", "b"]', ("a", "b")),
        ("PLUGINS__DISABLED", "['a', 'b',]", ("a", "b")),
        ("AUTH__ORIGINS", '["https:\\/\\/a.example"]', ("https://a.example",)),
    ],
)
def test_a_variable_is_read_as_the_kind_of_its_key(name: str, text: str, value: object) -> None:
    section, key = name.lower().split("__")

    settings = load_settings(None, {f"JACKFIELD__{name}": text})

    assert getattr(getattr(settings, section), key) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SERVER__PORT", "many", 'server.port: Not a valid integer; got "many"'),
        ("SERVER__DEBUG", "yes", 'server.debug: Not a valid boolean; got "yes"'),
        ("PLUGINS__ENABLED", "chat", "plugins.enabled: Not a valid list; got a string"),
        ("PLUGINS__ENABLED", "[]\nx = 1", "plugins.enabled: Not a valid list; got a string"),
        ("SERVER__PROT", "1", "Unknown variable; did you mean 'JACKFIELD__SERVER__PORT'?"),
        ("SERVER__port", "1", "Unknown variable; did you mean 'JACKFIELD__SERVER__PORT'?"),
        ("SERVER_PORT", "1", "Unknown variable; did you mean 'JACKFIELD__SERVER__PORT'?"),
        ("SERVR__PORT", "1", "Unknown variable; did you mean 'JACKFIELD__SERVER__PORT'?"),
        ("PLUGINS__STRICT__X", "1", "Unknown variable; did you mean 'JACKFIELD__PLUGINS__STRICT'?"),
        ("DRAIN__ZZZ", "1", "Unknown variable; there are: JACKFIELD__DRAIN__DEADLINE"),
    ],
)
def test_a_wrong_variable_is_named(name: str, text: str, message: str) -> None:
    assert problems_of(None, {f"JACKFIELD__{name}": text}) == [(f"JACKFIELD__{name}", message)]


@pytest.mark.parametrize("name", ["JACKFIELD__", "JACKFIELD__SERVER", "JACKFIELD__PLUGINS____X"])
def test_a_variable_that_names_no_key_is_unknown(name: str) -> None:
    (problem,) = problems_of(None, {name: "1"})

    assert problem.where == name
    assert problem.message.startswith("Unknown variable")


def test_variables_of_others_are_left_alone() -> None:
    others = {"JACKFIELD_PORT": "tcp://10.0.0.1:80", "HOME": "/", "jackfield__x": "1"}
    assert load_settings(None, others) == load_settings(None, {})
