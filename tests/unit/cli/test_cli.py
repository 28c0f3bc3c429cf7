"""What the command line promises where no server is needed."""

import json
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from jackfield.cli import main, terminal
from tests.support.distributions import install, plugin

Install = Callable[..., None]

#: What of `tests.support.distributions.PLUGIN` to replace, so that it wants a configuration.
CONFIGURED = {'Plugin("{name}")': 'Plugin("{name}", config=Payload)'}


@pytest.fixture(autouse=True)
def own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A directory to work in, and logging and modules afterwards as they were before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JACKFIELD_URL", raising=False)
    monkeypatch.setattr(terminal.out, "width", 200)
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Installs a plugin for the time of a test, by its name and source."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install_there(name: str, source: str | None = None) -> None:
        install(site, name, plugin(name) if source is None else source)

    return install_there


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"ws://127.0.0.1:{unused.getsockname()[1]}/ws"


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """Run a command; an exception it lets out is the test's failure."""
    return CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False)


def lines(text: str) -> list[str]:
    return text.splitlines()


# Help


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["check"], ["plugins"], ["types"], ["call"], ["agents"]]
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_with_an_example_and_its_exit_codes(
    command: list[str], option: str
) -> None:
    result = run(*command, option)
    assert result.exit_code == 0
    assert "Examples:\n    jackfield " in result.stdout
    assert "Exit codes:\n    0    " in result.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version").stdout == f"jackfield {version('jackfield')}\n"


@pytest.mark.parametrize(
    "arguments",
    [["sing"], ["serve", "--loud"], ["serve", "--port", "many"], ["call"], ["check", "a", "b"]],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


# check


def test_a_fine_configuration_gets_one_line(installed: Install) -> None:
    installed("drum")
    Path("fine.toml").write_text("[server]\nport = 9000\n[plugins]\nenabled = ['drum']\n")
    result = run("check", "--config", "fine.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "fine.toml is fine: 1 plugin with 1 message type.\n"


def test_a_check_finds_all_the_problems_at_once(installed: Install) -> None:
    installed("broken", "import no_such_module")
    installed("horn", plugin("horn", CONFIGURED))
    Path("bad.toml").write_text(
        "[server]\nport = 99999\n[redis]\nulr = 'embedded'\n"
        "[plugins]\ndisabled = ['hron', 'request']\n"
        "[plugins.drums]\nsize = 1\n"
        "[plugins.horn]\nsize = 'large'\ncolour = 'red'\n"
    )
    result = run("check", "--config", "bad.toml")
    assert result.exit_code == 1
    found = lines(result.stdout)
    assert found[:2] == [
        "bad.toml:2: server.port: Must be from 0 to 65535; got 99999",
        "bad.toml:4: redis.ulr: Unknown key; did you mean 'url'?",
    ]
    assert "bad.toml:7: no plugin 'drums' is installed" in found[2]
    assert "no plugin 'hron' is installed; did you mean 'horn'?" in found[3]
    assert found[4] == (
        "plugin 'broken' of test-broken 1.0: it can't be imported: "
        "ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert found[5:] == [
        'bad.toml:10: plugins.horn.size: Not a valid integer; got "large"',
        "bad.toml:11: plugins.horn.colour: Unknown key; there are: size",
    ]
    assert result.stderr == "7 problems.\n"


def test_a_plugin_that_would_be_left_out_is_a_problem(installed: Install) -> None:
    installed("broken", "raise ValueError('first line\\nsecond line')")
    result = run("check")
    assert result.exit_code == 1
    assert result.stdout == (
        "plugin 'broken' of test-broken 1.0: it can't be imported: "
        "ValueError: first line second line\n"
    )


def test_a_plugin_that_is_not_wanted_is_not_checked(installed: Install) -> None:
    installed("broken", "import no_such_module")
    Path("jackfield.toml").write_text("[plugins]\ndisabled = ['broken']\n")
    assert run("check", "--config", "jackfield.toml").exit_code == 0


def test_what_an_unset_key_lacks_names_its_plugin(installed: Install) -> None:
    installed("horn", plugin("horn", CONFIGURED))
    assert "plugins.horn.size: Missing data for required field" in run("check").stdout


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "x.toml: The file cannot be read: No such file or directory\n"),
        ("[server", "x.toml:1: Not valid TOML: "),
        ("[plugins]\nenabled = 1\n", "x.toml:2: plugins.enabled: Not a valid list"),
    ],
)
@pytest.mark.parametrize("command", ["check", "plugins", "serve"])
def test_no_command_goes_on_with_a_wrong_configuration(
    command: str, content: str | None, problem: str
) -> None:
    if content is not None:
        Path("x.toml").write_text(content)
    result = run(command, "--config", "x.toml")
    assert result.exit_code == 1
    assert problem in (result.stdout if command == "check" else result.stderr)


def test_a_variable_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD__SERVER__PORT", "many")
    result = run("check")
    assert lines(result.stdout) == [
        'JACKFIELD__SERVER__PORT: server.port: Not a valid integer; got "many"'
    ]


def test_an_option_of_serve_is_told_as_one() -> None:
    result = run("serve", "--host", "a/b")
    assert result.exit_code == 1
    assert "command line: server.host: Not an IP address or a host name" in result.stderr


# plugins


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


# call


@pytest.mark.parametrize(
    ("arguments", "stdin", "fault"),
    [
        (["x.y", "{"], None, "Not valid JSON"),
        (["x.y", "NaN"], None, "Not valid JSON"),
        (["x.y", "[" * 5000], None, "Not valid JSON"),
        (["x.y", '{"a": "\udcff"}'], None, "Not valid JSON"),
        (["x.y", "-"], b'{"a": \xff}', "Not valid JSON"),
        (["x.y", "-"], b"", "Not valid JSON"),
        (["x.y", "[1]"], None, "Not a JSON object"),
        (["x.y", "-"], b"7", "Not a JSON object"),
        (["x.y", "--timeout", "soon"], None, "'soon' is not a duration"),
        (["x.y", "--token-env", "NO_SUCH_TOKEN"], None, "NO_SUCH_TOKEN is not set"),
        (["\udcff.y"], None, "Not a message type"),
    ],
)
def test_a_call_that_cannot_be_made_is_wrong_usage(
    arguments: list[str], stdin: bytes | None, fault: str
) -> None:
    result = run("call", *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in result.stderr


def test_a_token_with_a_line_end_in_it_never_becomes_a_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "secret\r\nX-Evil: 1")
    result = run("call", "x.y", "--token-env", "TOKEN")
    assert result.exit_code == 2
    assert "secret" not in result.output


def test_a_server_that_is_not_there_exits_with_3(refusing_url: str) -> None:
    result = run("call", "session.ping", "--url", refusing_url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(lines(result.stderr)) == 1
    assert "cannot be reached: Connection refused." in result.stderr


@pytest.mark.parametrize("url", ["", "localhost", "ws://[::1", "ws://127.0.0.1:99999/ws"])
def test_an_address_that_is_none_exits_with_3(url: str) -> None:
    result = run("call", "session.ping", "--url", url)
    assert result.exit_code == 3
    assert "is not an address like ws://host:port/path" in result.stderr


def test_the_address_may_stand_in_a_variable_which_no_configuration_minds(
    refusing_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_URL", refusing_url)
    result = run("call", "session.ping")
    assert refusing_url.split("/")[2] in result.stderr
    assert run("check").exit_code == 0
