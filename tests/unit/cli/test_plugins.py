"""`jackfield plugins` lists what is installed, for people and for programs."""

import json
from pathlib import Path

import pytest

from tests.support.commands import Install, lines, run
from tests.support.distributions import plugin


def test_the_table_has_each_plugin_its_state_and_its_types(installed: Install) -> None:
    installed("drum")
    installed("broken", "import no_such_module")
    installed("horn")
    Path("jackfield.toml").write_text("[plugins]\ndisabled = ['horn']\n")
    result = run("plugins", "--config", "jackfield.toml")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in lines(result.stdout)[2:]}
    assert rows["drum"] == ["test-drum", "1.0", "loaded", "drum.make"]
    assert rows["horn"] == ["test-horn", "1.0", "disabled"]
    assert rows["broken"][:5] == ["test-broken", "1.0", "failed", "import:", "it"]
    assert "session.ping," in rows["session"]


#: What of `tests.support.distributions.PLUGIN` to replace, so that it declares topics as well.
WITH_TOPICS = {
    "    @{name}.handler": """    {name}.topic("{name}:{{kit}}:{{path*}}")
    {name}.topic("{name}", Payload, history=200, ttl="90m", presence=True, publish=True,
                 scopes=["b", "a"])

    @{name}.handler""",
}


def test_the_table_has_the_topics_too(installed: Install) -> None:
    installed("drum", plugin("drum", WITH_TOPICS))
    header, _, *rows = lines(run("plugins").stdout)
    assert header.split() == ["Plugin", "Distribution", "State", "Message", "types", "Topics"]
    (row,) = (row.split() for row in rows if "test-drum" in row)
    assert row[3:] == ["loaded", "drum.make", "drum,", "drum:{kit}:{path*}"]


def test_a_verbose_list_tells_about_each_topic(installed: Install) -> None:
    installed("drum", plugin("drum", WITH_TOPICS))
    found = [line.strip() for line in lines(run("plugins", "--verbose").stdout)]
    place = found.index("drum.make  needs maker · 5 s · compiled")
    assert found[place + 3 : place + 7] == [
        "drum  topic · history of 200 · kept 90 m · presence · clients publish · needs a, b",
        "size",
        "drum:{kit}:{path*}  topic · no history · kept 1 h",
        "",
    ]


def test_json_has_the_topics_with_the_schemas_of_their_events(installed: Install) -> None:
    installed("drum", plugin("drum", WITH_TOPICS))
    Path("jackfield.toml").write_text("[plugins]\nenabled = ['drum']\n")
    entries = json.loads(run("plugins", "--json", "--config", "jackfield.toml").stdout)
    (drum,) = (entry for entry in entries if entry["name"] == "drum")
    assert drum["topics"] == [
        {
            "pattern": "drum",
            "history": 200,
            "ttl": 5400.0,
            "presence": True,
            "publish": True,
            "scopes": ["a", "b"],
            "event": drum["types"][0]["payload"],
        },
        {
            "pattern": "drum:{kit}:{path*}",
            "history": 0,
            "ttl": 3600.0,
            "presence": False,
            "publish": False,
            "scopes": [],
            "event": {"type": "object", "properties": {}, "additionalProperties": True},
        },
    ]
    assert not any(entry["topics"] for entry in entries if entry is not drum)


def test_a_verbose_list_tells_about_each_type(installed: Install) -> None:
    installed("drum")
    found = [line.strip() for line in lines(run("plugins", "--verbose").stdout)]
    place = found.index("drum  test-drum 1.0  loaded")
    assert found[place + 1 : place + 4] == [
        "drum.make  needs maker · 5 s · compiled",
        "Make something.",
        "size",
    ]


def test_json_is_all_that_a_program_gets_to_read(
    installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    installed("drum", plugin("drum") + "\n    print('I print while I am imported')")
    installed("broken", "import no_such_module")
    result = run("plugins", "--json")
    assert result.exit_code == 0
    assert "I print while I am imported" in result.stderr
    entries = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert entries["broken"] == {
        "name": "broken",
        "distribution": "test-broken",
        "version": "1.0",
        "state": "failed",
        "stage": "import",
        "reason": ("it can't be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        "types": [],
        "topics": [],
    }
    assert entries["drum"]["state"] == "loaded"
    assert entries["drum"]["stage"] is None
    assert entries["drum"]["reason"] is None
    assert entries["drum"]["topics"] == []
    assert entries["drum"]["types"] == [
        {
            "type": "drum.make",
            "doc": "Make something.\n\nWhatever it is.",
            "streams": False,
            "concurrent": False,
            "scopes": ["maker"],
            "timeout": 5.0,
            "not_compiled": None,
            "payload": {
                "type": "object",
                "properties": {"size": {"type": "integer"}},
                "required": ["size"],
                "additionalProperties": False,
            },
            "reply": None,
        }
    ]


def test_json_tells_the_timeout_that_a_type_really_has(installed: Install) -> None:
    installed("drum", plugin("drum", {', timeout="5s"': ""}))
    stream = {', timeout="5s"': "", "(ctx, data):": "(ctx, data):\n        yield {{}}"}
    installed("river", plugin("river", stream))
    Path("jackfield.toml").write_text("[limits]\nhandler_timeout = '7s'\n")
    result = run("plugins", "--json", "--config", "jackfield.toml")
    types = {
        each["type"]: (each["timeout"], each["streams"], each["concurrent"])
        for entry in json.loads(result.stdout)
        for each in entry["types"]
    }
    assert types["drum.make"] == (7.0, False, False)
    assert types["river.make"] == (None, True, True)
