"""The configuration: what is accepted, what is refused, and in which words."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jackfield.config import ConfigError, Problem, Secret, Settings, load_settings, local_origins


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


def test_the_environment_is_stronger_than_the_file_and_overrides_than_both(toml: Toml) -> None:
    toml.path.write_text("[server]\nhost = '127.0.0.2'\nport = 1\ndebug = false\n")
    environ = {"JACKFIELD__SERVER__PORT": "2", "JACKFIELD__SERVER__DEBUG": "false"}

    server = load_settings(toml.path, environ, {"server": {"debug": True}}).server

    assert (server.host, server.port, server.debug) == ("127.0.0.2", 2, True)


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


def test_all_problems_are_told_at_once(toml: Toml) -> None:
    found = toml.problems(
        "[server]\nport = true\nprot = 1\n[redis]\nurl = 'http://x'\n"
        "[connections]\nttl = '1s'\n[severs]\n[drain]\ndeadline = '-1s'\n",
        {"JACKFIELD__LOGGING__LEVEL": "loud", "JACKFIELD__X": "1"},
    )

    lines = [where for where, _ in found if where.isdigit()]
    assert sorted(lines, key=int) == ["2", "3", "5", "7", "8", "10"]
    variables = [where for where, _ in found if not where.isdigit()]
    assert sorted(variables) == ["JACKFIELD__LOGGING__LEVEL", "JACKFIELD__X"]


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


def test_an_event_fits_into_a_reply(toml: Toml) -> None:
    assert toml.load("[limits]\nreply_bytes = 65536").limits.event_bytes == 65_536
    assert toml.lines("[limits]\nreply_bytes = 65535") == {"limits.reply_bytes": "2"}
    assert toml.lines("[limits]\nevent_bytes = 524289") == {"limits.event_bytes": "2"}


def test_keys_that_disagree_are_told_beside_keys_that_are_wrong() -> None:
    found = problems_of(None, {}, {"limits": {"queue_bytes": 2048, "in_flight": 0}})

    assert [problem.message.partition(":")[0] for problem in found] == [
        "limits.in_flight",
        "limits.queue_bytes",
    ]


@pytest.mark.parametrize("value", ["'-1s'", "-1", "inf", "nan", "true", "1979-05-27", "'soon'"])
def test_a_duration_in_a_file_is_refused_where_it_stands(toml: Toml, value: str) -> None:
    ((where, message),) = toml.problems(f"[drain]\ndeadline = {value}")

    assert where == "2"
    assert message.startswith("drain.deadline: Not a valid duration: ")


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
    assert str(path) in message()
    path.write_text("\n")
    assert "The file is empty" in message()
    path.write_bytes(b"hunter2\xff")
    assert "The file is not UTF-8 text" in message()
    assert "hunter2" not in message()


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


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_on_a_loopback_host_anonymous_clients_are_allowed_unless_refused(host: str) -> None:
    assert load(server={"host": host}).auth.anonymous is True
    assert load(server={"host": host}, auth={"anonymous": False}).auth.anonymous is False


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example"])
def test_on_any_other_host_anonymous_clients_must_be_allowed_twice(host: str) -> None:
    server = {"host": host}
    once, twice = {"anonymous": True}, {"anonymous": True, "anonymous_on_any_address": True}

    assert "say it a second time" in problem_of(server=server, auth=once)
    assert load(server=server, auth=twice).auth.anonymous is True
    assert load(server=server, auth={"anonymous": False}).auth.anonymous is False
    # The second word alone says nothing.
    for auth in ({}, {"anonymous_on_any_address": True}):
        assert "nothing says how their clients are" in problem_of(server=server, auth=auth)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_another_way_to_authenticate_nobody_is_anonymous_unless_allowed(
    host: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{'k' * 32} tickets\n")
    server = {"host": host}

    assert load(server=server, auth={"jwt": {}}).auth.anonymous is False
    assert load(server=server, api={"keys_file": str(keys)}).auth.anonymous is False
    assert load(auth={"anonymous": True, "jwt": {}}).auth.anonymous is True


def test_the_problem_of_an_open_host_is_placed_at_what_was_set(toml: Toml) -> None:
    host = "[server]\nhost = '0.0.0.0'\n[auth]\n"

    assert toml.lines(host) == {"server.host": "2"}
    assert toml.lines(f"{host}anonymous = true") == {"auth.anonymous": "4"}


def test_sections_of_authenticators_keep_their_order_and_may_come_from_variables() -> None:
    sections = load_settings(
        None,
        {"JACKFIELD__AUTH__JWT__ISSUER": "i", "JACKFIELD__AUTH__CORP__URL": "u"},
        {"auth": {"corp": {}, "alpha": {}}},
    ).auth.sections

    assert list(sections) == ["corp", "alpha", "jwt"]
    assert sections["jwt"].environ == {"JACKFIELD__AUTH__JWT__ISSUER": "i"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[auth]\njwt = 1", "auth.jwt: Unknown key"),
        ("[auth.Corp]", "auth.Corp: Not the name of an authenticator"),
        ("[auth.anonymous]", "auth.anonymous: Not a valid boolean; got a table"),
        ("[auth]\ncookie = 'a b'", 'auth.cookie: Not a valid name of a cookie; got "a b"'),
        ("[auth]\ncookie = ''", 'auth.cookie: Not a valid name of a cookie; got ""'),
        ("[auth]\ntimeout = 0", "auth.timeout: Must be more than 0"),
    ],
)
def test_a_wrong_key_of_auth_is_named(toml: Toml, text: str, message: str) -> None:
    ((_, found),) = toml.problems(text)

    assert found.startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is no key in the file"),
        ("# nothing\n\n", "There is no key in the file"),
        ("short tickets", "Line 1: a key has 32 characters at least"),
        (f"\n{'k' * 32}", "Line 2: behind a key must stand what it may do"),
        (f"{'k' * 32} tickets hunter2", "Line 1: behind a key must stand what it may do"),
        (f"{'k' * 32} *\n{'k' * 32} revoke", "Line 2: this key has a line already"),
    ],
)
def test_a_wrong_file_of_api_keys_is_refused_without_its_content(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text(text)

    found = problem_of(api={"keys_file": str(path)})

    assert message in found
    assert "kkkk" not in found
    assert "hunter2" not in found


def test_api_keys_are_not_kept_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{'k' * 32} tickets revoke # of the shop\n{'j' * 40} *\n")

    api = load(api={"keys_file": str(path)}).api

    assert [key.scopes for key in api.keys] == [
        {"tickets", "revoke"},
        {"tickets", "revoke", "disconnect"},
    ]
    assert api.keys[0].fits(hashlib.sha256(b"k" * 32).digest())
    assert "kkk" not in repr(api)
    assert repr(api.keys[0].digest) not in repr(api)


def test_a_wrong_host_is_not_also_called_open() -> None:
    assert problem_of(server={"host": "0.0.0.0:80"}).startswith("server.host: ")
    assert problem_of(server={"host": "0.0.0.0"}, auth={"anonymous": 1}).startswith(
        "auth.anonymous: Not a valid boolean"
    )


def test_unset_origins_are_those_of_this_machine() -> None:
    assert load(server={"port": 80}).auth.origins == ("http://127.0.0.1", "http://localhost")
    assert load(server={"port": 1}).auth.origins == local_origins(1)
    assert load(auth={"origins": []}).auth.origins == ()


def test_settings_survive_the_way_to_another_process(toml: Toml) -> None:
    settings = toml.load("[redis]\nurl = 'redis://h'\npassword = 'x'\n[plugins.chat]\nhistory = 1")

    assert pickle.loads(pickle.dumps(settings)) == settings
