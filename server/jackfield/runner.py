"""Run a server until it is told to stop, and stop it within its deadline."""

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web

from .app import busy_threads, create_app, drain
from .config import Settings
from .http_api import NODE
from .node import Node
from .site import Site, listening_address, socket_address

_log = structlog.get_logger("jackfield")

#: Seconds between looks at whether the last plain handlers have ended.
_LOOK: Final = 0.02


async def serve(settings: Settings, on_started: Callable[[str, Node], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then end within ``drain.deadline``; told again, at once.

    Args:
        settings: See `jackfield.config.load_settings`.
        on_started: Called with the server's address and node once it accepts connections.

    Raises:
        OSError: The address can't be bound.
        ConfigError: The configuration names plugins that aren't there.
        PluginFailures: A plugin failed, and the configuration is strict.
        EmbeddedError: The embedded Valkey did not start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _told_to_stop, stop)
    _allow_open_files(settings.limits.connections)
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    try:
        await runner.setup()
        site = Site(runner, app[NODE].gate, settings.server)
        if site.context is not None:
            loop.add_signal_handler(signal.SIGHUP, site.reload_certificate)
        await site.start()
        address = listening_address(runner, settings.server)
        app[NODE].address.set_result(socket_address(runner, settings.server))
        _log.info("serving", address=address, node=app[NODE].id)
        if on_started is not None:
            on_started(address, app[NODE])
        _relax_garbage_collection()
        await stop.wait()
        _log.info("shutting down", deadline=settings.drain.deadline)
    finally:
        await _stop(runner, settings.drain.deadline)
    _log.info("stopped")


def _relax_garbage_collection() -> None:
    """Collect less often: a message leaves no cycles, and looking for some took 14% of its time."""
    gc.collect()
    gc.freeze()  # what is there now stays until the end
    gc.set_threshold(50_000, 20, 50)


def _allow_open_files(connections: int) -> None:
    """Raise the soft limit on open files, often 1,024, to the hard one: a connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections:
        _log.debug(
            "fewer files may be open than connections are allowed",
            open_files=hard,
            connections=connections,
        )


def _told_to_stop(stop: asyncio.Event) -> None:
    if stop.is_set():
        _log.warning("told to stop again: ending at once")
        _end_process(1)
    stop.set()


async def _stop(runner: web.AppRunner, deadline: float) -> None:
    """Send the clients home and clean up; what isn't done by the deadline ends with the process."""
    try:
        async with asyncio.timeout(deadline):
            if NODE in runner.app:
                await drain(runner.app)
            await runner.cleanup()
            # A thread can't be stopped, would hold up the exit, and sets no event when it ends.
            while busy_threads():  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        threads = len(busy_threads())
        _log.error("not stopped by the deadline; ending all the same", busy_threads=threads)
        _end_process(0)


def _end_process(status: int) -> None:
    """End without waiting for anything: threads and other tasks may never end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
