"""What the code takes from the errors of libraries, for want of anything else to decide from.

Each of these is documented by nobody, or only in passing. Whoever widens a range looks here first.
"""

import aiohttp
import jsonschema_rs
import jwt
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from redis._parsers.base import BaseParser

from tests.functional.test_locks import renew
from tests.support.paths import ROOT

#: What these tests hold for.
RANGES = {
    "aiohttp": ">=3.14.5,<3.15",
    "jsonschema-rs": ">=0.61,<0.62",
    "pyjwt": ">=2.13,<2.16",
    "redis": ">=8.1,<9",
}
SECRET = "correct horse battery staple, and so on"


def test_the_ranges_are_those_of_the_distribution() -> None:
    lines = renew.requirements_of(renew.setup_cfg(ROOT)["options"]["install_requires"])
    required = {name.name: name.specifier for name in map(Requirement, lines)}
    assert {name: required[name] for name in RANGES} == {
        name: SpecifierSet(told) for name, told in RANGES.items()
    }


@pytest.mark.parametrize(
    "code",
    [
        *("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM"),
        *("READONLY", "TRYAGAIN", "NOAUTH", "WRONGPASS", "WRONGTYPE"),
    ],
)
def test_redis_py_lets_see_the_first_word_of_an_error_reply(code: str) -> None:
    """By which a server that can't serve for now is told from a command that is wrong."""
    error = BaseParser.parse_error(f"{code} some words")  # type: ignore[no-untyped-call]
    assert (getattr(error, "status_code", None) or str(error).partition(" ")[0]) == code


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"exp": 1}, jwt.ExpiredSignatureError),
        ({"nbf": 2**40}, jwt.ImmatureSignatureError),
        ({"aud": "another"}, jwt.InvalidAudienceError),
        ({"iss": "another"}, jwt.InvalidIssuerError),
    ],
)
def test_pyjwt_has_an_error_for_each_claim(claims: dict[str, object], kind: type) -> None:
    """By which a token that has expired is told from one that is wrong."""
    given = {"exp": 2**33, "aud": "us", "iss": "them", **claims}
    token = jwt.encode(given, SECRET, "HS256")
    with pytest.raises(jwt.PyJWTError) as caught:
        jwt.decode(token, SECRET, ["HS256"], audience="us", issuer="them")
    assert caught.type is kind


def test_pyjwt_names_a_claim_that_lacks() -> None:
    token = jwt.encode({"sub": "ada"}, SECRET, "HS256")
    with pytest.raises(jwt.MissingRequiredClaimError) as caught:
        jwt.decode(token, SECRET, ["HS256"], options={"require": ["exp"]})
    assert caught.value.claim == "exp"


@pytest.mark.parametrize("pattern", ["(", "(?=a)"])
def test_jsonschema_rs_says_where_a_pattern_is_not_taken(pattern: str) -> None:
    with pytest.raises(jsonschema_rs.ValidationError) as caught:
        jsonschema_rs.Draft202012Validator(
            {"properties": {"a": {"pattern": pattern}}},
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    assert caught.value.kind.name in ("format", "pattern")
    assert list(caught.value.instance_path)[-1] == "pattern"


def test_aiohttp_tells_what_lasts_from_what_passes() -> None:
    """By which a client gives up, or tries again."""
    lasting = (
        aiohttp.InvalidURL,
        aiohttp.NonHttpUrlClientError,
        aiohttp.ClientConnectorCertificateError,
        aiohttp.ClientResponseError,
    )
    passing = (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError)
    assert all(issubclass(kind, aiohttp.ClientError) for kind in (*lasting, *passing))
    assert not any(issubclass(kind, lasting) for kind in passing)
