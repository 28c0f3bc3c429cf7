"""What a node tells Prometheus; collected when asked, so that counting costs a message nothing."""

from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from jackfield.node import Node

REGISTRY: Final = web.AppKey("jackfield.metrics", CollectorRegistry)


class NodeCollector(Collector):
    """Reads a node's counters.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """One family for each thing that is counted."""
        yield GaugeMetricFamily(
            "jackfield_connections", "Open connections.", value=len(self._node.hub)
        )
        yield GaugeMetricFamily(
            "jackfield_waiting_clients",
            "Clients that are connected and have no request under way.",
            value=len(self._node.gate),
        )
        yield GaugeMetricFamily(
            "jackfield_loop_lag_seconds",
            "How late the event loop was at most in the last minute.",
            value=self._node.watchdog.lag,
        )
        blocked = CounterMetricFamily(
            "jackfield_loop_blocked",
            "How often the event loop did not turn for server.blocked_after, by whose code it ran "
            "(empty if that can't be told).",
            labels=("plugin", "type"),
        )
        for names, count in dict(self._node.watchdog.blocked).items():
            blocked.add_metric(names, count)
        yield blocked
        topics = self._node.topics
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
        agents = self._node.agents
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
            value=agents.following,
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
        for entry in self._node.registry.entries:
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
        for code, count in self._node.dispatcher.failures.items():
            failures.add_metric(("", code), count)
        for route in self._node.registry.routes.values():
            replies.add_metric((route.type,), route.replies)
            for code, count in route.failures.items():
                failures.add_metric((route.type, code), count)
        yield replies
        yield failures
