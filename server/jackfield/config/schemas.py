"""The keys of the configuration: what each may be, its default, and which must agree.

`config/jackfield.toml` explains them to those who set them.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from jackfield.wire.deflate import MAX_BITS, MIN_BITS

from .api_keys import ApiKeysField
from .fields import (
    DurationField,
    FileField,
    FlagField,
    NetworkField,
    OriginField,
    SecretField,
    SecretFileField,
    check_host,
)
from .redis_url import check_redis_url, has_password
from .tls import server_context


def _between(low: int, high: int) -> validate.Range:
    return validate.Range(low, high, error="Must be from {min} to {max}.")


def _at_least(low: int) -> validate.Range:
    return validate.Range(low, error="Must be at least {min}.")


def _integer(default: int, limits: validate.Range) -> fields.Integer:
    return fields.Integer(strict=True, load_default=default, validate=limits)


def _size(default: int) -> fields.Integer:
    """Bytes. 1 KiB holds every message the protocol itself needs; aiohttp counts in 32 bits."""
    return _integer(default, _between(1024, 2**30))


def _positive_duration(default: float) -> DurationField:
    limits = validate.Range(min=0, min_inclusive=False, error="Must be more than 0.")
    return DurationField(load_default=default, validate=limits)


def _given(original: Mapping[str, Any], *keys: str) -> list[str]:
    """Which of these keys are set: a fault is best reported at one that the operator wrote."""
    return [key for key in keys if original.get(key) is not None]


class ServerSchema(Schema):
    """``[server]``."""

    host = fields.String(load_default="127.0.0.1", validate=check_host)
    port = _integer(8080, _between(0, 65_535))  # 16 bits
    console = FlagField(load_default=None)
    debug = FlagField(load_default=False)
    compression = FlagField(load_default=False)
    # 4 KiB, many times most messages: larger ones take each connection more memory than they save.
    compression_window = _integer(12, _between(MIN_BITS, MAX_BITS))
    trusted_proxies = fields.List(NetworkField(), load_default=list)
    tls_certificate = FileField(load_default=None)
    tls_key = FileField(load_default=None)
    blocked_after = DurationField(load_default=0.25)

    @validates_schema(skip_on_field_errors=True)
    def certificate_and_key_fit(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse files that do not fit, here and not at the first handshake."""
        certificate, key = data["tls_certificate"], data["tls_key"]
        if certificate is not None:
            try:
                server_context(certificate, key)
            except ValueError as exc:
                raise ValidationError(str(exc), "tls_certificate") from None
        elif key is not None:
            raise ValidationError("There is no certificate: set server.tls_certificate.", "tls_key")


class RedisSchema(Schema):
    """``[redis]``."""

    url = fields.String(
        load_default="embedded", validate=check_redis_url, metadata={"secret": True}
    )
    # Braces would be taken for a hash tag, and the wildcards of SCAN for themselves.
    prefix = fields.String(
        load_default="jackfield",
        validate=validate.Regexp(
            r"[A-Za-z0-9._:-]{1,64}\Z", error="Must be 1 to 64 letters, digits or . _ : -"
        ),
    )
    password = SecretField(load_default=None)
    password_file = SecretFileField(load_default=None)
    password_env = fields.String(load_default=None)
    timeout = _positive_duration(1.0)
    pool = _integer(16, _at_least(1))
    probe = _positive_duration(2.0)
    tls_ca = FileField(load_default=None)
    # Valkey takes 2 MB before it keeps anything.
    embedded_memory = _integer(512 * 2**20, _between(2**23, 2**50))
    readyz_when_full = fields.String(
        load_default="unavailable",
        validate=validate.OneOf(("unavailable", "degraded"), error="Must be one of: {choices}."),
    )

    @validates_schema(skip_on_field_errors=True)
    def authorities_are_of_use(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse authorities without TLS: who names them believes that the line is encrypted."""
        if data["tls_ca"] is not None and not data["url"].startswith("rediss"):
            raise ValidationError(
                "Is of use only with TLS: redis.url must begin with rediss.", "tls_ca"
            )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def one_password(self, data: Mapping[str, Any], original: Mapping[str, Any], **_: Any) -> None:
        """Refuse two passwords: who gives them believes in the one that isn't used."""
        given = _given(original, "password_file", "password_env", "password")
        if not given:
            return
        if len(given) > 1:
            fault = "Only one of password, password_file and password_env can be set."
        elif data.get("url") == "embedded":
            fault = "The embedded server has no password: set redis.url, or leave this out."
        elif "url" in data and has_password(data["url"]):
            fault = "There is a password in redis.url already."
        else:
            return
        raise ValidationError(fault, given[-1])


class ConnectionsSchema(Schema):
    """``[connections]``."""

    heartbeat = _positive_duration(15.0)
    ttl = _positive_duration(45.0)
    when_full = fields.String(
        load_default="refuse",
        validate=validate.OneOf(["refuse", "newest"], error="Must be one of: {choices}."),
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def ttl_spans_two_heartbeats(
        self, data: Mapping[str, Any], original: Mapping[str, Any], **_: Any
    ) -> None:
        """Refuse a TTL that one late heartbeat would outlive: a living connection would vanish."""
        if data.get("ttl", math.inf) < 2 * data.get("heartbeat", 0):
            raise ValidationError(
                "connections.ttl must be at least twice connections.heartbeat, or one late "
                "heartbeat makes a living connection vanish.",
                _given(original, "ttl", "heartbeat")[0],
            )


class AuthSchema(Schema):
    """``[auth]``."""

    anonymous = FlagField(load_default=None)
    anonymous_on_any_address = FlagField(load_default=False)
    anonymous_scopes = fields.List(
        fields.String(validate=validate.Length(min=1)), load_default=list
    )
    origins = fields.List(OriginField(), load_default=None)
    # RFC 6265, section 4.1.1: a token of RFC 7230.
    cookie = fields.String(
        load_default=None,
        validate=validate.Regexp(
            r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z", error="Not a valid name of a cookie."
        ),
    )
    timeout = _positive_duration(10.0)
    warn_before = DurationField(load_default=30.0)
    grace = DurationField(load_default=10.0)
    revocation_ttl = _positive_duration(86_400.0)


class ApiSchema(Schema):
    """``[api]``."""

    keys_file = ApiKeysField(load_default=None)
    ticket_ttl = _positive_duration(30.0)


class LimitsSchema(Schema):
    """``[limits]``."""

    message_bytes = _size(65_536)
    nesting = _integer(128, _at_least(1))
    values = _integer(10_000, _at_least(1))
    queue_bytes = _size(1_048_576)
    reply_bytes = _size(524_288)
    connections = _integer(100_000, _at_least(1))
    connections_per_address = _integer(1000, _at_least(1))
    connections_per_user = _integer(100, _at_least(1))
    unauthenticated = _integer(5000, _at_least(1))
    header_bytes = _size(32_768)
    header_timeout = _positive_duration(10.0)
    idle_timeout = DurationField(load_default=0.0)
    requests_per_second = _integer(1000, _at_least(1))
    in_flight = _integer(64, _at_least(1))
    topics = _integer(100, _at_least(1))
    event_bytes = _size(65_536)
    history = _integer(1000, _at_least(1))
    publishes_per_second = _integer(100, _at_least(1))
    # Less would not hold the largest message a few times.
    kept_bytes = _integer(16 * 2**20, _between(2**18, 2**50))
    kept_bytes_per_address = _integer(64 * 2**20, _between(2**18, 2**50))
    new_topics_per_minute = _integer(1000, _at_least(1))
    handler_timeout = _positive_duration(30.0)
    write_timeout = _positive_duration(10.0)
    threads = _integer(32, _at_least(1))

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def each_holds_the_smaller(
        self, data: Mapping[str, Any], original: Mapping[str, Any], **_: Any
    ) -> None:
        """Refuse a limit past the one that must hold it: a reply past the queue's, and so on."""
        for small, large, outcome in (
            ("reply_bytes", "queue_bytes", "one large reply closes its connection"),
            ("event_bytes", "reply_bytes", "one large event is in no reply that recovers it"),
            ("event_bytes", "kept_bytes", "nobody could publish one large event"),
        ):
            if data.get(small, 0) > data.get(large, math.inf):
                raise ValidationError(
                    f"limits.{small} must be at most limits.{large}, or {outcome}.",
                    _given(original, small, large)[0],
                )


class AgentsSchema(Schema):
    """``[agents]``."""

    lease = _positive_duration(30.0)
    timeout = _positive_duration(300.0)
    max_timeout = _positive_duration(86_400.0)
    queue = _integer(1000, _at_least(1))
    queue_per_user = _integer(100, _at_least(1))
    events = _integer(10_000, _between(100, 100_000))
    attempts = _integer(3, _at_least(1))
    ttl = _positive_duration(3600.0)
    remember = _positive_duration(86_400.0)
    per_user = _integer(100, _at_least(1))
    skills_bytes = _size(65_536)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def what_is_shorter_than_what(
        self, data: Mapping[str, Any], original: Mapping[str, Any], **_: Any
    ) -> None:
        """Refuse a default past the maximum, and instances forgotten while they are leased."""
        for small, large, outcome in (
            ("timeout", "max_timeout", "no call could have it"),
            ("lease", "ttl", "instances would be forgotten while they live"),
        ):
            if data.get(small, 0) > data.get(large, math.inf):
                raise ValidationError(
                    f"agents.{small} must be at most agents.{large}, or {outcome}.",
                    _given(original, small, large)[0],
                )


class PluginsSchema(Schema):
    """``[plugins]``, without the plugins' own sections."""

    enabled = fields.List(
        fields.String(validate=validate.Length(min=1)), load_default=lambda: ["*"]
    )
    disabled = fields.List(fields.String(validate=validate.Length(min=1)), load_default=list)
    strict = FlagField(load_default=False)


class DrainSchema(Schema):
    """``[drain]``."""

    deadline = DurationField(load_default=25.0)


class LoggingSchema(Schema):
    """``[logging]``."""

    format = fields.String(
        load_default="auto",
        validate=validate.OneOf(("auto", "console", "json"), error="Must be one of: {choices}."),
    )
    level = fields.String(
        load_default="info",
        validate=validate.OneOf(
            ("debug", "info", "warning", "error"), error="Must be one of: {choices}."
        ),
    )


#: Every section of the configuration, by name.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "server": ServerSchema(),
    "redis": RedisSchema(),
    "connections": ConnectionsSchema(),
    "auth": AuthSchema(),
    "api": ApiSchema(),
    "limits": LimitsSchema(),
    "agents": AgentsSchema(),
    "plugins": PluginsSchema(),
    "drain": DrainSchema(),
    "logging": LoggingSchema(),
}
