"""What `jackfield.redis.embedded` promises: a Valkey at once, and nothing of it left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jackfield.redis import embedded
from jackfield.redis.embedded import EmbeddedError, embedded_valkey
from tests.support.waiting import promptly, wait_until

OWNER = """
import asyncio
from jackfield.redis.embedded import embedded_valkey

async def main():
    async with embedded_valkey() as url:
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory apart from everybody else's, and empty again after each test."""
    del tmp_path  # too long for a socket; but pytest is to make its own before, and elsewhere
    with tempfile.TemporaryDirectory(prefix="jf-") as name:
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)
        assert list(Path(name).iterdir()) == []


@asynccontextmanager
async def owner() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Another process with an embedded Valkey, and the address of that."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def pid_of(url: str) -> int:
    async with Redis.from_url(url, protocol=2) as redis:
        return int((await redis.info("server"))["process_id"])


def directory_of(url: str) -> Path:
    return Path(url.removeprefix("unix://")).parent


def is_there(directory: Path) -> bool:
    return directory.exists()


def is_running(pid: int) -> bool:
    """Whether there is such a process; a dead one that nobody has waited for yet is not running."""
    state = ps("stat=", "-p", str(pid))
    return bool(state) and not state.startswith("Z")


def supervisors_of(pid: int) -> list[int]:
    """The processes that see to it that this one is ended: the others of its group."""
    group = str(os.getpgid(pid))
    processes = (line.split() for line in ps("pid=,pgid=", "-A").splitlines())
    return [int(each) for each, of_group in processes if of_group == group and int(each) != pid]


def ps(columns: str, *options: str) -> str:
    command = ["ps", *options, "-o", columns]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


async def test_a_server_answers_in_a_private_directory_and_nowhere_else() -> None:
    async with embedded_valkey() as url, Redis.from_url(url, protocol=2) as redis:
        assert await redis.ping()
        assert (await redis.config_get("port"))["port"] == "0"
        assert directory_of(url).stat().st_mode & 0o777 == 0o700


async def test_a_server_is_bounded_in_memory_and_drops_nothing() -> None:
    async with embedded_valkey() as url, Redis.from_url(url, protocol=2) as redis:
        config = await redis.config_get("maxmemory*")
        assert config["maxmemory"] not in {None, "0"}
        assert config["maxmemory-policy"] == "noeviction"


async def test_nothing_is_left_when_the_context_ends() -> None:
    async with embedded_valkey() as url:
        pid = await pid_of(url)
        supervisors = supervisors_of(pid)
        assert len(supervisors) == 2
    assert not is_there(directory_of(url))
    assert not any(is_running(each) for each in [pid, *supervisors])


async def test_nothing_is_left_when_the_body_fails() -> None:
    url = ""
    with pytest.raises(FileNotFoundError):
        async with embedded_valkey() as url:
            raise FileNotFoundError
    assert url
    assert not is_there(directory_of(url))


async def test_nothing_is_left_when_the_owner_is_killed() -> None:
    async with owner() as (process, url):
        pid = await pid_of(url)
        supervisors = supervisors_of(pid)
        assert supervisors
        assert all(map(is_running, [pid, *supervisors]))
        assert is_there(directory_of(url))
        process.kill()
        await wait_until(lambda: not any(is_running(each) for each in [pid, *supervisors]))
        await wait_until(lambda: not is_there(directory_of(url)))


async def test_what_is_left_when_all_are_killed_is_cleared_away_by_the_next_start() -> None:
    async with owner() as (process, url):
        pid = await pid_of(url)
        process.send_signal(signal.SIGSTOP)  # it would see one go, and close the pipe of the other
        for each in supervisors_of(pid):
            os.kill(each, signal.SIGKILL)
        process.kill()
        await process.wait()
        assert is_running(pid)
        assert is_there(directory_of(url))
        async with embedded_valkey():
            await wait_until(lambda: not is_running(pid))
            assert not is_there(directory_of(url))


async def test_a_directory_without_a_server_is_cleared_away_by_the_next_start() -> None:
    left = Path(tempfile.mkdtemp(prefix=embedded._PREFIX))
    (left / "valkey.log").write_text("its last words")
    async with embedded_valkey():
        assert not is_there(left)


async def test_the_start_of_another_leaves_a_living_one_alone() -> None:
    async with embedded_valkey() as first, embedded_valkey() as second:
        assert await pid_of(first) != await pid_of(second)


async def test_the_signals_of_our_terminal_do_not_reach_it() -> None:
    async with embedded_valkey() as url:
        assert os.getsid(await pid_of(url)) != os.getsid(0)


async def test_a_stopped_server_is_ended_too() -> None:
    async with embedded_valkey() as url:
        pid = await pid_of(url)
        os.kill(pid, signal.SIGSTOP)
    assert not is_running(pid)
    assert not is_there(directory_of(url))


async def test_a_stopped_supervisor_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT", 0.1)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(embedded_valkey())
        pid = await pid_of(url)
        supervisors = supervisors_of(pid)
        assert supervisors
        for each in supervisors:
            os.kill(each, signal.SIGSTOP)
        async with promptly():
            await stack.aclose()
    await wait_until(lambda: not is_running(pid))
    assert not is_there(directory_of(url))


async def test_a_server_that_crashes_leaves_no_directory() -> None:
    async with embedded_valkey() as url:
        assert is_there(directory_of(url))
        os.kill(await pid_of(url), signal.SIGKILL)
        await wait_until(lambda: not is_there(directory_of(url)))


async def test_a_failed_start_tells_what_the_server_said(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["/bin/sh", "-c", "echo 'no such luck' >&2; exit 3"]
    monkeypatch.setattr(embedded, "_command", lambda *_: command)
    with pytest.raises(EmbeddedError, match="no such luck"):
        async with embedded_valkey():
            pass


async def test_a_server_that_never_answers_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["/bin/sh", "-c", "exec sleep 60"]
    monkeypatch.setattr(embedded, "_command", lambda *_: command)
    monkeypatch.setattr(embedded, "_START_TIMEOUT", 0.1)
    with pytest.raises(EmbeddedError, match="did not start"):
        async with embedded_valkey():
            pass


async def test_directories_of_others_are_left_alone(temporary_directory: Path) -> None:
    other = temporary_directory / "jackfield-of-another-kind"
    other.mkdir()
    async with embedded_valkey():
        assert is_there(other)
    other.rmdir()


async def test_a_long_temporary_directory_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    async with embedded_valkey() as url:
        assert await pid_of(url)
