"""The agent SDK: functions that are called over the same socket as everything else.

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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

from jackfield.client.backoff import Backoff
from jackfield.client.connection import Client, connect
from jackfield.client.errors import (
    ConnectionClosed,
    ConnectionFailed,
    EventsLost,
    RequestError,
    retry_after,
)
from jackfield.client.socket import Message
from jackfield.wire.agent_limits import AGENT_NAME, MAX_CAPACITY, MAX_SKILLS, SKILL_ID
from jackfield.wire.close_codes import CloseCode

from .line import Line
from .roster import Roster
from .skill import AgentSkill, AnySchema, Function, describe, read_form

#: What proves who the agent is, or a function that gives it, asked before each connection.
Token = str | Callable[[], str | Awaitable[str]]
_Declared = TypeVar("_Declared", bound=Function)

_log = logging.getLogger("jackfield.agent")

#: Seconds that a server, asked to hand out no more, may take to say that it has heard.
_UNREGISTER: Final = 5.0
#: What the exit code of a program is counted from that a signal has ended, as shells have it.
_BY_SIGNAL: Final = 128
#: What a connection, or the attempt at one, ends with.
_ENDS: Final = (ConnectionFailed, ConnectionClosed, RequestError, EventsLost, TimeoutError)


class Agent:
    """A name with skills, served over as many connections as it takes.

    Several processes may have the same name: each is an instance, and calls go to the least busy.

    Args:
        name: Lower-case letters, digits, ``_`` and ``-``, at most 64, a letter first.
        url: The address of the server's socket, ``ws://`` or ``wss://``.
        token: What proves who this is, or a function that gives it, which is asked before each
            connection. The identity must have the scope ``agent``.
        capacity: How many tasks it takes at once.
        headers: Further headers of each handshake.
        timeout: Seconds until the server must have welcomed and registered the agent.
        grace: Seconds that tasks have to end once the agent is told to stop.
        backoff: Seconds, up to which the wait before a next connection is drawn; doubled with each
            failure.
        max_backoff: The bound of that, well below the time for which a server keeps the tasks of
            an instance that it has lost (30 s unless configured otherwise).

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
        self._skills: dict[str, AgentSkill] = {}
        self._instance: str | None = None
        self._line = Line()
        self._roster = Roster(self._line, self._skills)
        self._stopping = asyncio.Event()
        self._serving = False

    def skill(
        self,
        id: str,  # noqa: A002 - as the protocol calls it
        input: AnySchema | None = None,  # noqa: A002 - as above
        *,
        description: str | None = None,
        idempotent: bool = False,
    ) -> Callable[[_Declared], _Declared]:
        """Declare a function as a skill: it is given the `Task` and the loaded input.

        A coroutine function returns the output, a mapping or None. An async generator function
        streams: each mapping that it yields is a chunk, and its output is what it has set as
        ``task.output``. Either may raise `Rejected`, or `jackfield.Error` to fail with a code; of
        any other exception the caller is told nothing.

        Args:
            id: Lower-case letters, digits, ``_``, ``.`` and ``-``, at most 64, a letter first.
            input: A marshmallow schema, or a JSON Schema, of the input. The server checks it before
                the agent is called. None takes any object.
            description: What it does, for who chooses; the function's docstring by default.
            idempotent: Whether running it again with the same input does no harm, and yields the
                same chunks: only then a task is handed to another instance when this one dies.

        Raises:
            ValueError: The id is not valid or is taken, or no server would take the schema.
            TypeError: The function is not asynchronous, or the schema is none.
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
        form = read_form(input, what)

        def declare(function: _Declared) -> _Declared:
            if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
                raise TypeError(f"{what} must be an async function, or an async generator.")
            told = describe(function, description)
            self._skills[id] = AgentSkill(id, told, form, idempotent, function)
            return function

        return declare

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, which lets tasks end; a second one does not wait.

        Raises:
            SystemExit: Of a second signal, with 128 and its number.
            Exception: As `serve`.
        """
        asyncio.run(self._run())

    async def serve(self) -> None:
        """Serve until `stop` is called, connecting again whenever the connection is lost.

        What may pass is waited for without end, and told to the logger ``jackfield.agent``. To be
        cancelled stops at once: the tasks are then cancelled here, and the server does with them
        what it does when an agent dies.

        Raises:
            ConnectionFailed: The server refused, or is none.
            ConnectionClosed: The server closed the connection and does not want it again.
            RequestError: The server refused to register the agent.
            RuntimeError: The agent has no skills, or is serving already.
        """
        if not self._skills:
            raise RuntimeError(f"The agent {self.name!r} has no skills.")
        if self._serving:
            raise RuntimeError(f"The agent {self.name!r} is serving already.")
        self._serving = True
        self._stopping.clear()
        staying = asyncio.create_task(self._stay())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({staying, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not staying.done():
                await self._finish(staying)
            if staying.done():
                staying.result()
        finally:
            staying.cancel()
            stopping.cancel()
            await asyncio.gather(staying, stopping, self._roster.close(), return_exceptions=True)
            self._instance = None
            self._serving = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Agent"]:
        """Serve for the time of an `async with`, which begins once the agent is registered.

        Raises:
            Exception: As `serve`.
        """
        serving = asyncio.create_task(self.serve())
        registered = asyncio.create_task(self._line.wait_open())
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
        """Take no more tasks, let those under way end within the grace, and end `serve`."""
        self._stopping.set()

    async def _run(self) -> None:
        serving = asyncio.create_task(self.serve())
        told: list[int] = []

        def tell(number: int) -> None:
            told.append(number)
            if len(told) == 1:
                _log.info("Told to stop: %d tasks have %g s.", len(self._roster), self.grace)
                self.stop()
            else:
                serving.cancel()

        async with _signals(tell):
            await asyncio.wait({serving})
        if serving.cancelled():
            raise SystemExit(_BY_SIGNAL + told[-1])
        serving.result()

    async def _stay(self) -> None:
        """Be connected and registered, again and again."""
        waits = Backoff(self._backoff, self._max_backoff)
        while True:
            try:
                token = await self._ask_token()
                async with connect(
                    self.url, token=token, headers=self._headers, timeout=self._timeout
                ) as client:
                    await self._register(client)
                    waits.hold()
                    async for message in client.events():
                        self._roster.take(message)
            except _ENDS as error:
                after = self._wait_for(error)
                if after is None:
                    raise
                wait = waits.draw(after)
                words = str(error) or "The server did not answer in time."
                # A server that is stopped says so: that is no fault.
                is_fault = getattr(error, "code", None) != CloseCode.SHUTDOWN
                level = logging.WARNING if is_fault else logging.INFO
                _log.log(level, "Agent %s connects again in %.1f s. %s", self.name, wait, words)
            finally:
                self._line.close()
            await asyncio.sleep(wait)

    def _wait_for(self, error: Exception) -> float | None:
        """Seconds that the server wants to be left alone; None if there is nothing to wait for."""
        match error:
            case EventsLost():  # among them there may be a task: the server sends it again
                return 0
            case ConnectionClosed(code=CloseCode.TOKEN_EXPIRED) if not callable(self._token):
                return None
        return retry_after(error)

    async def _ask_token(self) -> str | None:
        if not callable(self._token):
            return self._token
        try:
            given = self._token()
            return await given if inspect.isawaitable(given) else given
        except Exception as error:
            # The first time it is a mistake, more likely than not; later something is away.
            words = f"There is no token to connect with: {error!r}"
            raise ConnectionFailed(None, words, reconnect=self._instance is not None) from error

    async def _register(self, client: Client) -> None:
        told: Message = {
            "name": self.name,
            "capacity": self.capacity,
            "skills": [skill.as_dict() for skill in self._skills.values()],
        }
        former = {} if self._instance is None else {"instance": self._instance}
        try:
            reply = await client.request("agent.register", told | former, timeout=self._timeout)
        except RequestError as error:
            if not former or error.code not in ("not_found", "conflict"):
                raise
            self._instance = None  # it is forgotten, or another's: begin anew
            reply = await client.request("agent.register", told, timeout=self._timeout)
        self._instance = reply["instance"]
        self._roster.keep(reply.get("tasks", ()))
        self._line.open(client)
        _log.info("Agent %s is registered as %s.", self.name, self._instance)
        if self._stopping.is_set():
            await client.request("agent.unregister", timeout=self._timeout)

    async def _finish(self, staying: asyncio.Task[None]) -> None:
        """Take no more tasks, and let those under way end while there is time."""
        if self._line.is_open:
            with suppress(RequestError, TimeoutError):
                async with asyncio.timeout(_UNREGISTER):
                    await self._line.request("agent.unregister", {})
        finishing = asyncio.create_task(self._roster.wait_empty())
        try:
            await asyncio.wait(
                {finishing, staying}, timeout=self.grace, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            finishing.cancel()
        if not staying.done():
            await self._roster.give_up()


@asynccontextmanager
async def _signals(handle: Callable[[int], None]) -> AsyncIterator[None]:
    """Hand the signals that end a program to a function."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
