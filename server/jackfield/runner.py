"""Run a server until a signal tells it to stop, and stop it within ``drain.deadline``."""

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
from .node import NODE, Node
from .session.listener import Site, listening_address, socket_address

_log = structlog.get_logger("jackfield")

#: Seconds between checks whether the last threads of plain handlers have ended.
_POLL_INTERVAL: Final = 0.02


async def serve(settings: Settings, on_started: Callable[[str, Node], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then end within ``drain.deadline``; at a second, at once.

    Args:
        settings: See `jackfield.config.load_settings`.
        on_started: Called with the server's address and node once it accepts connections.

    Raises:
        OSError: The address can't be bound.
        ConfigError: The configuration names plugins that are not installed.
        PluginFailures: A plugin failed, and the configuration is strict.
        EmbeddedError: The embedded Valkey did not start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_stop_signal, stop)
    _raise_open_files_limit(settings.limits.connections)
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    try:
        await runner.setup()
        site = Site(runner, app[NODE].waiting_clients, settings.server)
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
    """Collect less often: a message leaves no cycles, and searching took 14% of its time."""
    gc.collect()
    gc.freeze()  # what exists now stays until the end
    gc.set_threshold(50_000, 20, 50)


def _raise_open_files_limit(connections: int) -> None:
    """Raise the soft limit on open files, often 1,024, to the hard one: a connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections:
        _log.debug(
            "fewer files may be open than connections are allowed",
            open_files=hard,
            connections=connections,
        )


def _on_stop_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        _log.warning("told to stop again: ending at once")
        _end_process(1)
    stop.set()


async def _stop(runner: web.AppRunner, deadline: float) -> None:
    """Close all connections and clean up; end the process if that isn't done by the deadline."""
    try:
        async with asyncio.timeout(deadline):
            if NODE in runner.app:
                await drain(runner.app)
            await runner.cleanup()
            # A thread can't be stopped, would hold up the exit, and sets no event at its end.
            while busy_threads():  # noqa: ASYNC110
                await asyncio.sleep(_POLL_INTERVAL)
    except TimeoutError:
        threads = len(busy_threads())
        _log.error("not stopped by the deadline; ending all the same", busy_threads=threads)
        _end_process(0)


def _end_process(status: int) -> None:
    """End without waiting: threads and tasks may never end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
