"""The servers that are measured: what each is, started and stopped, and put under load."""

import contextlib
import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, NamedTuple

from .results import Measurement, Shape
from .valkey import Valkey

ROOT: Final = Path(__file__).parents[1]
_PEERS: Final = ROOT / "benchmarks" / "peers"
_PLUGIN: Final = ROOT / "benchmarks" / "plugin"
_NODE_MODULES: Final = _PEERS / "node_modules"

#: Seconds until a server listens: Jackfield with its Valkey takes one, a busy machine a few.
_START_TIMEOUT: Final = 30.0
_LOOK: Final = 0.02
#: Seconds a server has to end by itself; the drain of ours has a deadline of 25.
_STOP_TIMEOUT: Final = 30.0
#: Seconds that a measurement may take beside the load itself: connecting, warming up, leaving.
_OVERHEAD: Final = 60.0
#: Open files of a process: 2,000 connections, and what else it has.
_FILES: Final = 4096
#: Bytes of a server's log that are shown if it fails.
_LOG_TAIL: Final = 2000
_ANY_RATE: Final = "JACKFIELD__LIMITS__REQUESTS_PER_SECOND"
_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:(\d+)")


class BenchmarkError(Exception):
    """A server did not start, or did not do what it is measured at."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be measured.

    Attributes:
        name: Its name, as on the command line.
        title: What it is.
        command: What runs it; it writes its address to standard output or error.
        dialect: How it is spoken to; one of `wire.DIALECTS`.
        modules: The Python modules it needs.
        redis: Whether it uses the Redis that all servers share.
    """

    name: str
    title: str
    command: tuple[str, ...]
    dialect: str = "envelope"
    modules: tuple[str, ...] = ()
    redis: bool = False

    @property
    def missing(self) -> str | None:
        """Why it can't be run here, in words; None if it can."""
        absent = [module for module in self.modules if importlib.util.find_spec(module) is None]
        if absent:
            return f"Python has no {' and no '.join(absent)}; the extra `bench` has"
        if shutil.which(self.command[0]) is None:
            return f"there is no {self.command[0]}"
        if self.command[0] == "node" and not _NODE_MODULES.is_dir():
            return "its packages are not installed; `make bench` does, or `npm ci` in its folder"
        return None


def _peer(module: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"benchmarks.peers.{module}"


def _node(script: str) -> tuple[str, ...]:
    return "node", str(_PEERS / script)


JACKFIELD: Final = Server(
    "jackfield",
    "Jackfield",
    (sys.executable, "-m", "jackfield", "serve", "--port", "0"),
    dialect="jackfield",
)
AIOHTTP: Final = Server("aiohttp", "aiohttp + schema.load", _peer("aiohttp_server"))
FASTAPI: Final = Server(
    "fastapi",
    "FastAPI + pydantic",
    _peer("fastapi_server"),
    modules=("fastapi", "uvicorn", "websockets"),
)
PYTHON_SOCKETIO: Final = Server(
    "socketio",
    "python-socketio",
    _peer("socketio_server"),
    dialect="socketio",
    modules=("socketio",),
)
WS: Final = Server("ws", "Node ws", _node("ws.mjs"))
NODE_SOCKETIO: Final = Server(
    "node-socketio", "Node socket.io", _node("socketio.mjs"), dialect="socketio"
)
TUNED_SOCKETIO: Final = replace(
    PYTHON_SOCKETIO,
    name="tuned-socketio",
    title="socketio, tuned",
    command=(*PYTHON_SOCKETIO.command, "--connections", "1000"),
)


class Cores(NamedTuple):
    """Where what runs is pinned to; None for anywhere."""

    servers: int | None
    load: int | None
    redis: int | None


def cores() -> Cores:
    """A core for the servers and others for what is not measured.

    A Redis has one of its own if there is a third one, else it shares that of the load.
    """
    if sys.platform != "linux" or len(allowed := sorted(os.sched_getaffinity(0))) == 1:
        return Cores(None, None, None)
    servers, *between, load = allowed
    return Cores(servers, load, between[-1] if between else load)


def pinned(core: int | None) -> contextlib.AbstractContextManager[None]:
    """Let what is started in the context, and all it starts itself, run on one core only."""
    return contextlib.nullcontext() if core is None else _on_core(core)


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    assert sys.platform == "linux"  # noqa: S101 - tells mypy what `cores` has found
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class RunningServer:
    """A server that is up.

    Args:
        server: What it is.
        process: What runs.
        log: Where it writes.
        port: Where it listens.
        redis: The Redis that it uses, if that is not its own.
    """

    def __init__(
        self,
        server: Server,
        process: subprocess.Popen[bytes],
        log: IO[bytes],
        port: int,
        redis: Valkey | None,
    ) -> None:
        self.server = server
        self.port = port
        self._process = process
        self._log = log
        self._redis = redis

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def measure(self, shape: Shape, seconds: float, core: int | None) -> Measurement:
        """Put it under load, by a process of its own.

        Args:
            shape: How much load.
            seconds: How long.
            core: Where the load runs; None for anywhere.

        Raises:
            BenchmarkError: It failed.
        """
        arguments = {
            "port": self.port,
            "pid": self._process.pid,
            "dialect": self.server.dialect,
            "seconds": seconds,
            **shape._asdict(),
            **({} if self._redis is None else {"redis-pid": self._redis.pid}),
        }
        options = [f"--{name}={value}" for name, value in arguments.items()]
        with pinned(core):
            load = subprocess.Popen(  # noqa: S603 - our own module, with numbers
                [sys.executable, "-m", "benchmarks.load", *options],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        failed = f"{self.server.title} failed ({shape})."
        with _ended(load):
            try:
                result, fault = load.communicate(timeout=seconds + _OVERHEAD)
            except subprocess.TimeoutExpired as exc:
                raise BenchmarkError(f"{failed} It took too long.\n{_tail(self._log)}") from exc
        if load.returncode:
            raise BenchmarkError(f"{failed}\n{fault.decode()}{_tail(self._log)}")
        return Measurement(**json.loads(result))


@contextlib.contextmanager
def running(
    server: Server,
    core: int | None,
    redis: Valkey | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[RunningServer]:
    """Run a server while the context lasts.

    Args:
        server: What to run.
        core: Where it runs, with all its children; None for anywhere.
        redis: What it uses, if it uses one that is not its own.
        settings: Environment variables.

    Raises:
        BenchmarkError: It does not start.
    """
    _allow_files()
    # Nobody's configuration but the default one is measured; only a few connections stand for many
    # clients, and send what one alone might not.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD__")}
    environment |= {"PYTHONPATH": str(_PLUGIN), _ANY_RATE: "1000000", **(settings or {})}
    if redis is not None:
        environment |= {"JACKFIELD__REDIS__URL": redis.url, "BENCHMARK_REDIS": redis.url}
    with tempfile.TemporaryFile() as log:
        with pinned(core):
            process = subprocess.Popen(  # noqa: S603 - one of the commands above
                server.command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who then stop it
            )
        with _ended(process):
            yield RunningServer(server, process, log, _port(server, process, log), redis)


def _allow_files() -> None:
    """Let us, and what we start, have as many connections as are measured at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _port(server: Server, process: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    """Wait until a server has told where it listens."""
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        if address := _ADDRESS.search(_tail(log)):
            return int(address[1])
        time.sleep(_LOOK)
    raise BenchmarkError(f"{server.title} did not start.\n{_tail(log)}")


def _tail(log: IO[bytes]) -> str:
    # By position, as the process that writes shares the file's offset.
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), _LOG_TAIL, max(0, size - _LOG_TAIL)).decode(errors="replace")


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """See to it that a process has ended, with its group, when the context does."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
