"""HTTP beside the socket: health, readiness, metrics, and what stands at the root."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from jackfield.node import Node

from .metrics import REGISTRY

NODE: Final = web.AppKey("jackfield.node", Node)


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def root(request: web.Request) -> web.Response:
    """What this is, for whoever opens it in a browser."""
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
    """Whether the process is alive: it is, or this would not answer."""
    return _json({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Whether the server should get new connections, and what is wrong if anything is.

    A plugin that was left out is a reason to look, and not one to take the server out of its load
    balancer: the others work.
    """
    node = request.app[NODE]
    reasons = []
    if node.draining:
        reasons.append({"reason": "shutdown", "message": "The server is shutting down."})
    if not await node.redis.ping():
        reasons.append({"reason": "redis", "message": "Redis does not answer."})
    if not node.topics.bus.healthy:
        reasons.append({"reason": "bus", "message": "The link to Redis's pub/sub is not proven."})
    ready = not reasons
    reasons += [
        {
            "reason": "plugin",
            "plugin": entry.name,
            "distribution": entry.source,
            "stage": str(entry.stage),
            "message": "The plugin was left out; the log and 'jackfield plugins' say why.",
        }
        for entry in node.registry.failed
    ]
    status = "unavailable" if not ready else "degraded" if reasons else "ready"
    return _json({"status": status, "reasons": reasons}, 200 if ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """Counters and gauges in the Prometheus text format."""
    body = generate_latest(request.app[REGISTRY])
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
