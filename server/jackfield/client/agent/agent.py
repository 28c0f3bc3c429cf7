"""The agent SDK: functions that clients call as an agent's skills.

agent = Agent("summariser", "ws://127.0.0.1:8080/ws", token=token)

@agent.skill("summarise", Input)
async def summarise(task, data):
    return {"summary": ...}

agent.run()
"""

import asyncio
import inspect
import logging
import re
import signal
import ssl as tls
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

from jackfield.client.backoff import Backoff
from jackfield.client.connection import Client, connect
from jackfield.client.errors import (
    ConnectionClosed,
    ConnectionFailed,
    EventsLost,
    RequestError,
    TimedOut,
    retry_after,
)
from jackfield.client.message import Message
from jackfield.client.token import Token, find_token, has_expired
from jackfield.wire.agent_limits import AGENT_NAME, MAX_CAPACITY, MAX_SKILLS, SKILL_ID
from jackfield.wire.close_codes import CloseCode

from .payload_schema import AnySchema, read_schema
from .registration import Registration
from .running_tasks import RunningTasks
from .skill import AgentSkill, SkillFunction, describe

_Declared = TypeVar("_Declared", bound=SkillFunction)

_log = logging.getLogger("jackfield.agent")

#: Seconds to wait for the reply to ``agent.unregister``: several round trips, and little beside the
#: grace that follows.
_UNREGISTER_TIMEOUT: Final = 5.0
#: A program that a signal has ended exits with this plus the signal's number, as shells have it.
_EXIT_BY_SIGNAL: Final = 128
#: What a connection, or the attempt to open one, ends with.
_CONNECTION_ENDS: Final = (
    ConnectionFailed,
    ConnectionClosed,
    RequestError,
    EventsLost,
    TimedOut,
)


class Agent:
    """A name with skills, which reconnects whenever its connection is lost.

    Several processes may serve one name: each is an instance, and calls go to the least busy.

    Args:
        name: Lower-case letters, digits, ``_`` and ``-``, at most 64, a letter first.
        url: The address of the server's socket, ``ws://`` or ``wss://``.
        token: The token that authenticates the agent, or a function that returns it, which is
            called before each connection and may be async. It returns an empty text to send none,
            and None if whoever it was has signed out, which ends the agent. The identity must have
            the scope ``agent``.
        capacity: How many tasks it takes at once.
        headers: Further headers of each handshake.
        timeout: Seconds until the server must have welcomed and registered the agent.
        grace: Seconds that running tasks have to end once the agent is told to stop.
        backoff: The first bound of the random wait before a new connection, in seconds; it doubles
            with each failure.
        max_backoff: What that bound never exceeds, in seconds: well below the time for which a
            server keeps the tasks of an instance that it has lost (30 s by default).
        ssl: Decides whose certificates are trusted, and which certificate the agent shows. None for
            the authorities that the system trusts.

    Raises:
        ValueError: The name or the capacity is not valid.
    """

    def __init__(
        self,
        name: str,
        url: str,
        token: Token | None = None,
        *,
        capacity: int = 1,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = 10.0,
        grace: float = 25.0,
        backoff: float = 0.5,
        max_backoff: float = 10.0,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        if not re.fullmatch(AGENT_NAME, name):
            raise ValueError(
                f"{name!r} is no name for an agent: lower-case letters, digits, '_' and '-', "
                "at most 64, a letter first."
            )
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ValueError(f"An agent takes 1 to {MAX_CAPACITY} tasks at once, not {capacity}.")
        self.name = name
        self.url = url
        self.capacity = capacity
        self.grace = grace
        self._token = token
        self._headers = headers
        self._timeout = timeout
        self._backoff = backoff
        self._max_backoff = max_backoff
        self._ssl = ssl
        self._loop: asyncio.AbstractEventLoop | None = None
        self._skills: dict[str, AgentSkill] = {}
        self._registration = Registration(name, capacity)
        self._tasks = RunningTasks(self._registration, self._skills)
        self._stopping = asyncio.Event()
        self._serving = False
        #: Why the server gives it no more tasks, if it says so.
        self._unregistered: RequestError | None = None

    def skill(
        self,
        id: str,  # noqa: A002 - as the protocol calls it
        input: AnySchema | None = None,  # noqa: A002 - as above
        *,
        description: str | None = None,
        idempotent: bool = False,
    ) -> Callable[[_Declared], _Declared]:
        """Declare a function as a skill; it is called with the `Task` and the loaded input.

        A coroutine function returns the output, a mapping or None. An async generator function
        streams: each mapping that it yields is a chunk, and its output is what it has set as
        ``task.output``. Either may raise `Rejected`, or `jackfield.Error` to fail with a code; the
        details of any other exception are logged here, and not sent to the caller.

        Args:
            id: Lower-case letters, digits, ``_``, ``.`` and ``-``, at most 64, a letter first.
            input: A marshmallow schema, or a JSON Schema, of the input, which the server checks
                before it assigns a task. None accepts any object.
            description: What the skill does, for those who choose one; by default the function's
                docstring.
            idempotent: Whether running it again with the same input does no harm, and yields the
                same chunks: only then a task is handed to another instance when this one dies.

        Raises:
            ValueError: The id is not valid or is taken, or no server accepts the schema.
            TypeError: The function is not asynchronous, or the schema is not one.
        """
        what = f"The skill {id!r} of agent {self.name!r}"
        if not re.fullmatch(SKILL_ID, id):
            raise ValueError(
                f"{id!r} is no id for a skill: lower-case letters, digits, '_', '.' and '-', at "
                "most 64, a letter first."
            )
        if id in self._skills:
            raise ValueError(f"{what} is declared twice.")
        if len(self._skills) >= MAX_SKILLS:
            raise ValueError(f"The agent {self.name!r} has {MAX_SKILLS} skills, as many as may be.")
        schema = read_schema(input, what)

        def declare(function: _Declared) -> _Declared:
            if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
                raise TypeError(f"{what} must be an async function, or an async generator.")
            text = describe(function, description)
            self._skills[id] = AgentSkill(id, text, schema, idempotent, function)
            return function

        return declare

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let running tasks end; a second signal stops at once.

        In another thread than the main one no signal arrives: it serves until `stop` is called.

        Raises:
            SystemExit: After a second signal, with 128 plus its number.
            Exception: As `serve`.
        """
        asyncio.run(self._run())

    async def serve(self) -> None:
        """Serve until `stop` is called, connecting again whenever the connection is lost.

        After a temporary failure it tries again, without end, and logs each wait to the logger
        ``jackfield.agent``. Cancelling this coroutine stops at once: running tasks are cancelled
        here, and the server treats them as those of an agent that has died.

        Raises:
            ConnectionFailed: The server refused, or is not a Jackfield server.
            ConnectionClosed: The server closed the connection and asked not to reconnect.
            RequestError: The server refused to register the agent, or it is another owner's by now;
                then running tasks have had the grace to end.
            RuntimeError: The agent has no skills, or is serving already.
        """
        if not self._skills:
            raise RuntimeError(f"The agent {self.name!r} has no skills.")
        if self._serving:
            raise RuntimeError(f"The agent {self.name!r} is serving already.")
        self._serving = True
        self._loop = asyncio.get_running_loop()
        connecting = asyncio.create_task(self._stay_connected())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                await self._finish(connecting)
            if connecting.done():
                connecting.result()
            if self._unregistered is not None:
                raise self._unregistered
        finally:
            connecting.cancel()
            stopping.cancel()
            await asyncio.gather(connecting, stopping, self._tasks.close(), return_exceptions=True)
            self._registration.instance = None
            self._unregistered = None
            self._serving = False
            self._loop = None
            self._stopping.clear()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Agent"]:
        """Serve for the time of an `async with`, which begins once the agent is registered.

        Raises:
            Exception: As `serve`.
        """
        serving = asyncio.create_task(self.serve())
        registered = asyncio.create_task(self._registration.wait_active())
        try:
            await asyncio.wait({serving, registered}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            yield self
            self.stop()
            await serving
        finally:
            for task in (serving, registered):
                task.cancel()
            await asyncio.gather(serving, registered, return_exceptions=True)

    def stop(self) -> None:
        """Take no more tasks, let running ones end within the grace, and then end `serve`.

        It may be called from any thread. Before `serve` has begun, it ends that as it begins.
        """
        loop = self._loop
        if loop is None or loop is _running_loop():
            self._stopping.set()
            return
        with suppress(RuntimeError):  # it has ended meanwhile
            loop.call_soon_threadsafe(self._stopping.set)

    async def _run(self) -> None:
        serving = asyncio.create_task(self.serve())
        received: list[int] = []

        def on_signal(number: int) -> None:
            received.append(number)
            if len(received) == 1:
                _log.info("Stopping: %d tasks have %g s to end.", len(self._tasks), self.grace)
                self.stop()
            else:
                serving.cancel()

        async with _signal_handler(on_signal):
            await asyncio.wait({serving})
        if serving.cancelled():
            raise SystemExit(_EXIT_BY_SIGNAL + received[-1])
        serving.result()

    async def _stay_connected(self) -> None:
        """Connect and register, again whenever the connection is lost."""
        delays = Backoff(self._backoff, self._max_backoff)
        while True:
            try:
                # The first time it is most likely a mistake; later, something is away for a time.
                is_known = self._registration.instance is not None
                async with connect(
                    self.url,
                    token=await find_token(self._token, retry=is_known),
                    headers=self._headers,
                    timeout=self._timeout,
                    ssl=self._ssl,
                ) as client:
                    await self._register(client)
                    delays.succeeded()
                    async for message in client.events():
                        self._handle(message)
            except _CONNECTION_ENDS as error:
                # Among lost events there may be a task: the server sends it again.
                after = 0 if isinstance(error, EventsLost) else retry_after(error)
                if after is None or has_expired(error, self._token):
                    raise
                delay = delays.next_delay(after)
                # That a server is stopped is not a fault.
                is_fault = getattr(error, "code", None) != CloseCode.SHUTDOWN
                level = logging.WARNING if is_fault else logging.INFO
                _log.log(level, "Agent %s connects again in %.1f s. %s", self.name, delay, error)
            finally:
                self._registration.suspend()
            await asyncio.sleep(delay)

    def _handle(self, message: Message) -> None:
        match message:
            case {"type": "agent.unregistered", "payload": {"error": dict() as error}}:
                self._unregistered = RequestError(error)
                self._stopping.set()
            case _:
                self._tasks.handle(message)

    async def _register(self, client: Client) -> None:
        tasks = await self._registration.renew(client, self._skills.values(), self._timeout)
        self._tasks.keep_only(tasks)
        _log.info("Agent %s is registered as %s.", self.name, self._registration.instance)
        if self._stopping.is_set():
            await client.request("agent.unregister", timeout=self._timeout)

    async def _finish(self, connecting: asyncio.Task[None]) -> None:
        """Take no more tasks, and let running ones end within the grace."""
        if self._registration.is_active:
            with suppress(RequestError, TimeoutError):
                async with asyncio.timeout(_UNREGISTER_TIMEOUT):
                    await self._registration.request("agent.unregister", {})
        if self._registration.is_active:
            await self._tasks.hand_on_waiting()
        finishing = asyncio.create_task(self._tasks.wait_empty())
        try:
            await asyncio.wait(
                {finishing, connecting}, timeout=self.grace, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            finishing.cancel()
        if not connecting.done():
            await self._tasks.give_up()


@asynccontextmanager
async def _signal_handler(handle: Callable[[int], None]) -> AsyncIterator[None]:
    """Call a function with the signals that end a program."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python has signals arrive in the main thread alone
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, None if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
