"""`TopicAccess`: what clients may do with topics, from the check of who may to the reply.

A topic that nobody declares and one that the client may not see are refused alike.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec
from marshmallow import INCLUDE, Schema

from jackfield.config import LimitSettings
from jackfield.connection.connection import Connection
from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions
from jackfield.declaration.topic_family import Publisher, TopicFamily
from jackfield.schema.compiled.dumping import Dump, compile_dump
from jackfield.schema.payload import as_payload
from jackfield.schema.validation import Loader, bind
from jackfield.telemetry.incidents import error_of
from jackfield.wire.errors import Error
from jackfield.wire.position import Position
from jackfield.wire.rates import TokenBucket, rounded_up

from .charging import claimed, info_held, release_info
from .join import Join, prepare_join
from .membership import MEMBERSHIP
from .topic import Topic
from .topics import Topics

ClientRequest = Request[MessageOptions]
#: Makes what a plugin's hook is called with, of the plugin's name, a connection and its request.
MakeContext = Callable[[str, Connection, ClientRequest | None], Publisher]

#: Seconds that a client in too many topics is told to wait: leaving one takes no longer.
_RETRY_AFTER: Final = 1.0
#: Of a reply's bytes, what its envelope and positions may take; names of topics are short.
_ENVELOPE_BYTES: Final = 1024


class _EventSchema(NamedTuple):
    """How a payload that a client publishes is loaded, and made JSON again."""

    load: Loader
    dump: Dump


class TopicAccess:
    """What the clients of one node may do with topics.

    Args:
        topics: The node's topics.
        limits: How much of it each may do.
        make_context: Makes what the hooks of topics are called with.
    """

    def __init__(self, topics: Topics, limits: LimitSettings, make_context: MakeContext) -> None:
        self._topics = topics
        self._limits = limits
        self._make_context = make_context
        self._max_bytes = self._limits.reply_bytes - _ENVELOPE_BYTES
        self._event_schemas: dict[TopicFamily, _EventSchema] = {}

    async def subscribe(
        self,
        connection: Connection,
        request: ClientRequest | None,
        name: str,
        since: Position | None,
    ) -> dict[str, Any]:
        """Make a connection a member of a topic; see `Context.subscribe`."""
        topic = await self._check_join(connection, request, name)
        present = self._topics.find_audience(topic)
        if present is None or connection not in present.members:
            self._check_count(connection)
        info: dict[str, Any] | None = None
        if topic.family.info_hook is not None:
            ctx = self._context(connection, request, topic)
            info = as_payload(await topic.family.info_hook(ctx, **topic.parts))
        replay = since is None and topic.family.replay
        with (
            info_held(self._topics, connection, name, info),
            claimed(self._topics, connection, topic) as claim,
        ):
            join = await prepare_join(
                self._topics.audience(topic),
                connection,
                since,
                info,
                max_bytes=self._max_bytes,
                replay=replay,
            )
            recovery = join.recovery
            claim.is_new = not recovery.offset
        reply: dict[str, Any] = {"epoch": recovery.epoch, "offset": recovery.offset}
        if since is not None or replay:
            # Where there is more than a reply may hold, the client reads the history in parts.
            events = self._fit_into_reply(connection, recovery.events)
            recovered = recovery.after + len(events) == recovery.offset and (
                recovery.after == 0 if replay else recovery.recovered
            )
            reply["recovered"] = recovered
            if recovered:
                reply["events"] = events
        _activate_behind_reply(join, request)
        return reply

    def unsubscribe(self, connection: Connection, name: str) -> bool:
        """Have a connection leave a topic; return whether it was in it."""
        topic = self._topics.find(name)
        audience = None if topic is None else self._topics.find_audience(topic)
        if audience is None or connection not in audience.members:
            return False
        connection[MEMBERSHIP].joined.remove(audience)
        audience.leave(connection)
        release_info(self._topics, connection, name)
        return True

    async def publish(
        self,
        connection: Connection,
        request: ClientRequest | None,
        name: str,
        payload: dict[str, Any],
        key: str | None,
    ) -> Position:
        """Publish what a client sends.

        Raises:
            Error: ``not_found``, ``invalid_payload``, ``rate_limited``, ``too_large``,
                ``unavailable``.
        """
        self._check_rate(connection)
        membership = connection[MEMBERSHIP]
        if membership.publish_lock is None:
            membership.publish_lock = asyncio.Lock()
        # What one connection publishes keeps its order, however long the hooks take for each.
        async with membership.publish_lock:
            topic = self._find_visible(connection, name)
            family = topic.family
            check = family.publish_check or family.join_check
            ctx = self._context(connection, request, topic)
            if not family.client_publish or (
                check is not None and not await check(ctx, **topic.parts)
            ):
                raise Error("not_found")
            schema = self._event_schema(family)
            data = _load_event(schema.load, payload)
            if family.prepare_hook is not None:
                data = as_payload(await family.prepare_hook(ctx, data, **topic.parts))
            own_key = "" if key is None else _own_key(connection.user, key, payload)
            sent = self._topics.send(topic, schema.dump(data), own_key, connection)
        return await sent

    async def history(
        self,
        connection: Connection,
        request: ClientRequest | None,
        name: str,
        *,
        after: int | None,
        before: int | None,
        limit: int | None,
    ) -> dict[str, Any]:
        """Read a part of a topic's history; see `Context.history`."""
        if limit is None:
            limit = self._limits.history
        topic = await self._check_join(connection, request, name)
        with claimed(self._topics, connection, topic) as claim:
            page = await self._topics.store.history(
                topic.stored,
                after=after,
                before=before,
                limit=min(limit, self._limits.history),
                max_bytes=self._max_bytes,
            )
            claim.is_new = not page.offset
        if not page.complete:
            raise Error("unrecoverable", topic=name, epoch=page.epoch, offset=page.offset)
        if after is None:
            events = self._fit_into_reply(connection, reversed(page.events))[::-1]
        else:
            events = self._fit_into_reply(connection, page.events)
        if page.events and not events:  # an empty page would look like the end
            raise Error("too_large", "One event is larger than a reply may be.")
        return {"epoch": page.epoch, "offset": page.offset, "events": events}

    async def presence(
        self, connection: Connection, request: ClientRequest | None, name: str
    ) -> dict[str, Any]:
        """Read who is in a topic; see `Context.presence`."""
        topic = await self._check_join(connection, request, name)
        if not topic.family.presence:
            raise Error("not_found")
        with claimed(self._topics, connection, topic) as claim:
            presence = await self._topics.presence(topic)
            claim.is_new = not presence["count"]
        return presence

    async def check_again(self, connection: Connection) -> None:
        """Have a connection leave the topics that it may not be in any more, and tell its client.

        A topic whose plugin fails to say whether it may is left as well: it can be joined again.
        """
        for joined in list(connection[MEMBERSHIP].joined):
            error = await self._why_not(connection, joined.topic)
            if error is not None and self.unsubscribe(connection, joined.topic):
                connection.refuse(None, error)

    async def _why_not(self, connection: Connection, name: str) -> Error | None:
        """Return why a connection may not be in a topic; None if it may."""
        try:
            await self._check_join(connection, None, name)
        except Error as error:
            if error.code == "not_found":  # no secret to who was in it
                error = Error("forbidden", "This connection may not be in the topic any more.")
            error.extra["topic"] = name
            return error
        except Exception as exc:  # noqa: BLE001 - whatever a plugin raises is contained here
            fault = error_of(exc, connection=connection.id)
            fault.extra["topic"] = name
            return fault
        return None

    def _find_visible(self, connection: Connection, name: str) -> Topic:
        """Find a topic that a connection has the scopes for.

        Raises:
            Error: ``not_found``.
        """
        topic = self._topics.find(name)
        if topic is None or not topic.family.scopes <= connection.identity.scopes:
            raise Error("not_found")
        return topic

    async def _check_join(
        self, connection: Connection, request: ClientRequest | None, name: str
    ) -> Topic:
        """Find a topic that a connection may be in.

        Raises:
            Error: ``not_found``.
        """
        topic = self._find_visible(connection, name)
        check = topic.family.join_check
        if check is not None and not await check(
            self._context(connection, request, topic), **topic.parts
        ):
            raise Error("not_found")
        return topic

    def _fit_into_reply(self, connection: Connection, events: Iterable[bytes]) -> list[Any]:
        """Return the first of some events, as many as one reply holds in the client's encoding.

        They fit in JSON, but a number may take twice as much in MessagePack.
        """
        left, fitting, codec = self._max_bytes, [], connection.codec
        for event in events:
            left -= len(codec.from_json(event)) + 1  # and a comma
            if left < 0:
                break
            fitting.append(codec.embed(event))
        return fitting

    def _context(
        self, connection: Connection, request: ClientRequest | None, topic: Topic
    ) -> Publisher:
        """Make a context of the plugin that declares the topic."""
        return self._make_context(topic.family.plugin, connection, request)

    def _check_count(self, connection: Connection) -> None:
        limit = self._limits.topics
        membership = connection[MEMBERSHIP]
        if len(membership.joined) - membership.given >= limit:
            raise Error(
                "rate_limited",
                f"This connection is in {limit} topics, and may be in no more; leave one.",
                retry_after=_RETRY_AFTER,
                limit=limit,
            )

    def _check_rate(self, connection: Connection) -> None:
        membership = connection[MEMBERSHIP]
        if membership.publish_bucket is None:
            rate = self._limits.publishes_per_second
            membership.publish_bucket = TokenBucket(rate, rate)
        wait = membership.publish_bucket.take(connection.loop.time())
        if wait:
            raise Error("rate_limited", "Too much is published.", retry_after=rounded_up(wait))

    def _event_schema(self, family: TopicFamily) -> _EventSchema:
        schema = self._event_schemas.get(family)
        if schema is None:
            load = bind(family.event, f"an event of {family.pattern}")
            schema = self._event_schemas[family] = _EventSchema(load, _compile_dump(family.event))
        return schema


def _own_key(user: str | None, key: str, payload: dict[str, Any]) -> str:
    """Return a client's idempotency key among those of all.

    Args:
        user: Whose it is; a user's id may hold any character. Nobody else's key is the same.
        key: What the client has sent.
        payload: What it publishes. Somebody anonymous is not known again on a new connection, over
            which they send again what may have been lost; so their key is that of what they send.
    """
    if user is not None:
        return f"client:{len(user)}:{user}:{key}"
    digest = hashlib.sha256(msgspec.json.encode(payload)).hexdigest()
    return f"nobody:{digest}:{key}"


def _compile_dump(schema: Schema) -> Dump:
    """Compile what makes a payload again of what was loaded from one."""
    dump = compile_dump(schema)
    if schema.unknown != INCLUDE:
        return dump
    declared = {field.attribute or name for name, field in schema.load_fields.items()}

    def dump_all(data: Any) -> Any:
        # `dump` leaves out what is not declared, and the schema says that it is to be kept.
        return {key: data[key] for key in data if key not in declared} | dump(data)

    return dump_all


def _load_event(load: Loader, payload: dict[str, Any]) -> Any:
    """Load the payload of an event; its faults lie one step deeper in the message."""
    try:
        return load(payload)
    except Error as error:
        for fault in error.extra.get("fields", ()):
            fault["pointer"] = f"/payload{fault['pointer']}"
        raise


def _activate_behind_reply(join: Join, request: ClientRequest | None) -> None:
    """Activate a join behind the reply, or the welcome, that says where its events begin."""
    early_joins = join.connection[MEMBERSHIP].early_joins
    if request is None and early_joins is not None:
        early_joins.append(join)
    elif request is None or request.options.streams:
        join.activate()
    else:
        request.call_after_reply(join)
