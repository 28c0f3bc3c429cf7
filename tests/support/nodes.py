"""Servers in processes of their own, `jackfield serve`, for tests to hold still and kill."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout

from jackfield.client import Client, connect
from tests.support.distributions import install

#: Seconds until a server serves: one takes less, several at once on a busy machine some more.
_START_TIMEOUT: Final = 30.0
#: Seconds, for an answer over HTTP: only a test that fails waits as long.
_PATIENCE: Final = ClientTimeout(10.0)

#: The shell becomes the server, so that their process id is one. What it leaves behind waits for
#: the end of a pipe that we hold, and ends the server when it comes without a word: we were killed.
_SUPERVISE: Final = """
exec 3<&0
{ read -r _ <&3 || kill -KILL $$; } >/dev/null 2>&1 &
exec 3<&- 0</dev/null "$@"
"""


class NodeProcess:
    """A server that is up; `serving` starts it and sees to its end.

    Args:
        process: What runs.
        address: Where it is, as ``http://127.0.0.1:<port>``.
        log: What it logs, one object a line; it grows.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, address: str, log: list[dict[str, Any]]
    ) -> None:
        self._process = process
        self.address = address
        self.log = log

    @property
    def url(self) -> str:
        """Where its WebSocket is."""
        return self.address.replace("http", "ws", 1) + "/ws"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def id(self) -> str:
        """What it is called among the nodes."""
        return next(str(line["node"]) for line in self.log if line["event"] == "serving")

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A client's connection; see `jackfield.client.connect` for the options."""
        return connect(self.url, **options)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        _send(self._process, number)

    def pause(self) -> None:
        """Hold it still, with its connections open."""
        _send(self._process, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        _send(self._process, signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold it still while the context lasts."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    async def kill(self) -> None:
        """End it at once, as ``kill -9`` does, and wait until it has ended."""
        _send(self._process, signal.SIGKILL)
        await self._process.wait()

    async def terminate(self) -> int:
        """Tell it to go, and wait until it has: its exit status."""
        _send(self._process, signal.SIGTERM)
        return await self._process.wait()

    async def readyz(self) -> tuple[int, list[str]]:
        """What ``/readyz`` answers: the HTTP status and the reasons."""
        async with (
            ClientSession(timeout=_PATIENCE) as http,
            http.get(f"{self.address}/readyz") as response,
        ):
            body = await response.json()
            return response.status, [reason["reason"] for reason in body["reasons"]]

    async def is_ready(self) -> bool:
        """Whether it finds nothing wrong with itself."""
        return await self.readyz() == (200, [])


def impatient(redis_url: str, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration by which a node finds soon what is wrong, for tests not to take long.

    Args:
        redis_url: The address of its Redis.
        **sections: What else a configuration file would say.
    """
    redis = {"url": redis_url, "prefix": "test", "timeout": "500ms", "probe": "500ms"}
    # Clients share a busy machine with the test: a shorter heartbeat would lose some of them.
    connections = {"heartbeat": "3s", "ttl": "10s"}
    return {
        "redis": redis,
        "connections": connections,
        "drain": {"deadline": "2s"},
        # Its rooms have the names of those that tests make.
        "plugins": {"disabled": ["chat"]},
        **sections,
    }


@asynccontextmanager
async def serving(
    config: Mapping[str, Any], *plugins: Path, port: int = 0, file: Path | None = None
) -> AsyncIterator[NodeProcess]:
    """Run `jackfield serve` while the context lasts.

    Args:
        config: What a configuration file would say, nested as in TOML.
        *plugins: Modules with a plugin each, both of that name; they are found by entry point.
        port: Where it listens on 127.0.0.1; 0 for any that is free.
        file: A configuration file with what only a file can say.

    Raises:
        AssertionError: It did not start; the message has its log.
    """
    with tempfile.TemporaryDirectory(prefix="jackfield-node-") as directory:
        for module in plugins:
            install(Path(directory), module.stem, module.read_text("utf-8"))
        options = [] if file is None else ["--config", str(file)]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD__")}
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _SUPERVISE, "sh"),
            *(sys.executable, "-m", "jackfield", "serve", "--port", str(port), *options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**inherited, **_variables(config), "PYTHONPATH": directory},
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        log: list[dict[str, Any]] = []
        reading = asyncio.create_task(_read_log(process.stderr, log))
        try:
            address = await _address(process.stdout)
            if address is None:
                _send(process, signal.SIGKILL)
                await reading
                said = "\n".join(str(line["event"]) for line in log)
                raise AssertionError(f"it did not start; its log:\n{said}")
            yield NodeProcess(process, address, log)
        finally:
            _send(process, signal.SIGKILL)
            await process.wait()
            # What waits at the other end must not kill whoever has the number by now.
            with contextlib.suppress(ConnectionError):
                process.stdin.write(b"\n")
                await process.stdin.drain()
            process.stdin.close()
            await reading


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Not by asyncio's method, which takes the exit status from under asyncio if it has just ended.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _variables(config: Mapping[str, Any]) -> dict[str, str]:
    """The environment that says the same as a configuration file."""
    return {
        f"JACKFIELD__{section.upper()}__{key.upper()}": value
        if isinstance(value, str)
        else json.dumps(value)
        for section, table in config.items()
        for key, value in table.items()
    }


async def _address(output: asyncio.StreamReader) -> str | None:
    """The address that it writes once it serves; None if it ends instead, or takes too long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_TIMEOUT):
            async for line in output:
                if line.startswith(b"Jackfield serves on "):
                    return line.decode().split()[-1]
    return None


async def _read_log(output: asyncio.StreamReader, log: list[dict[str, Any]]) -> None:
    async for line in output:
        try:
            log.append(json.loads(line))
        except ValueError:  # written by what does not log
            log.append({"event": line.decode(errors="replace").rstrip()})
