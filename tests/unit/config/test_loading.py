"""Loading the configuration: what is read, what is stronger, and what is told at once."""

from pathlib import Path

import pytest

from jackfield.config import load_settings
from jackfield.config.loading import local_origins
from tests.support.configuration import Toml, load, problem_of


@pytest.fixture
def toml(tmp_path: Path) -> "Toml":
    return Toml(tmp_path / "jackfield.toml")


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


@pytest.mark.parametrize("environ", [{}, {"REDIS_PASSWORD": ""}])
def test_a_password_variable_must_be_set(toml: Toml, environ: dict[str, str]) -> None:
    found = toml.problems('[redis]\nurl = "redis://h"\npassword_env = "REDIS_PASSWORD"', environ)

    assert found == [
        (
            "3",
            "redis.password_env: The environment variable 'REDIS_PASSWORD' is not set, or is empty",
        )
    ]


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


def test_a_wrong_host_is_not_also_called_open() -> None:
    assert problem_of(server={"host": "0.0.0.0:80"}).startswith("server.host: ")
    assert problem_of(server={"host": "0.0.0.0"}, auth={"anonymous": 1}).startswith(
        "auth.anonymous: Not a valid boolean"
    )


def test_unset_origins_are_those_of_this_machine() -> None:
    assert load(server={"port": 80}).auth.origins == ("http://127.0.0.1", "http://localhost")
    assert load(server={"port": 1}).auth.origins == local_origins(1)
    assert load(auth={"origins": []}).auth.origins == ()
