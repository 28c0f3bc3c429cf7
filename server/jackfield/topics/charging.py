"""Charge clients for the topics that they bring to life, and for what others see of them there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jackfield.connection.connection import Connection
from jackfield.wire.protocol import event_tail

from .topic import Topic
from .topics import Topics


class Claim:
    """A topic that a client asks after; whether it was there can be told only afterwards.

    Attributes:
        is_new: Whether it was not: set by whoever has asked Redis.
    """

    __slots__ = ("is_new",)

    def __init__(self) -> None:
        self.is_new = False


@contextmanager
def claimed(topics: Topics, connection: Connection, topic: Topic) -> Iterator[Claim]:
    """Charge a client for a topic that may be new, unless it has members at this node.

    Args:
        topics: The node's topics.
        connection: The client's.
        topic: The topic.

    Raises:
        Error: ``rate_limited``, see `Shares`.
    """
    claim = Claim()
    if topics.find_audience(topic) is not None:
        yield claim
        return
    topics.shares.claim_topic(connection, topic.stored)
    try:
        yield claim
    finally:
        if not claim.is_new:
            topics.shares.return_topic(connection, topic.stored)


@contextmanager
def info_held(
    topics: Topics, connection: Connection, name: str, info: dict[str, Any] | None
) -> Iterator[None]:
    """Charge a client for what others see of it in a topic; not if it does not join.

    Args:
        topics: The node's topics.
        connection: The client's.
        name: The topic's.
        info: What others see.

    Raises:
        Error: ``rate_limited``, see `Shares`.
    """
    what = _info_of(name)
    size = 0 if info is None else len(event_tail(info))
    # While Redis is nearly full, too: presence is among what the rest of it is for.
    before = topics.shares.hold(connection, what, size, also_nearly_full=True)
    try:
        yield
    except BaseException:
        topics.shares.release(connection, what, before)
        raise


def release_info(topics: Topics, connection: Connection, name: str) -> None:
    """Charge a client no longer for a topic that it has left."""
    topics.shares.release(connection, _info_of(name))


def _info_of(name: str) -> str:
    """Name what a connection holds by a topic's presence, among all that it holds."""
    return f"info {name}"
