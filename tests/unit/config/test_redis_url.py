"""What `jackfield.config.redis_url` promises: each form is read, and no password is shown."""

import pytest
from marshmallow import ValidationError

from jackfield.config.redis_url import (
    RedisAddress,
    check_redis_url,
    has_password,
    safe_redis_url,
    split_redis_url,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://u:p@h/1", RedisAddress("single", ("redis://u:p@h/1",))),
        ("unix:///run/a b", RedisAddress("single", ("unix:///run/a b",))),
        (
            "redis+sentinel://a:1,b/main",
            RedisAddress("sentinel", ("redis://a:1", "redis://b"), "main"),
        ),
        (
            "rediss+sentinel://u:p@a,[::1]:2/main/3?ssl_ca_certs=/ca.pem",
            RedisAddress(
                "sentinel",
                (
                    "rediss://u:p@a/3?ssl_ca_certs=/ca.pem",
                    "rediss://u:p@[::1]:2/3?ssl_ca_certs=/ca.pem",
                ),
                "main",
            ),
        ),
        ("redis+cluster://a:1,b", RedisAddress("cluster", ("redis://a:1", "redis://b"))),
        ("rediss+cluster://:p@a/?x=1", RedisAddress("cluster", ("rediss://:p@a?x=1",))),
    ],
)
def test_a_redis_url_says_what_is_there_and_where(url: str, address: RedisAddress) -> None:
    assert split_redis_url(url) == address


@pytest.mark.parametrize(
    ("url", "has"),
    [
        ("embedded", False),
        ("redis+cluster://a:1,b:2", False),
        ("redis+cluster://user@a:1", False),
        ("redis+cluster://user:p@a:1", True),
        ("redis+sentinel://a/s?sentinel_password=p", False),
        ("redis+sentinel://a/s?sentinel_password=p&password=q", True),
        ("unix:///run/x.sock?password=p", True),
    ],
)
def test_the_password_of_the_sentinels_is_not_that_of_the_server(url: str, has: bool) -> None:  # noqa: FBT001 - a parameter
    assert has_password(url) is has


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
        ("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2"),
        ("redis+cluster://user:hunt@er2@a:1,b/", "redis+cluster://user:***@a:1,b/"),
        ("rediss+sentinel://:hunter2@a,[::1]:2/s/1", "rediss+sentinel://:***@a,[::1]:2/s/1"),
        (
            "redis+sentinel://a:1/s?sentinel_username=x&sentinel_password=hunter2",
            "redis+sentinel://a:1/s?sentinel_username=x&sentinel_password=***",
        ),
    ],
)
def test_a_redis_url_is_shown_without_its_password(url: str, safe: str) -> None:
    check_redis_url(url)

    assert safe_redis_url(url) == safe


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "Must be"),
        ("hunter2", "Must be"),
        ("redis:host", "Must be"),
        ("http://host", "Must be"),
        ("unix+cluster://hunter2", "Must be"),
        ("redis+other://hunter2", "Must be"),
        ("redis+cluster:host", "Must be"),
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
        ("redis+sentinel://hunter2", "Not a valid address: write redis+sentinel://user"),
        ("redis+sentinel://hunter2/", "Not a valid address"),
        ("redis+sentinel://host/service/hunter2", "Not a valid address"),
        ("redis+sentinel://host/ser vice", "Not a valid address"),
        ("redis+sentinel:///service", "Not a valid address"),
        ("redis+sentinel://a:hunter2/service", "Not a valid address"),
        ("redis+sentinel://:1/x?hunter2@host/service", "Not a valid address"),
        ("redis+cluster://", "Not a valid address: write redis+cluster://user"),
        ("redis+cluster://a,,b", "Not a valid address"),
        ("redis+cluster://a:0", "Not a valid address"),
        ("redis+cluster://a,b:99999", "Not a valid address"),
        ("redis+cluster://host/1", "Not a valid address"),
        ("redis+cluster://host#hunter2", "Not a valid address"),
        ("redis+cluster://a,b\n", "Not a valid address"),
    ],
)
def test_a_wrong_redis_url_is_refused_without_quoting_it(url: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_redis_url(url)

    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)
