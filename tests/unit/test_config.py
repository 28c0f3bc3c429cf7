"""The configuration: what is accepted, what is refused, and in which words."""

import copy
import pickle
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jackfield.config import (
    EMPTY_SECTION,
    SCHEMAS,
    ConfigError,
    DurationField,
    Problem,
    Secret,
    SecretField,
    Section,
    Settings,
    load_settings,
    local_origins,
    parse_duration,
    suggest,
)
from marshmallow import EXCLUDE, Schema, fields, validate

EXAMPLE = Path(__file__).parents[2] / "config" / "jackfield.toml"


def load(**overrides: Any) -> Settings:
    return load_settings(None, {}, overrides)


def problems_of(*args: Any, **kwargs: Any) -> list[Problem]:
    """What `load_settings` refuses a configuration for."""
    with pytest.raises(ConfigError) as caught:
        load_settings(*args, **kwargs)
    return caught.value.problems


def problem_of(**overrides: Any) -> str:
    """The one thing that is wrong with these overrides."""
    (problem,) = problems_of(None, {}, overrides)
    return problem.message


def variable_problem(name: str, text: str) -> Problem:
    (problem,) = problems_of(None, {name: text})
    return problem


@pytest.fixture
def toml(tmp_path: Path) -> "Toml":
    return Toml(tmp_path / "jackfield.toml")


class Toml:
    """A configuration file of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str, environ: Mapping[str, str] | None = None) -> Settings:
        self.path.write_text(text)
        return load_settings(self.path, environ or {})

    def problems(
        self, text: str, environ: Mapping[str, str] | None = None
    ) -> list[tuple[str, str]]:
        """Each problem's place, without the path of the file, and its message."""
        self.path.write_text(text)
        return [
            (problem.where.removeprefix(f"{self.path}:"), problem.message)
            for problem in problems_of(self.path, environ or {})
        ]

    def lines(self, text: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """The place of each problem, by its key."""
        return {
            message.partition(": ")[0]: where for where, message in self.problems(text, environ)
        }


class ChatConfig(Schema):
    history = fields.Integer(strict=True, load_default=200, validate=validate.Range(min=0))
    ttl = DurationField(load_default=60.0)
    token = SecretField(load_default=None)
    max_rooms = fields.Integer(data_key="max-rooms", load_default=None)
    words = fields.List(fields.String(), load_default=list)
    topics = fields.List(fields.Nested(Schema.from_dict({"size": fields.Integer(strict=True)})))
    keys = fields.List(SecretField())


# Defaults


def test_no_configuration_at_all_is_a_valid_one() -> None:
    settings = load_settings(None, {})

    assert settings.server.host == "127.0.0.1"
    assert settings.server.port == 8080
    assert settings.redis.url == "embedded"
    assert settings.redis.password is None
    assert settings.connections.ttl == 45.0
    assert settings.auth.anonymous is True
    assert settings.auth.origins == ("http://127.0.0.1:8080", "http://localhost:8080")
    assert settings.limits.reply_bytes == 524_288
    assert settings.plugins.enabled == ("*",)
    assert settings.plugins.sections == {}
    assert settings.drain.deadline == 25.0
    assert settings.logging.format == "auto"


def test_the_environment_of_the_process_is_read_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JACKFIELD__SERVER__PORT", "9000")

    assert load_settings().server.port == 9000
    assert load_settings(environ={}).server.port == 8080


def test_the_example_has_every_key_and_no_other() -> None:
    text = EXAMPLE.read_text("utf-8")
    uncommented = re.sub(r"(?m)^# (?=[a-z_]+ = |\[[a-z.]+\]$)", "", text)
    # Only the chat plugin's section is there for show.
    stands = tomllib.loads(uncommented)
    del stands["plugins"]["chat"]

    assert {name: set(table) for name, table in stands.items()} == {
        name: set(schema.fields) for name, schema in SCHEMAS.items()
    }


def test_the_example_gives_every_key_its_default() -> None:
    live = tomllib.loads(EXAMPLE.read_text("utf-8"))
    for name, schema in SCHEMAS.items():
        defaults = schema.load({})
        assert schema.load(live[name]) == defaults
        # What has no value by default is what stands behind a "#".
        assert set(live[name]) == {key for key, value in defaults.items() if value is not None}

    assert load_settings(EXAMPLE, {}) == load_settings(None, {})


def test_the_example_explains_every_key() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r"[a-z_]+ = ", line)]

    assert [lines[index] for index in keys if not lines[index - 1].startswith("# ")] == []


# Sources


def test_the_environment_is_stronger_than_the_file_and_overrides_than_both(toml: Toml) -> None:
    toml.path.write_text("[server]\nhost = '127.0.0.2'\nport = 1\nworkers = 2\n")
    environ = {"JACKFIELD__SERVER__PORT": "2", "JACKFIELD__SERVER__WORKERS": "3"}

    server = load_settings(toml.path, environ, {"server": {"workers": 4}}).server

    assert (server.host, server.port, server.workers) == ("127.0.0.2", 2, 4)


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
        (
            "PLUGINS__ENABLED__X",
            "1",
            "Unknown variable; did you mean 'JACKFIELD__PLUGINS__ENABLED'?",
        ),
        (
            "DRAIN__ZZZ",
            "1",
            "Unknown variable; there are: JACKFIELD__DRAIN__DEADLINE",
        ),
    ],
)
def test_a_wrong_variable_is_named(name: str, text: str, message: str) -> None:
    assert variable_problem(f"JACKFIELD__{name}", text) == (f"JACKFIELD__{name}", message)


@pytest.mark.parametrize("name", ["JACKFIELD__", "JACKFIELD__SERVER", "JACKFIELD__PLUGINS____X"])
def test_a_variable_that_names_no_key_is_unknown(name: str) -> None:
    assert variable_problem(name, "1").message.startswith("Unknown variable")


def test_variables_of_others_are_left_alone() -> None:
    load_settings(None, {"JACKFIELD_PORT": "tcp://10.0.0.1:80", "HOME": "/", "jackfield__x": "1"})


# Problems


def test_all_problems_are_told_at_once(toml: Toml) -> None:
    found = toml.problems(
        "[server]\nport = true\nprot = 1\n[redis]\nurl = 'http://x'\n"
        "[connections]\nttl = '1s'\n[severs]\n[drain]\ndeadline = '-1s'\n",
        {"JACKFIELD__LOGGING__LEVEL": "loud", "JACKFIELD__X": "1"},
    )

    assert [where for where, _ in found] == [
        "8",
        "JACKFIELD__X",
        "2",
        "3",
        "5",
        "7",
        "10",
        "JACKFIELD__LOGGING__LEVEL",
    ]


def test_an_error_prints_each_problem_on_its_line() -> None:
    problems = [Problem("jackfield.toml:2", "server.port: wrong"), Problem("override", "x: wrong")]

    assert str(ConfigError(problems)) == "jackfield.toml:2: server.port: wrong\noverride: x: wrong"


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
        ("server", "workers", 0, "Must be at least 1; got 0"),
        ("server", "debug", 1, "Not a valid boolean; got 1"),
        ("server", "debug", "true", 'Not a valid boolean; got "true"'),
        ("server", "host", 1, "Not a valid string; got 1"),
        ("redis", "pool", 0, "Must be at least 1; got 0"),
        ("redis", "timeout", 0, "Must be more than 0; got 0"),
        ("redis", "prefix", "{x}", 'Must be 1 to 64 letters, digits or . _ : -; got "{x}"'),
        ("redis", "prefix", "x\n", 'Must be 1 to 64 letters, digits or . _ : -; got "x\\n"'),
        ("limits", "message_bytes", 1023, "Must be at least 1024; got 1023"),
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

    assert len(message) < 200


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        ("localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("", False),
        ("localhost:8080", False),
        ("http://localhost", False),
        ("[::1]", False),
        ("a b", False),
    ],
)
def test_the_host_is_an_address_or_a_name(host: str, valid: bool) -> None:  # noqa: FBT001
    if valid:
        assert load(server={"host": host}).server.host == host
    else:
        assert problem_of(server={"host": host}).startswith("server.host: Not an IP address")


def test_the_ttl_spans_two_heartbeats(toml: Toml) -> None:
    assert toml.load("[connections]\nheartbeat = '1s'\nttl = '2s'").connections.ttl == 2.0
    # The problem is placed at the key that is set.
    assert toml.lines("[connections]\nttl = '29s'") == {"connections.ttl": "2"}
    assert toml.lines("[connections]\nheartbeat = '23s'") == {"connections.heartbeat": "2"}
    assert toml.lines("[connections]\n", {"JACKFIELD__CONNECTIONS__HEARTBEAT": "23s"}) == {
        "connections.heartbeat": "JACKFIELD__CONNECTIONS__HEARTBEAT"
    }


def test_a_reply_fits_into_the_queue(toml: Toml) -> None:
    assert toml.load("[limits]\nqueue_bytes = 524288").limits.queue_bytes == 524_288
    assert toml.lines("[limits]\nqueue_bytes = 524287") == {"limits.queue_bytes": "2"}
    assert toml.lines("[limits]\nreply_bytes = 1048577") == {"limits.reply_bytes": "2"}


def test_keys_that_disagree_are_told_beside_keys_that_are_wrong() -> None:
    found = problems_of(None, {}, {"limits": {"queue_bytes": 2048, "in_flight": 0}})

    assert [problem.message.partition(":")[0] for problem in found] == [
        "limits.in_flight",
        "limits.queue_bytes",
    ]


# Files


def test_a_syntax_error_has_its_line(toml: Toml) -> None:
    ((where, message),) = toml.problems("[server]\nport = \n")

    assert where == "2"
    assert message.startswith("Not valid TOML: ")


@pytest.mark.parametrize("text", ["[server]\nhost = '''\n\n", "[server]\nport = [\n1,"])
def test_a_text_that_breaks_off_is_a_syntax_error_of_its_last_line(toml: Toml, text: str) -> None:
    ((where, message),) = toml.problems(text)

    assert where in {"2", "3"}
    assert message.startswith("Not valid TOML: ")


def test_a_number_beyond_all_bounds_is_a_syntax_error(toml: Toml) -> None:
    ((_, message),) = toml.problems(f"x = {'9' * 5000}")

    assert message.startswith("Not valid TOML: ")


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (missing,) = problems_of(tmp_path / "none.toml", {})
    (folder,) = problems_of(tmp_path, {})

    assert missing == (
        str(tmp_path / "none.toml"),
        "The file cannot be read: No such file or directory",
    )
    assert folder.message.startswith("The file cannot be read: ")


def test_a_file_that_is_not_utf_8_has_the_line(tmp_path: Path) -> None:
    path = tmp_path / "jackfield.toml"
    path.write_bytes(b"[server]\n\nhost = '\xff'\n")

    assert problems_of(path, {}) == [(f"{path}:3", "The file is not UTF-8 text")]


def test_every_spelling_of_a_key_has_its_line(toml: Toml) -> None:
    text = """\
# [server] in a comment
server.port = "a"  # a dotted key = here
"server" . 'host' = 1
limits = { connections = "x",  in_flight = "y" }

[redis]
prefix = '''
[logging]
level = 1'''
url = \"\"\"a # b
\\\"\"\"\"\"\"
timeout = [
  1, # ]
  "]",
]
pool = "]"
[ "connections" ]
  heartbeat = "z"
[plugins]\r
enabled = [1]\r
strict = 2
"""
    assert toml.lines(text) == {
        "server.port": "2",
        "server.host": "3",
        "limits.connections": "4",
        "limits.in_flight": "4",
        "redis.prefix": "7",
        "redis.url": "10",
        "redis.timeout": "12",
        "redis.pool": "16",
        "connections.heartbeat": "18",
        "plugins.enabled[0]": "20",
        "plugins.strict": "21",
    }


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("9ms", 0.009),
        ("5s", 5.0),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1d", 86_400.0),
        ("7", 7.0),
        (7, 7.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "s",
            "-1s",
            "1 s",
            "1S",
            "1h30m",
            "1e3",
            "٣s",
            "inf",
            "nan",
            "1w",
            "4000d",
            "9" * 400,
        ),
        *(-1, -0.5, float("inf"), float("nan"), 10**400, 4e8, True, None, []),
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match='is not a duration: write "500ms"'):
        parse_duration(value)


@pytest.mark.parametrize("value", ["-1s", -1, "inf", "nan", "true", "1979-05-27", '"soon"'])
def test_a_duration_in_a_file_is_refused_where_it_stands(toml: Toml, value: str) -> None:
    text = f'"{value}"' if value == "-1s" else value

    ((where, message),) = toml.problems(f"[drain]\ndeadline = {text}")

    assert where == "2"
    assert message.startswith("drain.deadline: Not a valid duration: ")


# Secrets


def test_a_secret_is_shown_by_nothing_but_reveal() -> None:
    secret = Secret("hunter2")

    assert secret.reveal() == "hunter2"
    assert "hunter2" not in f"{secret} {secret!r} {secret!s:>20} {[secret]}"
    assert secret == Secret("hunter2") != Secret("other")
    assert secret != "hunter2"
    assert len({secret, Secret("hunter2")}) == 1
    assert copy.deepcopy(secret) == pickle.loads(pickle.dumps(secret)) == secret


def test_the_password_comes_from_any_one_of_its_three_places(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    url = {"url": "redis://host"}

    for given, environ in (
        ({"password": "hunter2"}, {}),
        ({"password_file": str(path)}, {}),
        ({"password_env": "REDIS_PASSWORD"}, {"REDIS_PASSWORD": "hunter2"}),
    ):
        settings = load_settings(None, environ, {"redis": url | given})
        assert settings.redis.password == Secret("hunter2")
        assert "hunter2" not in repr(settings)


def test_two_passwords_are_one_too_many() -> None:
    redis = {"url": "redis://h", "password": "hunter2", "password_env": "REDIS_PASSWORD"}

    assert problems_of(None, {"REDIS_PASSWORD": "hunter2"}, {"redis": redis}) == [
        (
            "override",
            "redis.password: Only one of password, password_file and password_env can be set",
        )
    ]


def test_a_password_beside_the_one_in_the_url_is_one_too_many() -> None:
    message = problem_of(redis={"url": "redis://:hunter1@h", "password": "hunter2"})

    assert message == "redis.password: There is a password in redis.url already"


def test_the_embedded_server_takes_no_password() -> None:
    assert "has no password" in problem_of(redis={"password": "hunter2"})


def test_a_password_file_is_named_and_its_content_is_not(tmp_path: Path) -> None:
    path = tmp_path / "password"

    def message() -> str:
        return problem_of(redis={"url": "redis://h", "password_file": str(path)})

    assert "The file cannot be read: No such file or directory" in message()
    assert str(path) in message()[:150] or len(str(path)) > 60
    path.write_text("\n")
    assert "The file is empty" in message()
    path.write_bytes(b"hunter2\xff")
    assert "The file is not UTF-8 text" in message()
    assert "hunter2" not in message()


def test_a_password_file_has_a_path_of_a_file() -> None:
    redis = {"url": "redis://h"}
    assert "not UTF-8" in problem_of(redis=redis | {"password_file": "a\0b"})
    assert "Not a valid path; got 1" in problem_of(redis=redis | {"password_file": 1})


@pytest.mark.parametrize("environ", [{}, {"REDIS_PASSWORD": ""}])
def test_a_password_variable_must_be_set(toml: Toml, environ: dict[str, str]) -> None:
    found = toml.problems('[redis]\nurl = "redis://h"\npassword_env = "REDIS_PASSWORD"', environ)

    assert found == [
        (
            "3",
            "redis.password_env: The environment variable 'REDIS_PASSWORD' is not set, or is empty",
        )
    ]


@pytest.mark.parametrize("value", [["hunter2"], {"x": "hunter2"}, 4242, ""])
def test_a_wrong_secret_is_refused_without_its_value(value: object) -> None:
    message = problem_of(redis={"url": "redis://h", "password": value})

    assert message.startswith("redis.password: ")
    assert "hunter2" not in message
    assert "4242" not in message


# Redis


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("embedded", "embedded"),
        ("redis://host", "redis://host"),
        ("redis://host:6379/", "redis://host:6379/"),
        ("rediss://[::1]:6379/15?ssl_cert_reqs=none", "rediss://[::1]:6379/15?ssl_cert_reqs=none"),
        ("redis://user@host", "redis://user@host"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("redis://user:hunter2@host:1/0", "redis://user:***@host:1/0"),
        ("redis://user:hunt@er2@host", "redis://user:***@host"),
        ("redis://host?db=1&password=hunter2", "redis://host?db=1&password=***"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
        ("unix://user:hunter2@/run/x.sock?db=1", "unix://user:***@/run/x.sock?db=1"),
        ("unix:///run/x.sock?password=hunter2&db=1", "unix:///run/x.sock?password=***&db=1"),
    ],
)
def test_a_redis_url_is_shown_without_its_password(url: str, safe: str) -> None:
    settings = load(redis={"url": url})

    assert settings.redis.url == url
    assert settings.redis.safe_url == safe
    assert safe in repr(settings)
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "Must be"),
        ("hunter2", "Must be"),
        ("redis:host", "Must be"),
        ("http://host", "Must be"),
        ("redis+sentinel://hunter2", "redis+sentinel:// is not supported yet"),
        ("redis+cluster://hunter2", "redis+cluster:// is not supported yet"),
        ("redis://", "Not a valid address"),
        ("redis://host:0", "Not a valid address"),
        ("redis://host:99999", "Not a valid address"),
        ("redis://host:hunter2", "Not a valid address"),
        ("redis://host/hunter2", "Not a valid address"),
        ("redis://ho st", "Not a valid address"),
        ("redis://host\n", "Not a valid address"),
        ("redis://[::1", "Not a valid address"),
        ("redis://:hunter2/x@host", "Not a valid address"),
        ("redis://user:1?hunter2@host", "Not a valid address"),
        ("redis://user:1#hunter2@host", "Not a valid address"),
        ("unix://relative/hunter2", "Not a valid address"),
        ("unix://", "Not a valid address"),
    ],
)
def test_a_wrong_redis_url_is_refused_without_quoting_it(url: str, message: str) -> None:
    found = problem_of(redis={"url": url})

    assert found.startswith(f"redis.url: {message}")
    assert "hunter2" not in found


# Who may connect


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_on_a_loopback_host_anonymous_clients_are_allowed_unless_refused(host: str) -> None:
    assert load(server={"host": host}).auth.anonymous is True
    assert load(server={"host": host}, auth={"anonymous": False}).auth.anonymous is False


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example"])
def test_on_any_other_host_anonymous_clients_must_be_allowed_in_words(host: str) -> None:
    assert load(server={"host": host}, auth={"anonymous": True}).auth.anonymous is True
    for auth in ({}, {"anonymous": False}):
        assert "Must be set to true" in problem_of(server={"host": host}, auth=auth)


def test_the_problem_of_an_open_host_is_placed_at_what_was_set(toml: Toml) -> None:
    host = "[server]\nhost = '0.0.0.0'\n[auth]\n"

    assert toml.lines(host) == {"auth.anonymous": "2"}
    assert toml.lines(f"{host}anonymous = false") == {"auth.anonymous": "4"}


def test_a_wrong_host_is_not_also_called_open() -> None:
    assert problem_of(server={"host": "0.0.0.0:80"}).startswith("server.host: ")
    assert problem_of(server={"host": "0.0.0.0"}, auth={"anonymous": 1}).startswith(
        "auth.anonymous: Not a valid boolean"
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM:443", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(given: str, sent: str) -> None:
    assert load(auth={"origins": [given]}).auth.origins == (sent,)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "null",
        "example.com",
        "https://",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://user@example.com",
        "https://*.example.com",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com\n",
        "https://exämple.com",
        1,
    ],
)
def test_what_no_browser_sends_is_no_origin(origin: object) -> None:
    assert problem_of(auth={"origins": [origin]}).startswith("auth.origins[0]: Not a valid ")


def test_unset_origins_are_those_of_this_machine() -> None:
    assert load(server={"port": 80}).auth.origins == ("http://127.0.0.1", "http://localhost")
    assert load(server={"port": 1}).auth.origins == local_origins(1)
    assert load(auth={"origins": []}).auth.origins == ()


# Plugins' sections


def test_a_plugins_section_is_validated_by_its_own_schema(toml: Toml) -> None:
    settings = toml.load(
        "[plugins]\nstrict = true\n[plugins.chat]\nhistory = 5\nttl = '1h'\ntoken = 'hunter2'\n"
        "max-rooms = 3\n"
    )

    assert settings.plugins.strict is True
    assert list(settings.plugins.sections) == ["chat"]
    chat = settings.plugins.sections["chat"].load(ChatConfig())
    assert (chat["history"], chat["ttl"], chat["max_rooms"]) == (5, 3600.0, 3)
    assert chat["token"] == Secret("hunter2")
    assert "hunter2" not in repr(settings)


def test_variables_and_overrides_reach_a_plugins_section(toml: Toml) -> None:
    toml.path.write_text("[plugins.chat]\nhistory = 1\nttl = 1\n")
    environ = {
        "JACKFIELD__PLUGINS__CHAT__TTL": "2s",
        "JACKFIELD__PLUGINS__CHAT__MAX_ROOMS": "2",
        "JACKFIELD__PLUGINS__CHAT__TOKEN": "12",
        "JACKFIELD__PLUGINS__CHAT__WORDS": '["a"]',
        "JACKFIELD__PLUGINS__OTHER__X": "1",
    }
    overrides = {"plugins": {"chat": {"max-rooms": 3}}}

    sections = load_settings(toml.path, environ, overrides).plugins.sections

    assert sorted(sections) == ["chat", "other"]
    assert sections["chat"].load(ChatConfig()) == {
        "history": 1,
        "ttl": 2.0,
        "max_rooms": 3,
        "token": Secret("12"),
        "words": ["a"],
    }


def test_the_problems_of_a_plugins_section_have_their_places(toml: Toml) -> None:
    text = """\
[plugins.chat]
histroy = 1
ttl = "soon"
token = 4242
[[plugins.chat.topics]]
size = 1
[[plugins.chat.topics]]

size = "big"
"""
    environ = {
        "JACKFIELD__PLUGINS__CHAT__HISTORY": "-1",
        "JACKFIELD__PLUGINS__CHAT__HISTROY": "1",
        "JACKFIELD__PLUGINS__CHAT__KEYS": "hunter2",
    }
    section = toml.load(text, environ).plugins.sections["chat"]

    with pytest.raises(ConfigError) as caught:
        section.load(ChatConfig())

    assert {
        (problem.where.removeprefix(f"{toml.path}:"), problem.message.partition(";")[0])
        for problem in caught.value.problems
    } == {
        ("JACKFIELD__PLUGINS__CHAT__HISTROY", "Unknown variable"),
        ("2", "plugins.chat.histroy: Unknown key"),
        ("3", f"plugins.chat.ttl: {DurationField().error_messages['invalid'][:-1]}"),
        ("4", "plugins.chat.token: Not a valid string"),
        ("9", "plugins.chat.topics[1].size: Not a valid integer"),
        (
            "JACKFIELD__PLUGINS__CHAT__HISTORY",
            "plugins.chat.history: Must be greater than or equal to 0",
        ),
        ("JACKFIELD__PLUGINS__CHAT__KEYS", "plugins.chat.keys: Not a valid list"),
    }
    assert "did you mean 'history'?" in str(caught.value)
    assert "did you mean 'JACKFIELD__PLUGINS__CHAT__HISTORY'?" in str(caught.value)
    assert "4242" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_value_that_replaces_a_whole_list_takes_its_place(toml: Toml) -> None:
    text = "[[plugins.chat.topics]]\nsize = 1\n"
    environ = {"JACKFIELD__PLUGINS__CHAT__TOPICS": '[{"size": "big"}]'}

    with pytest.raises(ConfigError) as caught:
        toml.load(text, environ).plugins.sections["chat"].load(ChatConfig())

    assert caught.value.problems == [
        (
            "JACKFIELD__PLUGINS__CHAT__TOPICS",
            'plugins.chat.topics[0].size: Not a valid integer; got "big"',
        )
    ]


def test_a_plugin_without_a_schema_takes_no_settings(toml: Toml) -> None:
    settings = toml.load("[plugins.echo]\nvolume = 1\n[plugins.mute]\n")

    assert settings.plugins.sections["mute"].load(None) == {}
    assert EMPTY_SECTION.load(None) == {}
    with pytest.raises(ConfigError) as caught:
        settings.plugins.sections["echo"].load(None)
    assert caught.value.problems == [
        (f"{toml.path}:2", "plugins.echo.volume: Unknown key; there are none")
    ]


def test_a_plugin_without_a_section_has_the_defaults_of_its_schema() -> None:
    assert Section.empty("chat").load(ChatConfig())["history"] == 200

    with pytest.raises(ConfigError) as caught:
        Section.empty("chat").load(Schema.from_dict({"token": SecretField(required=True)})())
    assert caught.value.problems == [
        ("configuration", "plugins.chat.token: Missing data for required field")
    ]


def test_a_schema_that_ignores_unknown_keys_may(toml: Toml) -> None:
    class Lenient(Schema):
        class Meta:
            unknown = EXCLUDE

    section = toml.load("[plugins.chat]\nx = 1").plugins.sections["chat"]

    assert section.load(Lenient()) == {}


def test_a_section_has_a_place(toml: Toml) -> None:
    toml.path.write_text("\n[plugins.chat]\n")
    environ = {"JACKFIELD__PLUGINS__CHAT__X": "1", "JACKFIELD__PLUGINS__POLL__X": "1"}
    sections = load_settings(toml.path, environ, {"plugins": {"quiz": {"x": 1}}}).plugins.sections

    assert sections["chat"].place == f"{toml.path}:2"
    assert sections["poll"].place == "JACKFIELD__PLUGINS__POLL__X"
    assert sections["quiz"].place == "override"


def test_settings_survive_the_way_to_another_process(toml: Toml) -> None:
    settings = toml.load("[redis]\nurl = 'redis://h'\npassword = 'x'\n[plugins.chat]\nhistory = 1")

    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_suggestion_is_what_was_meant_or_all_that_there_are() -> None:
    assert suggest("caht", ["chat", "echo"]) == "; did you mean 'chat'?"
    assert suggest("zzz", ["chat", "echo"]) == "; there are: chat, echo"
    assert suggest("zzz", []) == "; there are none"
