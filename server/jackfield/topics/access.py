"""What clients ask of topics: who may, what comes of it, and in which words it is refused.

A topic that nobody declares and one that is not the client's to see answer alike.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

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
from jackfield.wire.rates import TokenBucket

from .join import Join, begin_join
from .membership import MEMBERSHIP
from .topics import Topic, Topics

Requested = Request[MessageOptions]

#: Seconds that a client is told to wait which is in too many topics: leaving one takes no longer.
_RETRY_AFTER: Final = 1.0
#: Of a reply's bytes, what its envelope and positions may take.
_ENVELOPE_BYTES: Final = 1024


#: Makes what a plugin's hook is called with: of the plugin's name, a connection and its request.
MakeContext = Callable[[str, Connection, Requested | None], Publisher]


class TopicAccess:
    """What one node's clients may do with topics.

    Args:
        topics: The node's topics.
        limits: How much of it they may do.
        make_context: Makes what the hooks of topics are called with.
    """

    def __init__(self, topics: Topics, limits: LimitSettings, make_context: MakeContext) -> None:
        self._topics = topics
        self._limits = limits
        self._make_context = make_context
        self._room = self._limits.reply_bytes - _ENVELOPE_BYTES
        self._codecs: dict[TopicFamily, tuple[Loader, Dump]] = {}

    async def subscribe(
        self,
        connection: Connection,
        request: Requested | None,
        topic: str,
        since: Position | None,
    ) -> dict[str, Any]:
        """Make a connection a member of a topic; see `Context.subscribe`."""
        found = await self._may_join(connection, request, topic)
        present = self._topics.present(found)
        if present is None or connection not in present.members:
            self._check_count(connection)
        info: dict[str, Any] | None = None
        if found.family.info_hook is not None:
            ctx = self._context(connection, request, found)
            info = as_payload(await found.family.info_hook(ctx, **found.parts))
        replay = since is None and found.family.replay
        join = await begin_join(
            self._topics.audience(found),
            connection,
            since,
            info,
            max_bytes=self._room,
            replay=replay,
        )
        read = join.read
        reply: dict[str, Any] = {"epoch": read.epoch, "offset": read.offset}
        if since is not None or replay:
            # Where there is more than a reply may hold, the client reads the history in parts.
            events = self._fitting(connection, read.events)
            recovered = read.after + len(events) == read.offset and (
                read.after == 0 if replay else read.recovered
            )
            reply["recovered"] = recovered
            if recovered:
                reply["events"] = events
        _activate_behind_reply(join, request)
        return reply

    def unsubscribe(self, connection: Connection, topic: str) -> bool:
        """Make a connection no member of a topic; returns whether it was one."""
        found = self._topics.find(topic)
        audience = None if found is None else self._topics.present(found)
        if audience is None or connection not in audience.members:
            return False
        connection[MEMBERSHIP].joined.remove(audience)
        audience.leave(connection)
        return True

    async def publish(
        self,
        connection: Connection,
        request: Requested | None,
        topic: str,
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
        # What one connection publishes keeps its order, however long a plugin thinks about each.
        async with membership.publish_lock:
            found = self._visible(connection, topic)
            family = found.family
            check = family.publish_check or family.join_check
            ctx = self._context(connection, request, found)
            if not family.client_publish or (
                check is not None and not await check(ctx, **found.parts)
            ):
                raise Error("not_found")
            load, dump = self._codec(family)
            data = _load(load, payload)
            if family.prepare_hook is not None:
                data = as_payload(await family.prepare_hook(ctx, data, **found.parts))
            mine = "" if key is None else _own_key(connection.user or "", key)
            sent = self._topics.send(found, dump(data), mine)
        return await sent

    async def history(
        self,
        connection: Connection,
        request: Requested | None,
        topic: str,
        *,
        after: int | None,
        before: int | None,
        limit: int | None,
    ) -> dict[str, Any]:
        """A part of a topic's past; see `Context.history`."""
        if limit is None:
            limit = self._limits.history
        found = await self._may_join(connection, request, topic)
        past = await self._topics.store.history(
            found.place,
            after=after,
            before=before,
            limit=min(limit, self._limits.history),
            max_bytes=self._room,
        )
        if not past.complete:
            raise Error("unrecoverable", topic=topic, epoch=past.epoch, offset=past.offset)
        if after is None:
            events = self._fitting(connection, reversed(past.events))[::-1]
        else:
            events = self._fitting(connection, past.events)
        if past.events and not events:  # an empty page would look like the end
            raise Error("too_large", "One event is larger than a reply may be.")
        return {"epoch": past.epoch, "offset": past.offset, "events": events}

    async def presence(
        self, connection: Connection, request: Requested | None, topic: str
    ) -> dict[str, Any]:
        """Who is in a topic; see `Context.presence`."""
        found = await self._may_join(connection, request, topic)
        if not found.family.presence:
            raise Error("not_found")
        return await self._topics.presence(found)

    async def check_again(self, connection: Connection) -> None:
        """Have a connection leave the topics that it may not be in any more, and tell its client.

        A topic whose plugin can't say so now is left as well: it can be joined again.
        """
        for joined in list(connection[MEMBERSHIP].joined):
            error = await self._objection(connection, joined.topic)
            if error is not None and self.unsubscribe(connection, joined.topic):
                connection.refuse(None, error)

    async def _objection(self, connection: Connection, topic: str) -> Error | None:
        """Why a connection may not be in a topic; None if it may."""
        try:
            await self._may_join(connection, None, topic)
        except Error as error:
            if error.code == "not_found":  # no secret to who was in it
                error = Error("forbidden", "This connection may not be in the topic any more.")
            error.extra["topic"] = topic
            return error
        except Exception as exc:  # noqa: BLE001 - whatever a plugin raises is contained here
            fault = error_of(exc, connection=connection.id)
            fault.extra["topic"] = topic
            return fault
        return None

    def _visible(self, connection: Connection, topic: str) -> Topic:
        found = self._topics.find(topic)
        if found is None or not found.family.scopes <= connection.identity.scopes:
            raise Error("not_found")
        return found

    async def _may_join(
        self, connection: Connection, request: Requested | None, topic: str
    ) -> Topic:
        found = self._visible(connection, topic)
        check = found.family.join_check
        if check is not None and not await check(
            self._context(connection, request, found), **found.parts
        ):
            raise Error("not_found")
        return found

    def _fitting(self, connection: Connection, events: Iterable[bytes]) -> list[Any]:
        """The first of some events, as many as one reply holds in the client's encoding.

        They fit in JSON, but a number may take twice as much in MessagePack.
        """
        room, fitting, codec = self._room, [], connection.codec
        for event in events:
            room -= len(codec.from_json(event)) + 1  # and a comma
            if room < 0:
                break
            fitting.append(codec.embed(event))
        return fitting

    def _context(
        self, connection: Connection, request: Requested | None, found: Topic
    ) -> Publisher:
        """The context of the plugin that declares the topic."""
        return self._make_context(found.family.plugin, connection, request)

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
            raise Error("rate_limited", "Too much is published.", retry_after=round(wait, 3))

    def _codec(self, family: TopicFamily) -> tuple[Loader, Dump]:
        codec = self._codecs.get(family)
        if codec is None:
            load = bind(family.event, f"an event of {family.pattern}")
            codec = self._codecs[family] = (load, _dumper(family.event))
        return codec


def _own_key(user: str, key: str) -> str:
    """A client's idempotency key among those of all; a user's id may hold any character."""
    return f"client:{len(user)}:{user}:{key}"


def _dumper(schema: Schema) -> Dump:
    """What makes an event of what `load` made of a client's payload."""
    dump = compile_dump(schema)
    if schema.unknown != INCLUDE:
        return dump
    declared = {field.attribute or name for name, field in schema.load_fields.items()}

    def dump_all(data: Any) -> Any:
        # `dump` leaves out what is not declared, and the schema says that it is to be kept.
        return {key: data[key] for key in data if key not in declared} | dump(data)

    return dump_all


def _load(load: Loader, payload: dict[str, Any]) -> Any:
    """Validate an event; its faults lie one step deeper in the message."""
    try:
        return load(payload)
    except Error as error:
        for fault in error.extra.get("fields", ()):
            fault["pointer"] = f"/payload{fault['pointer']}"
        raise


def _activate_behind_reply(join: Join, request: Requested | None) -> None:
    """Begin to send events behind the reply that says where they begin."""
    early_joins = join.connection[MEMBERSHIP].early_joins
    if request is None and early_joins is not None:
        early_joins.append(join)
    elif request is None or request.options.streams:
        join.activate()
    else:
        request.call_after_reply(join)
