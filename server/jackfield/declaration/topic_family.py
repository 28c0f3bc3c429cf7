"""`TopicFamily`: the topics of one pattern, as a plugin declares them and publishes to them.

What a family is told by its options and hooks is checked here and done elsewhere.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Final, Protocol, TypeVar

from marshmallow import Schema

from jackfield.schema.json_schema import json_schema
from jackfield.wire.errors import RegistrationError
from jackfield.wire.position import Position

from .checks import Checks, function_name
from .pattern import Pattern

F = TypeVar("F", bound=Callable[..., Any])

Check = Callable[..., Awaitable[bool]]
Maker = Callable[..., Awaitable[Mapping[str, Any]]]

#: Events. What keeps more than this of one topic is a database, and one Redis holds all of it.
MAX_HISTORY: Final = 100_000
#: Seconds. Less, and a client that reconnects at once would already find nothing.
MIN_TTL: Final = 1.0
#: The topic that everybody is in, and the start of the name of a user's own.
BROADCAST: Final = "broadcast"
USER: Final = "user:"
#: Names that are remembered.
_REMEMBERED: Final = 1024


class Publisher(Protocol):
    """What a topic is published from: a `Context`, or a `Runtime`."""

    async def publish(self, topic: str, payload: Any, /, *, key: str | None = None) -> Position:
        """Publish to a topic by its name."""


class TopicFamily:
    """The topics whose names are of one pattern; made by `Plugin.topic`.

    Attributes:
        pattern: What their names are.
        plugin: The name of the plugin that declares them.
        event: What the payload of an event is.
        history: How many of a topic's last events are kept; 0 for none.
        ttl: Seconds after a topic's last event until its history and position are forgotten.
        presence: Whether members see each other.
        client_publish: Whether clients may publish.
        replay: Whether who subscribes without a position is sent all that is kept.
        scopes: What the identity of a connection must all have, to subscribe and to publish.
        join_check: Who may subscribe, beyond the scopes; None for everyone.
        publish_check: Which client may publish, beyond the scopes; None for every client.
        prepare_hook: Makes the event of what a client publishes; None to take it as it is.
        info_hook: Makes what others see of a member; None for nothing but its user.
    """

    def __init__(
        self,
        plugin: str,
        pattern: str,
        event: type[Schema] | Schema,
        *,
        history: int,
        ttl: str | float,
        presence: bool,
        publish: bool,
        replay: bool,
        scopes: Iterable[str],
    ) -> None:
        self._check = Checks(plugin)
        try:
            self.pattern = Pattern(pattern)
        except RegistrationError as exc:
            raise self._check.wrong(str(exc)) from None
        #: To make a name costs 3 us, and most publications are to few topics.
        self._names = lru_cache(_REMEMBERED)(self.pattern.format)
        self.plugin = plugin
        self.event = self._check.schema(event, f"event= of {self}")
        self.history = self._events(history)
        self.ttl = self._check.duration(ttl, f"ttl= of {self}")
        if self.ttl < MIN_TTL:
            raise self._check.wrong(f"ttl= of {self} must be at least {MIN_TTL:g} s, not {ttl!r}")
        self.presence = presence
        self.client_publish = publish
        self.replay = replay
        self.scopes = self._check.scopes(scopes, f"scopes= of {self}")
        self.join_check: Check | None = None
        self.publish_check: Check | None = None
        self.prepare_hook: Maker | None = None
        self.info_hook: Maker | None = None

    def __str__(self) -> str:
        return f"topic {str(self.pattern)!r}"

    def __repr__(self) -> str:
        return f"TopicFamily({str(self.pattern)!r})"

    @cached_property
    def description(self) -> dict[str, Any]:
        """What a client may know of the family: options, and the JSON Schema of its events."""
        return {
            "pattern": str(self.pattern),
            "plugin": self.plugin,
            "history": self.history,
            "presence": self.presence,
            "publish": self.client_publish,
            "scopes": sorted(self.scopes),
            "event": json_schema(self.event),
        }

    def authorize(self, function: F) -> F:
        """Say who may subscribe, and see history and members.

        An async function of a `Context` and the parts of the topic's name, by their names. Whoever
        it answers with anything false gets ``not_found``, as for a topic that isn't there.
        """
        self._check_hook(function, "authorize", self.join_check)
        self.join_check = function
        return function

    def authorize_publish(self, function: F) -> F:
        """Say which clients may publish, where the family has ``publish=True``.

        As `authorize`. What the server's own code publishes is not asked about.
        """
        self._check_publish("authorize_publish")
        self._check_hook(function, "authorize_publish", self.publish_check)
        self.publish_check = function
        return function

    def prepare(self, function: F) -> F:
        """Make the event of what a client publishes, where the family has ``publish=True``.

        An async function of a `Context`, the payload as ``event`` loaded it, and the parts by their
        names. It returns the event's payload, a mapping, or raises an `Error` instead.
        """
        self._check_publish("prepare")
        self._check_hook(function, "prepare", self.prepare_hook, ("ctx", "data"))
        self.prepare_hook = function
        return function

    def info(self, function: F) -> F:
        """Say what others see of a member, where the family has ``presence=True``.

        An async function of a `Context` and the parts by their names. It returns a mapping.
        """
        if not self.presence:
            raise self._check.wrong(f"info of {self} needs presence=True: no member is seen")
        self._check_hook(function, "info", self.info_hook)
        self.info_hook = function
        return function

    def name(self, /, **parts: str) -> str:
        """Return the name of one topic of the family.

        Args:
            **parts: The text of each part of the pattern.

        Raises:
            ValueError: A part is missing, isn't of the pattern or doesn't fit, or the name would be
                too long.
        """
        try:
            return self._names(**parts)
        except TypeError:  # a part that can't be remembered is no string: let it be told
            return self.pattern.format(**parts)

    async def publish(
        self,
        source: Publisher,
        payload: Mapping[str, Any],
        /,
        *,
        key: str | None = None,
        **parts: str,
    ) -> Position:
        """Publish an event to one topic of the family.

        Args:
            source: The `Context` of a handler or hook, or the `Runtime` of a lifespan.
            payload: What the event carries.
            key: Makes it idempotent: of several with the same key, only the first is published,
                and all return its position.
            **parts: The text of each part of the pattern.

        Returns:
            Where in the topic the event stands.

        Raises:
            ValueError: As of `name`.
            Error: ``unavailable`` if Redis is away, ``too_large`` if the event is.
        """
        return await source.publish(self.name(**parts), payload, key=key)

    def _events(self, history: Any) -> int:
        whole = isinstance(history, int) and not isinstance(history, bool)
        if whole and 0 <= history <= MAX_HISTORY:
            return int(history)
        raise self._check.wrong(
            f"history= of {self} must be a number of events from 0 to {MAX_HISTORY}, not "
            f"{history!r}"
        )

    def _check_publish(self, hook: str) -> None:
        if not self.client_publish:
            raise self._check.wrong(f"{hook} of {self} needs publish=True: no client publishes")

    def _check_hook(
        self,
        function: Callable[..., Any],
        hook: str,
        declared: Callable[..., Any] | None,
        arguments: tuple[str, ...] = ("ctx",),
    ) -> None:
        self._check.call(function, f"{hook} of {self}", arguments, self.pattern.parts)
        if declared is not None:
            raise self._check.wrong(
                f"{self} has two functions for {hook}, {function_name(declared)!r} and "
                f"{function_name(function)!r}: make them one"
            )
