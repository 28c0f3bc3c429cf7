"""One message being handled: what identifies it, what stops it, and what waits for its reply."""

import asyncio
from typing import Any, Final, Generic, Protocol, TypeVar

from jackfield.wire.errors import Error
from jackfield.wire.protocol import MessageId

from .connection import Connection
from .running import MessageOptions

_TIMEOUT: Final = Error("timeout")
#: Why what still runs is stopped at the end of its connection; nobody is told.
GONE: Final = Error("cancelled", "The connection has ended.")


class AfterReply(Protocol):
    """What goes on once a request is answered with a reply, or is given up without one."""

    def activate(self) -> None:
        """The reply is on its way: go on behind it."""

    def abandon(self) -> None:
        """There was no reply, and there will be none. No effect after `activate`."""


Options_co = TypeVar("Options_co", bound=MessageOptions, covariant=True)


class Request(Generic[Options_co]):
    """A valid message on its way through its handler.

    Args:
        connection: The connection it came from.
        options: Its message type.
        message_id: Its id; None for a message that wants no reply.
        data: Its payload, loaded.
    """

    # One of these is made for every message.
    __slots__ = (
        "after_reply",
        "connection",
        "data",
        "done",
        "id",
        "key",
        "options",
        "stopped",
        "task",
        "timer",
    )

    def __init__(
        self,
        connection: Connection,
        options: Options_co,
        message_id: MessageId | None,
        data: Any,
    ) -> None:
        self.connection = connection
        self.options = options
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
        #: What waits for the reply: topics that its connection joins, tasks it is sent.
        self.after_reply: list[AfterReply] | None = None

    def start_timeout(self) -> None:
        """Start the timer of its timeout, if it has one and it isn't started."""
        if self.options.timeout is not None and self.timer is None:
            self.timer = self.connection.loop.call_later(self.options.timeout, self.stop, _TIMEOUT)

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

    def call_after_reply(self, waiting: AfterReply) -> None:
        """Have something go on behind the reply, or be abandoned without one."""
        if self.after_reply is None:
            self.after_reply = []
        self.after_reply.append(waiting)

    def replied(self) -> None:
        """Let what waits for the reply go on: it has been sent."""
        waiting, self.after_reply = self.after_reply, None
        for each in waiting or ():
            each.activate()

    def finish(self) -> None:
        """It has been answered, or has nobody left to answer."""
        self.done = True
        if self.after_reply is not None:
            for each in self.after_reply:
                each.abandon()
        if self.timer is not None:
            self.timer.cancel()
        del self.connection.requests[self.key]
