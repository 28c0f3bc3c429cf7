"""The URL of Redis: which forms it has, which servers it names, and how it is shown."""

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from marshmallow import ValidationError

_SINGLE: Final = ("redis", "rediss", "unix")
_SEVERAL: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<user>[^/?#]*@)?(?P<servers>[^/?#@]+)"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#@]*)?"
)
#: A service and a database. The characters are those that Sentinel lets the name of one have.
_SERVICE: Final = re.compile(r"/(?P<service>[A-Za-z0-9._-]+)(?P<database>/\d+)?/?", re.ASCII)

_PASSWORD: Final = re.compile(r"(?P<before>^[a-z+]+://[^/?#:@]*:)[^/?#]*(?=@)")
_QUERY_PASSWORD: Final = re.compile(r"(?P<before>[?&]\w*password=)[^&#]*")
#: Its value is another password than that of the server, see `has_password`.
_SENTINEL_PASSWORD: Final = "sentinel_password="  # noqa: S105 - the name of an option

_EXAMPLES: Final = {
    "redis": "redis://user:password@host:6379/0",
    "rediss": "rediss://user:password@host:6379/0",
    "unix": "unix:///absolute/path",
    "sentinel": "redis+sentinel://user:password@host:26379,host:26379/service/0",
    "cluster": "redis+cluster://user:password@host:6379,host:6379",
}


class RedisAddress(NamedTuple):
    """What a URL of Redis says.

    Attributes:
        kind: What is there: one server, a master that Sentinels watch, or a Cluster.
        urls: A plain ``redis://``, ``rediss://`` or ``unix://`` URL of each server that is named,
            all with the same user, password, database and options.
        service: What Sentinels call the master.
    """

    kind: Literal["single", "sentinel", "cluster"]
    urls: tuple[str, ...]
    service: str = ""


def split_redis_url(url: str) -> RedisAddress:
    """Read a URL of Redis.

    Raises:
        ValueError: It is none, or its address is not valid. The message does not quote it.
    """
    scheme = url.partition("://")[0]
    if scheme in _SINGLE:
        address = RedisAddress("single", (url,))
    elif match := _SEVERAL.fullmatch(url):
        address = _split_several(match)
    else:
        raise ValueError("not the URL of a Redis")
    for each in address.urls:
        parts = urlsplit(each)
        if not (_names_a_socket(parts) if scheme == "unix" else _names_a_server(parts)):
            raise ValueError("the URL does not name a server")
    return address


def _split_several(match: re.Match[str]) -> RedisAddress:
    scheme, user, query = match["scheme"], match["user"] or "", match["query"] or ""
    path = match["path"] or "/"
    service = database = ""
    if match["kind"] == "sentinel":
        named = _SERVICE.fullmatch(path)
        if named is None:
            raise ValueError("the URL does not name the service")
        service, database = named["service"], named["database"] or ""
    elif path != "/":
        raise ValueError("a Cluster has one database only")
    servers = match["servers"].split(",")
    return RedisAddress(
        "sentinel" if service else "cluster",
        tuple(f"{scheme}://{user}{server}{database}{query}" for server in servers),
        service,
    )


def _names_a_socket(parts: SplitResult) -> bool:
    return not parts.hostname and len(parts.path) > 1


def _names_a_server(parts: SplitResult) -> bool:
    return (
        bool(parts.hostname)
        and parts.port != 0
        and re.fullmatch(r"(/\d*)?", parts.path, re.ASCII) is not None
        # What follows an unencoded "/", "?" or "#" of a password ends up here, "@host" and all.
        and "@" not in parts.query
        and not parts.fragment
    )


def check_redis_url(url: str) -> None:
    """Refuse a URL that no Redis client of ours can use. No message quotes it.

    Raises:
        ValidationError: The scheme is unknown, or its address is not valid.
    """
    if url == "embedded":
        return
    scheme, separator, _ = url.partition("://")
    plain, _, kind = scheme.partition("+")
    known = scheme in _SINGLE or (plain in {"redis", "rediss"} and kind in {"sentinel", "cluster"})
    if not separator or not known:
        raise ValidationError(
            'Must be "embedded" or start with redis://, rediss://, unix://, redis+sentinel://, '
            "rediss+sentinel://, redis+cluster:// or rediss+cluster://."
        )
    try:
        split_redis_url(url)
        valid = True
    except ValueError:  # some of urlsplit's words quote the URL
        valid = False
    # urlsplit drops line ends and tabs without a word, which the client might not.
    if not valid or any(character.isspace() for character in url):
        raise ValidationError(
            f"Not a valid address: write {_EXAMPLES[kind or plain]}; characters such as / ? # @ in "
            "a password are percent-encoded."
        )


def has_password(url: str) -> bool:
    """Return whether a URL that `check_redis_url` accepts has the password of the server."""
    options = [match["before"] for match in _QUERY_PASSWORD.finditer(url)]
    others = [option for option in options if option[1:] != _SENTINEL_PASSWORD]
    return bool(others) or _PASSWORD.search(url) is not None


def safe_redis_url(url: str) -> str:
    """Return a URL with asterisks for its passwords.

    Args:
        url: One that `check_redis_url` accepts.
    """
    for password in (_PASSWORD, _QUERY_PASSWORD):
        url = password.sub(lambda match: f"{match['before']}***", url)
    return url
