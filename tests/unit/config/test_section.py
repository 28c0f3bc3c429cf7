"""A plugin's section: from every source, by the plugin's own schema, each fault in its place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, fields, validate

from jackfield.config import (
    ConfigError,
    DurationField,
    Secret,
    SecretField,
    Section,
    load_settings,
)


class ChatConfig(Schema):
    history = fields.Integer(strict=True, load_default=200, validate=validate.Range(min=0))
    ttl = DurationField(load_default=60.0)
    token = SecretField(load_default=None)
    max_rooms = fields.Integer(data_key="max-rooms", load_default=None)
    words = fields.List(fields.String(), load_default=list)
    topics = fields.List(fields.Nested(Schema.from_dict({"size": fields.Integer(strict=True)})))
    keys = fields.List(SecretField())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jackfield.toml"


def sections(
    path: Path,
    text: str,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Mapping[str, Section]:
    path.write_text(text)
    return load_settings(path, environ or {}, overrides).plugins.sections


def problems_of(section: Section, schema: Schema | None) -> dict[str, str]:
    """The place of each problem, by its message."""
    with pytest.raises(ConfigError) as caught:
        section.load(schema)
    return {message: where for where, message in caught.value.problems}


def test_a_plugins_section_is_validated_by_its_own_schema(path: Path) -> None:
    path.write_text(
        "[plugins]\nstrict = true\n[plugins.chat]\nhistory = 5\nttl = '1h'\ntoken = 'hunter2'\n"
        "max-rooms = 3\n"
    )
    settings = load_settings(path, {})

    assert settings.plugins.strict is True
    assert list(settings.plugins.sections) == ["chat"]
    assert settings.plugins.sections["chat"].load(ChatConfig()) == {
        "history": 5,
        "ttl": 3600.0,
        "token": Secret("hunter2"),
        "max_rooms": 3,
        "words": [],
    }
    assert "hunter2" not in repr(settings)


def test_variables_and_overrides_reach_a_plugins_section(path: Path) -> None:
    environ = {
        "JACKFIELD__PLUGINS__CHAT__TTL": "2s",
        "JACKFIELD__PLUGINS__CHAT__MAX_ROOMS": "2",
        "JACKFIELD__PLUGINS__CHAT__TOKEN": "12",
        "JACKFIELD__PLUGINS__CHAT__WORDS": '["a"]',
        "JACKFIELD__PLUGINS__OTHER__X": "1",
    }
    overrides = {"plugins": {"chat": {"max-rooms": 3}}}

    found = sections(path, "[plugins.chat]\nhistory = 1\nttl = 1\n", environ, overrides)

    assert sorted(found) == ["chat", "other"]
    assert found["chat"].load(ChatConfig()) == {
        "history": 1,
        "ttl": 2.0,
        "max_rooms": 3,
        "token": Secret("12"),
        "words": ["a"],
    }


def test_each_problem_of_a_plugins_section_has_its_place(path: Path) -> None:
    text = """\
[plugins.chat]
histroy = 1
ttl = "soon"
token = 4242
words = "hunter2"
[[plugins.chat.topics]]
size = 1
[[plugins.chat.topics]]

size = "big"
"""
    environ = {
        "JACKFIELD__PLUGINS__CHAT__HISTORY": "-1",
        "JACKFIELD__PLUGINS__CHAT__HISTROY": "1",
        "JACKFIELD__PLUGINS__CHAT__KEYS": '["hunter2", 4242]',
    }
    hint = 'write "500ms", "5s", "2m", "1h", "1d" or seconds, from 0 to ten years'

    assert problems_of(sections(path, text, environ)["chat"], ChatConfig()) == {
        "Unknown variable; did you mean 'JACKFIELD__PLUGINS__CHAT__HISTORY'?": (
            "JACKFIELD__PLUGINS__CHAT__HISTROY"
        ),
        "plugins.chat.histroy: Unknown key; did you mean 'history'?": f"{path}:2",
        f'plugins.chat.ttl: Not a valid duration: {hint}; got "soon"': f"{path}:3",
        "plugins.chat.token: Not a valid string; got an integer": f"{path}:4",
        "plugins.chat.words: Not a valid list; got a string": f"{path}:5",
        'plugins.chat.topics[1].size: Not a valid integer; got "big"': f"{path}:10",
        "plugins.chat.history: Must be greater than or equal to 0; got -1": (
            "JACKFIELD__PLUGINS__CHAT__HISTORY"
        ),
        "plugins.chat.keys[1]: Not a valid string; got an integer": (
            "JACKFIELD__PLUGINS__CHAT__KEYS"
        ),
    }


def test_a_value_that_replaces_a_whole_list_takes_its_place(path: Path) -> None:
    text = "[[plugins.chat.topics]]\nsize = 1\n"
    environ = {"JACKFIELD__PLUGINS__CHAT__TOPICS": '[{"size": "big"}]'}

    assert problems_of(sections(path, text, environ)["chat"], ChatConfig()) == {
        'plugins.chat.topics[0].size: Not a valid integer; got "big"': (
            "JACKFIELD__PLUGINS__CHAT__TOPICS"
        )
    }


def test_a_plugin_without_a_schema_takes_no_settings(path: Path) -> None:
    found = sections(path, "[plugins.echo]\nvolume = 1\n[plugins.mute]\n")

    assert found["mute"].load(None) == {}

    assert problems_of(found["echo"], None) == {
        "plugins.echo.volume: Unknown key; there are none": f"{path}:2"
    }


def test_a_plugin_without_a_section_has_the_defaults_of_its_schema() -> None:
    required = Schema.from_dict({"token": SecretField(required=True)})

    assert Section.empty("chat").load(ChatConfig())["history"] == 200
    assert problems_of(Section.empty("chat"), required()) == {
        "plugins.chat.token: Missing data for required field": "configuration"
    }


def test_a_schema_that_ignores_unknown_keys_may(path: Path) -> None:
    class Lenient(Schema):
        class Meta:
            unknown = EXCLUDE

    assert sections(path, "[plugins.chat]\nx = 1")["chat"].load(Lenient()) == {}


def test_a_section_has_a_place(path: Path) -> None:
    environ = {"JACKFIELD__PLUGINS__CHAT__X": "1", "JACKFIELD__PLUGINS__POLL__X": "1"}

    found = sections(path, "\n[plugins.chat]\n", environ, {"plugins": {"quiz": {"x": 1}}})

    assert found["chat"].place == f"{path}:2"
    assert found["poll"].place == "JACKFIELD__PLUGINS__POLL__X"
    assert found["quiz"].place == "override"
    assert Section.empty("none").place == "configuration"
