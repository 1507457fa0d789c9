"""Metrics of the runner: which services are ready, and how often they ended.

Prometheus scrapes them, so that an end is reported although the service runs again before anything
that it does could be missed.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from rules.monitoring import SERVICE_ENDS, SERVICE_READY
from stack.process.service import ServiceStatus, State
from stack.readiness import LOOPBACK


class RunnerMetrics(Collector):
    """The last status of each service, as metrics."""

    def __init__(self) -> None:
        self._statuses: dict[str, ServiceStatus] = {}
        self._were_ready: set[str] = set()

    def update(self, status: ServiceStatus) -> None:
        """Set the status of a service."""
        self._statuses[status.name] = status
        if status.state is State.READY:
            self._were_ready.add(status.name)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metric families; called by the client library, in another thread."""
        statuses = tuple(self._statuses.values())
        ends = CounterMetricFamily(SERVICE_ENDS.name, SERVICE_ENDS.help, labels=["service"])
        ready = GaugeMetricFamily(SERVICE_READY.name, SERVICE_READY.help, labels=["service"])
        for status in statuses:
            ends.add_metric([status.name], status.ends)
            if status.name in self._were_ready:
                ready.add_metric([status.name], status.state is State.READY)
        yield ends
        yield ready

    def serve(self, port: int) -> int:
        """Serve them on loopback, from a thread of this process; returns the port.

        Args:
            port: Port to listen on; 0 takes a free one.

        Raises:
            OSError: The port is taken.
        """
        registry = CollectorRegistry()
        registry.register(self)
        server, _ = start_http_server(port, LOOPBACK, registry)
        return int(server.server_port)
