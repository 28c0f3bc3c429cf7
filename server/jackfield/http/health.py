"""Answer ``/healthz``, ``/readyz`` and ``/``: health, readiness, and what this server is."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from jackfield.connection.hub import Hub
from jackfield.dispatch.registry import Registry
from jackfield.redis.bus import Bus
from jackfield.redis.client import RedisClient
from jackfield.redis.memory import MemoryWatch
from jackfield.session.layouts import LayoutWatch


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def root(request: web.Request) -> web.Response:
    """Describe this server, for whoever opens it in a browser."""
    return _json(
        {
            "server": "jackfield",
            "version": version("jackfield"),
            "websocket": f"{'wss' if request.secure else 'ws'}://{_host(request)}/ws",
            "subprotocols": ["jackfield.v1", "jackfield.v1.msgpack"],
        }
    )


def _host(request: web.Request) -> str:
    """What the client has asked; without its word, the address that it has reached."""
    host = request.headers.get(hdrs.HOST)
    if host is None and request.transport is not None:
        address, port = request.transport.get_extra_info("sockname")[:2]
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return host or ""


async def healthz(request: web.Request) -> web.Response:
    """Tell that the process is alive."""
    return _json({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Tell whether the server should get new connections, and why not."""
    return await request.app[READINESS].answer()


class Readiness:
    """Whether a node should get new connections.

    A plugin that failed makes it ``degraded``, which is still ready: the other plugins work, and a
    load balancer should not take the server out.

    Args:
        redis: The node's Redis.
        bus: Its links to Redis's pub/sub.
        hub: Its connections.
        registry: Its plugins.
        memory: Tells whether Redis is full.
        layouts: Tells whether other servers share this Redis that do not fit.
        full_is_ready: Whether it is ready while Redis refuses writes: all nodes share it, so that
            no other could serve instead.
    """

    def __init__(
        self,
        redis: RedisClient,
        bus: Bus,
        hub: Hub,
        registry: Registry,
        *,
        memory: MemoryWatch,
        layouts: LayoutWatch,
        full_is_ready: bool,
    ) -> None:
        self._redis = redis
        self._memory = memory
        self._layouts = layouts
        self._full_is_ready = full_is_ready
        self._bus = bus
        self._hub = hub
        self._registry = registry

    async def answer(self) -> web.Response:
        """Return the answer of ``/readyz``: 200 or 503, with the reasons."""
        reasons: list[dict[str, str]] = []
        if self._hub.draining:
            reasons.append({"reason": "shutdown", "message": "The server is shutting down."})
        if not await self._redis.ping():
            reasons.append({"reason": "redis", "message": "Redis does not answer."})
        if not self._bus.healthy:
            reasons.append(
                {"reason": "bus", "message": "The link to Redis's pub/sub is not proven."}
            )
        if self._layouts.conflict is not None:
            reasons.append({"reason": "layout", "message": self._layouts.conflict})
        full = self._memory_reasons()
        if self._memory.refusal is not None and not self._full_is_ready:
            reasons += full
            full = []
        ready = not reasons
        reasons += full
        reasons += [
            {
                "reason": "plugin",
                "plugin": entry.name,
                "distribution": entry.source,
                "stage": str(entry.stage),
                "message": "The plugin was left out; the log and 'jackfield plugins' say why.",
            }
            for entry in self._registry.failed
        ]
        status = "unavailable" if not ready else "degraded" if reasons else "ready"
        return _json({"status": status, "reasons": reasons}, 200 if ready else 503)

    def _memory_reasons(self) -> list[dict[str, str]]:
        if self._memory.refusal is not None:
            words = f"Redis refuses writes ({self._memory.refusal}); the log says what to do."
            return [{"reason": "redis_full", "message": words}]
        if self._memory.nearly_full:
            words = "Redis is nearly full: what clients ask to be kept is refused."
            return [{"reason": "redis_nearly_full", "message": words}]
        return []


#: The key of an application's readiness.
READINESS: Final = web.AppKey("jackfield.readiness", Readiness)
