"""Answer ``/metrics``: a node's counters and gauges for Prometheus, collected when asked."""

from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from jackfield.agents.agents import Agents
from jackfield.connection.hub import Hub
from jackfield.dispatch.dispatcher import Dispatcher
from jackfield.dispatch.registry import Registry
from jackfield.session.request_heads import WaitingClients
from jackfield.telemetry.watchdog import Watchdog
from jackfield.topics.topics import Topics

#: The key of an application's collectors.
REGISTRY: Final = web.AppKey("jackfield.metrics", CollectorRegistry)


async def metrics(request: web.Request) -> web.Response:
    """Return the counters and gauges in the Prometheus text format."""
    body = generate_latest(request.app[REGISTRY])
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


class NodeCollector(Collector):
    """Reads a node's counters when Prometheus asks, so that they cost a message nothing.

    Args:
        hub: The node's connections.
        waiting_clients: Its clients that have no request under way.
        watchdog: What watches its event loop.
        topics: Its topics.
        agents: Its agents.
        registry: Its plugins and message types.
        dispatcher: What counts the messages that reach no message type.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        waiting_clients: WaitingClients,
        watchdog: Watchdog,
        topics: Topics,
        agents: Agents,
        registry: Registry,
        dispatcher: Dispatcher,
    ) -> None:
        self._hub = hub
        self._waiting_clients = waiting_clients
        self._watchdog = watchdog
        self._topics = topics
        self._agents = agents
        self._registry = registry
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[Metric]:
        """Yield one metric family after the other."""
        yield GaugeMetricFamily("jackfield_connections", "Open connections.", value=len(self._hub))
        yield GaugeMetricFamily(
            "jackfield_waiting_clients",
            "Clients that are connected and have no request under way.",
            value=len(self._waiting_clients),
        )
        yield GaugeMetricFamily(
            "jackfield_loop_lag_seconds",
            "How late the event loop was at most in the last minute.",
            value=self._watchdog.lag,
        )
        blocked = CounterMetricFamily(
            "jackfield_loop_blocked",
            "How often the event loop did not turn for server.blocked_after, by whose code it ran "
            "(empty if that can't be told).",
            labels=("plugin", "type"),
        )
        for names, count in dict(self._watchdog.blocked).items():
            blocked.add_metric(names, count)
        yield blocked
        topics = self._topics
        yield GaugeMetricFamily(
            "jackfield_topics", "Topics with members at this node.", value=topics.audiences
        )
        yield GaugeMetricFamily(
            "jackfield_subscriptions", "Members of topics at this node.", value=topics.members
        )
        yield CounterMetricFamily(
            "jackfield_events_published",
            "Events that this node has published.",
            value=topics.published,
        )
        yield CounterMetricFamily(
            "jackfield_event_gaps",
            "How often members were sent from the history what pub/sub did not bring, or told that "
            "it is lost.",
            value=topics.gaps,
        )
        yield GaugeMetricFamily(
            "jackfield_bus_healthy",
            "1 while every link to Redis's pub/sub brings its probes back.",
            value=float(topics.bus.healthy),
        )
        agents = self._agents
        yield GaugeMetricFamily(
            "jackfield_agent_instances",
            "Instances of agents that are connected to this node.",
            value=agents.instances,
        )
        yield CounterMetricFamily(
            "jackfield_agent_calls", "Calls of agents made at this node.", value=agents.called
        )
        yield GaugeMetricFamily(
            "jackfield_agent_calls_followed",
            "Tasks whose callers at this node wait for what becomes of them.",
            value=agents.followed,
        )
        yield CounterMetricFamily(
            "jackfield_agent_reports_dropped",
            "What agents said of tasks that had ended, or were not theirs.",
            value=agents.dropped,
        )
        plugins = GaugeMetricFamily(
            "jackfield_plugin_state",
            "1 for the state each plugin is in: loaded, disabled or failed.",
            labels=("plugin", "distribution", "state"),
        )
        for entry in self._registry.entries:
            plugins.add_metric((entry.name, entry.candidate.distribution, str(entry.state)), 1)
        yield plugins
        replies = CounterMetricFamily(
            "jackfield_replies", "Messages that were answered, by type.", labels=("type",)
        )
        failures = CounterMetricFamily(
            "jackfield_errors",
            "Messages that were refused, by type (empty if none was reached) and error code.",
            labels=("type", "code"),
        )
        for code, count in self._dispatcher.failures.items():
            failures.add_metric(("", code), count)
        for route in self._registry.routes.values():
            replies.add_metric((route.type,), route.replies)
            for code, count in route.failures.items():
                failures.add_metric((route.type, code), count)
        yield replies
        yield failures
