"""One message being handled: what identifies it, what can stop it, and what it leaves behind."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from jackfield.wire.errors import Error

if TYPE_CHECKING:
    from jackfield.agents.instance import Instance
    from jackfield.dispatch.route import Route
    from jackfield.topics.join import Join
    from jackfield.wire.protocol import MessageId

    from .connection import Connection

_TIMEOUT: Final = Error("timeout")
#: Why what still runs is stopped at the end of its connection; nobody is told.
GONE: Final = Error("cancelled", "The connection has ended.")


class Request:
    """A valid message on its way through its handler.

    Args:
        connection: Whose it is.
        route: Its message type.
        message_id: Its id; None for a message that wants no reply.
        data: Its payload, loaded.
    """

    # One of these is made for every message.
    __slots__ = (
        "connection",
        "data",
        "done",
        "id",
        "joins",
        "key",
        "route",
        "stopped",
        "task",
        "timer",
    )

    def __init__(
        self, connection: "Connection", route: "Route", message_id: "MessageId | None", data: Any
    ) -> None:
        self.connection = connection
        self.route = route
        self.id = message_id
        self.data = data
        #: What the connection knows it by: its id, or itself if it has none.
        self.key: object = self if message_id is None else message_id
        #: The task its handler runs in, once it does.
        self.task: asyncio.Task[Any] | None = None
        self.timer: asyncio.TimerHandle | None = None
        #: Why it was stopped, if it was: what its client is told.
        self.stopped: Error | None = None
        self.done = False
        #: What begins once it is answered: topics that its connection joins, tasks it is sent.
        self.joins: list[Join | Instance] | None = None

    def is_slow(self) -> None:
        """It did not finish at once: start its timer, and let its connection read on."""
        self.hold_to_timeout()
        self.connection.read_on(self)

    def hold_to_timeout(self) -> None:
        """Start the timer of its deadline, if it has one and it isn't started."""
        if self.route.timeout is not None and self.timer is None:
            loop = self.connection.node.watch.loop
            self.timer = loop.call_later(self.route.timeout, self.stop, _TIMEOUT)

    def stop(self, reason: Error) -> bool:
        """Cancel the handler; one can't stop itself.

        Args:
            reason: What the client is told.

        Returns:
            False if it has ended or was stopped already.
        """
        if self.done or self.stopped is not None:
            return False
        if self.task is not None and self.task is asyncio.current_task():
            return False
        self.stopped = reason
        if self.task is not None:
            self.task.cancel()
        return True

    def caught_stop(self) -> bool:
        """Whether a cancellation that just arrived was `stop`'s, and nobody else's as well."""
        if self.stopped is None or self.task is None:
            return False
        return self.task.uncancel() == 0

    def call_when_answered(self, waiting: "Join | Instance") -> None:
        """Have something go on behind the reply, or be abandoned without one."""
        if self.joins is None:
            self.joins = []
        self.joins.append(waiting)

    def answered(self) -> None:
        """It has been answered with a reply."""
        joins, self.joins = self.joins, None
        for join in joins or ():
            join.activate()

    def finish(self) -> None:
        """It has been answered, or has nobody left to answer."""
        self.done = True
        if self.joins is not None:
            for join in self.joins:
                join.abandon()
        if self.timer is not None:
            self.timer.cancel()
        del self.connection.requests[self.key]
