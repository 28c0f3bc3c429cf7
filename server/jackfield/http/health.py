"""Answer ``/healthz``, ``/readyz`` and ``/``: health, readiness, and what this server is."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import msgspec
from aiohttp import web

from jackfield.connection.hub import Hub
from jackfield.dispatch.registry import Registry
from jackfield.redis.bus import Bus
from jackfield.redis.client import RedisClient


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
            "websocket": str(
                request.url.with_scheme("wss" if request.secure else "ws").with_path("/ws")
            ),
            "subprotocols": ["jackfield.v1", "jackfield.v1.msgpack"],
        }
    )


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
    """

    def __init__(self, redis: RedisClient, bus: Bus, hub: Hub, registry: Registry) -> None:
        self._redis = redis
        self._bus = bus
        self._hub = hub
        self._registry = registry

    async def answer(self) -> web.Response:
        """Return the answer of ``/readyz``: 200 or 503, with the reasons."""
        reasons = []
        if self._hub.draining:
            reasons.append({"reason": "shutdown", "message": "The server is shutting down."})
        if not await self._redis.ping():
            reasons.append({"reason": "redis", "message": "Redis does not answer."})
        if not self._bus.healthy:
            reasons.append(
                {"reason": "bus", "message": "The link to Redis's pub/sub is not proven."}
            )
        ready = not reasons
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


#: The key of an application's readiness.
READINESS: Final = web.AppKey("jackfield.readiness", Readiness)
