"""Settings are frozen values that can be sent to another process and shown to anyone."""

import dataclasses
import pickle
from pathlib import Path

import pytest

from tests.support.configuration import Toml, load


@pytest.fixture
def toml(tmp_path: Path) -> "Toml":
    return Toml(tmp_path / "jackfield.toml")


def test_settings_survive_the_way_to_another_process(toml: Toml) -> None:
    settings = toml.load("[redis]\nurl = 'redis://h'\npassword = 'x'\n[plugins.chat]\nhistory = 1")

    assert pickle.loads(pickle.dumps(settings)) == settings


def test_shown_settings_tell_no_password() -> None:
    redis = load(redis={"url": "redis://user:hunter2@h"}).redis
    assert redis.safe_url == "redis://user:***@h"
    assert "hunter2" not in repr(redis)
    assert "hunter2" not in repr(load(redis={"url": "redis://h", "password": "hunter2"}))


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().server.port = 1  # type: ignore[misc]
