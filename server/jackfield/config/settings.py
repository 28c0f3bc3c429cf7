"""The settings that a configuration becomes: frozen, one class a section."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as attributes
from ipaddress import IPv4Network, IPv6Network

from .api_keys import ApiKey
from .fields import Secret
from .redis_url import safe_redis_url
from .section import Section


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``[server]``.

    Attributes:
        host: The address to listen on.
        port: The TCP port; 0 for any that is free.
        console: Whether the console is served. Where the configuration doesn't say: true, if the
            host is a loopback one.
        debug: Whether what plugins send is validated, too.
        compression: Whether permessage-deflate (RFC 7692) is offered.
        compression_window: The largest window on offer, in bits.
        trusted_proxies: Whose word is taken for whom they speak for.
        tls_certificate: The file of the certificate and its chain; None without TLS.
        tls_key: The file of its key; None where that is in the same one.
        blocked_after: Seconds without a turn of the event loop that are reported; 0 for never.
    """

    host: str
    port: int
    console: bool
    debug: bool
    compression: bool
    compression_window: int
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    tls_certificate: str | None
    tls_key: str | None
    blocked_after: float


@dataclass(frozen=True, slots=True, repr=False)
class RedisSettings:
    """``[redis]``.

    Attributes:
        url: ``embedded``, or where Redis is: see `split_redis_url`. May hold a password.
        prefix: What every key starts with.
        password: From whichever of the three keys has it; None without one.
        timeout: Seconds that a call may take.
        pool: Connections of one process to one server, at most.
        probe: Seconds within which a link to pub/sub must bring back what is sent over it.
        tls_ca: The file of the authorities whose certificates are trusted; None for the system's.
        embedded_memory: Bytes that the embedded Valkey may use.
        readyz_when_full: ``unavailable`` or ``degraded``: what ``/readyz`` says while Redis refuses
            writes.
    """

    url: str
    prefix: str
    password: Secret | None
    timeout: float
    pool: int
    probe: float
    tls_ca: str | None
    embedded_memory: int
    readyz_when_full: str

    @property
    def safe_url(self) -> str:
        """The URL without its password, to be shown."""
        return safe_redis_url(self.url)

    def __repr__(self) -> str:
        shown = {each.name: getattr(self, each.name) for each in attributes(self)}
        shown["url"] = self.safe_url
        return f"RedisSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """``[connections]``.

    Attributes:
        heartbeat: Seconds between two pings of a client, and between two signs of life in Redis.
        ttl: Seconds after which a connection without a sign of life counts as gone.
        when_full: What happens to a connection past its user's limit: ``refuse``, or ``newest``,
            which has it displace that user's oldest.
    """

    heartbeat: float
    ttl: float
    when_full: str = "refuse"


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """``[auth]``.

    Attributes:
        anonymous: Whether clients need no identity. Where the configuration doesn't say: true,
            if the host is a loopback one.
        anonymous_scopes: What those may do that have none.
        origins: The origins whose pages may connect. Where the configuration doesn't say:
            `local_origins` of the configured port, which for port 0 match nothing.
        cookie: The name of the cookie that may hold a token; None for none.
        timeout: Seconds that a client has to say who it is over the socket.
        warn_before: Seconds before an identity runs out at which its client is told; 0 for never.
        grace: Seconds after an identity has run out at which its connection is closed.
        revocation_ttl: Seconds that a revocation is kept, unless whoever revokes says.
        sections: Each ``[auth.NAME]``, to be validated by the authenticator of that name; in the
            order they are asked in.
    """

    anonymous: bool
    anonymous_scopes: tuple[str, ...]
    origins: tuple[str, ...]
    cookie: str | None
    timeout: float
    warn_before: float
    grace: float
    revocation_ttl: float
    sections: Mapping[str, Section]


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """``[api]``.

    Attributes:
        keys: Who may use the server API, and for what.
        ticket_ttl: Seconds that a ticket can be used for.
    """

    keys: tuple[ApiKey, ...]
    ticket_ttl: float


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """``[limits]``.

    Attributes:
        message_bytes: Of a message from a client.
        nesting: Objects and lists within each other, in a message from a client.
        values: Of the payload of a message from a client, at any depth.
        queue_bytes: Waiting to be sent to one client.
        reply_bytes: Of one message to a client.
        connections: Of one process.
        connections_per_address: Of those, from one address.
        connections_per_user: Of those, of one user.
        unauthenticated: Of those, without an identity yet; and clients without a request under way.
        header_bytes: Of the head of an HTTP request.
        header_timeout: Seconds until the head of the next HTTP request must be there.
        idle_timeout: Seconds that a client may send no message; 0 for ever.
        requests_per_second: Of one connection.
        in_flight: Requests of one connection that run at the same time.
        topics: Subscriptions of one connection.
        event_bytes: Of one event.
        history: Events of one reply.
        publishes_per_second: Of one connection, by ``topic.publish``.
        kept_bytes: That one user, or one anonymous connection, may keep in Redis.
        kept_bytes_per_address: That all anonymous connections of one address may keep together.
        new_topics_per_minute: That one user, anonymous connection or address may bring to life.
        handler_timeout: Seconds a handler may take that doesn't declare its own.
        write_timeout: Seconds that a client may leave what it is sent unread.
        threads: That plain handlers run in.
    """

    message_bytes: int
    nesting: int
    values: int
    queue_bytes: int
    reply_bytes: int
    connections: int
    connections_per_address: int
    connections_per_user: int
    unauthenticated: int
    header_bytes: int
    header_timeout: float
    idle_timeout: float
    requests_per_second: int
    in_flight: int
    topics: int
    event_bytes: int
    history: int
    publishes_per_second: int
    kept_bytes: int
    kept_bytes_per_address: int
    new_topics_per_minute: int
    handler_timeout: float
    write_timeout: float
    threads: int


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """``[agents]``.

    Attributes:
        lease: Seconds that an instance keeps its tasks without a sign of life.
        timeout: Seconds that a call may take which says nothing else.
        max_timeout: Seconds that any call may take.
        queue: Calls of one agent that may wait for an instance.
        queue_per_user: Of these, calls of one user.
        events: Events of a task that are kept; an agent can't stream more.
        attempts: How often a task is tried whose agent dies.
        ttl: Seconds that a task can be read after its end.
        remember: Seconds that an agent without an instance can still be called.
        per_user: Agents that one user may have registered.
        skills_bytes: Of the definitions of all skills of an agent.
    """

    lease: float
    timeout: float
    max_timeout: float
    queue: int
    queue_per_user: int
    events: int
    attempts: int
    ttl: float
    remember: float
    per_user: int
    skills_bytes: int

    @property
    def queue_share(self) -> int:
        """How many calls of one user may wait for one agent: never more than half the queue."""
        return min(self.queue_per_user, (self.queue + 1) // 2)


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """``[plugins]``.

    Attributes:
        enabled: Patterns (`fnmatch`) of the plugins to load.
        disabled: Patterns of those to leave out all the same.
        strict: Whether a plugin that fails is fatal.
        sections: Each ``[plugins.NAME]``, to be validated by that plugin's own schema.
    """

    enabled: tuple[str, ...]
    disabled: tuple[str, ...]
    strict: bool
    sections: Mapping[str, Section]


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """``[drain]``.

    Attributes:
        deadline: Seconds from the signal to stop to the end of the process, at most.
    """

    deadline: float


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """``[logging]``.

    Attributes:
        format: ``auto``, ``console`` or ``json``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """

    format: str
    level: str


@dataclass(frozen=True, slots=True)
class Settings:
    """A valid configuration. Printing it shows no secret."""

    server: ServerSettings
    redis: RedisSettings
    connections: ConnectionSettings
    auth: AuthSettings
    api: ApiSettings
    limits: LimitSettings
    agents: AgentSettings
    plugins: PluginSettings
    drain: DrainSettings
    logging: LoggingSettings
