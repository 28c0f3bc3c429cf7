"""`Request`: one message being handled; its id, how it is stopped, and what waits for its reply."""

import asyncio
from typing import Any, Final, Generic, Protocol, TypeVar

from jackfield.wire.errors import Error
from jackfield.wire.protocol import MessageId

from .connection import Connection
from .running import MessageOptions

_TIMEOUT: Final = Error("timeout")
#: Stops what still runs at the end of its connection; no client gets it.
CONNECTION_ENDED: Final = Error("cancelled", "The connection has ended.")


class AfterReply(Protocol):
    """Work that waits until a request is answered, such as joining a topic."""

    def activate(self) -> None:
        """Go on: the reply is queued, and what is sent from now on comes behind it."""

    def abandon(self) -> None:
        """Give up: there will be no reply. No effect after `activate`."""


Options_co = TypeVar("Options_co", bound=MessageOptions, covariant=True)


class Request(Generic[Options_co]):
    """A valid message that is being handled.

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
        "own_task",
        "resumed",
        "stop_reason",
        "task",
        "timer",
    )

    #: Set while its stream may go on. Few requests are ever paused, and no other has it.
    resumed: asyncio.Event

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
        #: Its key in `Connection.requests`: its id, or the request itself if it has none.
        self.key: object = self if message_id is None else message_id
        #: The task that was made for it, if it runs beside others.
        self.own_task: asyncio.Task[Any] | None = None
        #: The task that its handler runs in; None before it begins, as a task that is cancelled
        #: then would never run, and so never answer.
        self.task: asyncio.Task[Any] | None = None
        self.timer: asyncio.TimerHandle | None = None
        #: The error that its client gets, once it is stopped.
        self.stop_reason: Error | None = None
        self.done = False
        #: What waits for the reply: topics that the connection joins, tasks that it is sent.
        self.after_reply: list[AfterReply] | None = None

    def start_timeout(self) -> None:
        """Start the timer of its timeout, if it has a timeout and the timer isn't started."""
        if self.options.timeout is not None and self.timer is None:
            self.timer = self.connection.loop.call_later(self.options.timeout, self.stop, _TIMEOUT)

    def stop(self, reason: Error) -> bool:
        """Cancel the handler; a handler can't stop its own request.

        Args:
            reason: The error that the client gets.

        Returns:
            False if the request has ended or was stopped before.
        """
        if self.done or self.stop_reason is not None:
            return False
        if self.task is not None and self.task is asyncio.current_task():
            return False
        self.stop_reason = reason
        if self.task is not None:
            self.task.cancel()
        return True

    def pause(self) -> None:
        """Have its stream wait before the next chunk, until `resume`."""
        if self.pauses is None:
            self.resumed = asyncio.Event()
        self.resumed.clear()

    def resume(self) -> None:
        """Have its stream go on; no effect if it was not paused."""
        if self.pauses is not None:
            self.resumed.set()

    @property
    def pauses(self) -> asyncio.Event | None:
        """What is set while its stream may go on; None if it was never paused."""
        return getattr(self, "resumed", None)

    def uncancel(self) -> bool:
        """Take back the cancellation that `stop` made; see `asyncio.Task.uncancel`.

        Returns:
            False if it was not stopped, or the task was cancelled by somebody else as well.
        """
        if self.stop_reason is None or self.task is None:
            return False
        return self.task.uncancel() == 0

    def call_after_reply(self, waiting: AfterReply) -> None:
        """Have something activated behind the reply, or abandoned if there is none."""
        if self.after_reply is None:
            self.after_reply = []
        self.after_reply.append(waiting)

    def replied(self) -> None:
        """Activate what waits for the reply, which has been queued."""
        waiting, self.after_reply = self.after_reply, None
        for each in waiting or ():
            each.activate()

    def finish(self) -> None:
        """Remove it from its connection: it is answered, or nobody is left to answer."""
        self.done = True
        if self.after_reply is not None:
            for each in self.after_reply:
                each.abandon()
        if self.timer is not None:
            self.timer.cancel()
        del self.connection.requests[self.key]
        # Its own key would be a cycle, which only the garbage collector ends.
        self.key = None
