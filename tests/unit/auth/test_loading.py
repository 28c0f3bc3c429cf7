"""Authenticators by entry point: which are asked, in which order, and what stops the start."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from marshmallow import Schema, fields

from jackfield.auth import Anonymous, Credentials
from jackfield.auth.jwt import JwtAuthenticator
from jackfield.auth.loading import load_authenticators
from jackfield.auth.ticket import TicketAuthenticator
from jackfield.config import ConfigError, load_settings
from jackfield.declaration.candidates import Candidate, discover
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.paths import DOCS
from tests.support.tokens import jwt_section


class CorporateSchema(Schema):
    url = fields.String(required=True)


class Corporate:
    """An authenticator of others."""

    config_schema = CorporateSchema()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.url = config["url"]

    async def authenticate(self, _credentials: Credentials) -> Identity | None:
        return None


def candidate(name: str, load: Callable[[], object], version: str = "1.0") -> Candidate:
    return Candidate(name, "acme-corp", version, load)


def load(config: Mapping[str, Any], *others: Candidate) -> list[Any]:
    built_in = discover("jackfield.authenticators")
    return load_authenticators(load_settings(None, {}, config), [*built_in, *others])


def problems(config: Mapping[str, Any], *others: Candidate) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(config, *others)
    return [problem.message for problem in caught.value.problems]


CORPORATE = candidate("corp", lambda: Corporate)


def test_without_any_configuration_everybody_is_anonymous() -> None:
    (only,) = load({}, CORPORATE)
    assert isinstance(only, Anonymous)


def test_they_are_asked_in_the_order_of_their_sections(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{'k' * 32} *\n")
    jwt, corp = jwt_section(tmp_path), {"url": "https://corp.example"}
    api = {"keys_file": str(keys)}

    loaded = load({"auth": {"corp": corp, "jwt": jwt, "anonymous": True}, "api": api}, CORPORATE)

    kinds = [TicketAuthenticator, Corporate, JwtAuthenticator, Anonymous]
    assert [type(each) for each in loaded] == kinds
    assert loaded[1].url == "https://corp.example"
    loaded = load({"auth": {"jwt": jwt, "corp": corp}}, CORPORATE)
    assert [type(each) for each in loaded] == [JwtAuthenticator, Corporate]


def test_one_that_is_installed_is_not_asked_unless_it_is_configured(tmp_path: Path) -> None:
    loaded = load({"auth": {"jwt": jwt_section(tmp_path)}}, CORPORATE)
    assert [type(each) for each in loaded] == [JwtAuthenticator]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    auth = {"jwt": jwt_section(tmp_path, audience=None), "corp": {"uri": "x"}, "crop": {}}

    assert problems({"auth": auth}, CORPORATE) == [
        "auth.jwt.audience: Missing data for required field",
        "auth.corp.url: Missing data for required field",
        "auth.corp.uri: Unknown key; did you mean 'url'?",
        "no authenticator 'crop' is installed; did you mean 'corp'?",
    ]


def _raise() -> object:
    raise ImportError("no module")


class Failing(Corporate):
    def __init__(self, config: Mapping[str, Any]) -> None:
        raise RuntimeError(config["url"])


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([candidate("corp", _raise)], "can't be imported: ImportError: no module"),
        ([candidate("corp", lambda: Failing)], "of acme-corp 1.0 failed: RuntimeError: x"),
        ([candidate("corp", lambda: lambda _: 1)], "auth.corp.url: Unknown key"),
        ([CORPORATE, candidate("corp", lambda: Corporate, "2.0")], "there are two authenticators"),
    ],
)
def test_one_that_can_not_be_had_stops_the_start(others: list[Candidate], words: str) -> None:
    (message,) = problems({"auth": {"corp": {"url": "x"}}}, *others)
    assert words in message


async def test_the_documented_one_does_what_is_said() -> None:
    page = DOCS / "operations/authentication.md"
    (source,) = re.findall(
        r"^```python[^\n]*\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    module = ModuleType("acme_auth")
    exec(source, vars(module))
    person = {"id": "ada", "groups": ["chat"], "session": "s1"}

    async def look_up(_: object, token: str) -> dict[str, Any] | None:
        return person if token == "acme-1" else None

    module.Acme._look_up = look_up
    acme = candidate("acme", lambda: module.Acme)
    (only,) = load({"auth": {"acme": {"directory": "https://directory.acme.example"}}}, acme)

    request: Any = None
    assert await only.authenticate(Credentials("bearer", "another", request)) is None
    known = await only.authenticate(Credentials("bearer", "acme-1", request))
    assert known == Identity("ada", frozenset({"chat"}), token_id="s1")
    with pytest.raises(Error, match="unauthenticated"):
        await only.authenticate(Credentials("bearer", "acme-2", request))


def test_one_without_the_method_is_none() -> None:
    (message,) = problems({"auth": {"corp": {}}}, candidate("corp", lambda: lambda _: object()))
    assert message == "the authenticator 'corp' of acme-corp 1.0 has no method 'authenticate'"
