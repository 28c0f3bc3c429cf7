"""The keys of the configuration: what each may be, and which must agree."""

from pathlib import Path

import pytest

from jackfield.config import Secret, load_settings
from tests.support.configuration import Toml, problem_of, problems_of


@pytest.fixture
def toml(tmp_path: Path) -> "Toml":
    return Toml(tmp_path / "jackfield.toml")


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
