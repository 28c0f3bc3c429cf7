"""What a node counts is told to Prometheus in its text format, with the labels it has."""

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from jackfield import Plugin
from jackfield.http.metrics import REGISTRY, NodeCollector, metrics
from tests.support.candidates import plugin
from tests.support.connected import Connected
from tests.support.routing import Routing, message


def collector(routing: Routing, **parts: Any) -> NodeCollector:
    topics = SimpleNamespace(
        audiences=2, members=3, published=4, gaps=5, bus=SimpleNamespace(healthy=True)
    )
    given: dict[str, Any] = {
        "hub": routing.hub,
        "waiting_clients": [None] * 6,
        "watchdog": SimpleNamespace(lag=0.25, blocked=Counter({("chat", "chat.send"): 7})),
        "topics": topics,
        "agents": SimpleNamespace(instances=8, called=9, followed=10, dropped=11),
        "registry": routing.registry,
        "dispatcher": routing.dispatcher,
        **parts,
    }
    return NodeCollector(**given)


async def exposed(node: NodeCollector) -> dict[str, float]:
    """Each sample, by its name and labels."""
    app = web.Application()
    app[REGISTRY] = CollectorRegistry()
    app[REGISTRY].register(node)
    response = await metrics(make_mocked_request("GET", "/metrics", app=app))
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    lines = cast(bytes, response.body).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


async def test_gauges_and_counters_are_those_of_the_parts() -> None:
    routing = Routing(plugin("chat"))
    routing.hub.add(Connected().connection)
    samples = await exposed(collector(routing))
    expected = {
        "jackfield_connections": 1,
        "jackfield_waiting_clients": 6,
        "jackfield_loop_lag_seconds": 0.25,
        'jackfield_loop_blocked_total{plugin="chat",type="chat.send"}': 7,
        "jackfield_topics": 2,
        "jackfield_subscriptions": 3,
        "jackfield_events_published_total": 4,
        "jackfield_event_gaps_total": 5,
        "jackfield_bus_healthy": 1,
        "jackfield_agent_instances": 8,
        "jackfield_agent_calls_total": 9,
        "jackfield_agent_calls_followed": 10,
        "jackfield_agent_reports_dropped_total": 11,
        'jackfield_plugin_state{distribution="test",plugin="chat",state="loaded"}': 1,
        'jackfield_replies_total{type="chat.send"}': 0,
    }
    assert samples == expected
    routing.close()


async def test_messages_are_counted_by_type_and_error_code() -> None:
    chat = Plugin("chat")
    chat.handler("chat.send")(plugin("x").handlers["x.send"].function)
    routing, client = Routing(chat), Connected()
    await routing.run(client.connection, message("chat.send"))
    for data in (message("chat.send", n=1), message("no.such"), b"{"):
        assert routing.dispatcher.accept(client.connection, data) is None
    samples = await exposed(collector(routing))
    assert {name: value for name, value in samples.items() if "code=" in name} == {
        'jackfield_errors_total{code="invalid_payload",type="chat.send"}': 1,
        'jackfield_errors_total{code="unknown_type",type=""}': 1,
        'jackfield_errors_total{code="invalid_json",type=""}': 1,
    }
    assert samples['jackfield_replies_total{type="chat.send"}'] == 1
    routing.close()
