"""Serves ``/metrics`` in the format that ``Accept`` selects.

Requests are answered before they reach the application: no redirect, authentication or middleware
of the application stands between Prometheus and the metrics, and scrapes are not measured.
"""

import gzip
import logging
import os
from typing import Any

import anyio
import anyio.to_thread
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from vitals.metrics.access import Access
from vitals.metrics.meter import Meter
from vitals.metrics.text_format import family_name, render

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

GZIP_LEVEL = 1
"""Level 9, the usual default, takes fifteen times as long to save a tenth of the bytes."""

_MAX_HEADER_LENGTH = 1_000
"""Characters of a header that are parsed."""

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""Headers of every response of the kit itself, errors included."""


class MetricsEndpoint:
    """ASGI application that serves a meter's metrics.

    Args:
        meter: The metrics to serve.
        access: Who may read them; by default clients that send the environment's token, or without
            one, this machine.
        registry: A prometheus_client registry served in the same response: process and garbage
            collector metrics, and any metrics that the application keeps there. None leaves it out.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        access: Access | None = None,
        registry: CollectorRegistry | None = REGISTRY,
    ) -> None:
        self._meter = meter
        self._access = access or Access()
        self._registry = registry
        # A dedicated thread: the shared pool may be full of hanging endpoints just when metrics
        # are needed most, and rendering thousands of lines would block the event loop.
        self._renderers: anyio.CapacityLimiter | None = None
        self._warned_single_worker = False
        self._reported_conflicts: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        response = await self._respond(scope, Headers(scope=scope))
        response.headers.update(SECURITY_HEADERS)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, headers: Headers) -> Response:
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("use GET\n", 405, {"allow": "GET, HEAD"})
        refusal = self._access.refuse(scope, headers)
        if refusal is not None:
            return refusal
        as_openmetrics = prefers_openmetrics(_header_list(headers, "accept"))
        gzipped = _coding_weight(_header_list(headers, "accept-encoding"), "gzip") > 0
        if self._renderers is None:
            self._renderers = anyio.CapacityLimiter(1)
        exposition = await anyio.to_thread.run_sync(
            self.render, as_openmetrics, gzipped, limiter=self._renderers
        )
        response_headers = {
            "content-type": OPENMETRICS if as_openmetrics else TEXT,
            "vary": "accept, accept-encoding",
        }
        if gzipped:
            response_headers["content-encoding"] = "gzip"
        return Response(exposition, headers=response_headers)

    def render(self, as_openmetrics: bool, gzipped: bool) -> bytes:  # noqa: FBT001
        """Render all metrics."""
        families = list(self._meter.collect(exemplars=as_openmetrics))
        text = "".join(render(families, as_openmetrics=as_openmetrics))
        names = {family_name(family.metric) for family in families}
        if self._registry is not None:
            text += self._render_registry(self._registry, names, as_openmetrics)
        if as_openmetrics:
            text += "# EOF\n"
        body = text.encode()
        return gzip.compress(body, GZIP_LEVEL, mtime=0) if gzipped else body

    def _render_registry(
        self,
        own: CollectorRegistry,
        names: set[str],
        as_openmetrics: bool,  # noqa: FBT001
    ) -> str:
        """The metrics in prometheus_client's registry that the meter does not have.

        Of several workers, prometheus_client shows the one that serves the scrape, unless its own
        multiprocess mode is configured.
        """
        try:
            registry = own
            if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
                registry = CollectorRegistry()
                MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            found = list(registry.collect())
            self._warn_name_conflicts({family.name for family in found} & names)
            others = _Families([family for family in found if family.name not in names])
            if others.collect() and self._meter.shared and registry is own:
                self._warn_single_worker()
            if as_openmetrics:
                exposition: bytes = openmetrics.generate_latest(others)  # type: ignore[no-untyped-call]
                return exposition.decode().removesuffix("# EOF\n")
            return generate_latest(others).decode()
        except Exception:  # noqa: BLE001  # a foreign collector failed: serve the meter's metrics
            self._meter.dropped("foreign_collector")
            return ""

    def _warn_name_conflicts(self, conflicts: set[str]) -> None:
        """Log each metric of the application's that has the name of one of ours, once."""
        for name in sorted(conflicts - self._reported_conflicts):
            self._reported_conflicts.add(name)
            # prometheus_client's own collectors export the same process metrics as we do.
            if not name.startswith(("process_", "python_")):
                self._meter.dropped("name_taken")
                logging.getLogger(__name__).warning(
                    "metrics: %s of prometheus_client is not exported, because Vitals has a metric "
                    "of that name: rename it",
                    name,
                )

    def _warn_single_worker(self) -> None:
        if not self._warned_single_worker:
            self._warned_single_worker = True
            logging.getLogger(__name__).warning(
                "metrics: prometheus_client's metrics in a scrape are those of one worker; for all "
                "workers, set PROMETHEUS_MULTIPROC_DIR to an empty directory before the start"
            )


class _Families:
    """The part of a registry that prometheus_client's renderers use."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def _header_list(headers: Headers, name: str) -> str:
    """All values of a list header as one; cut at a length that no usual client exceeds."""
    return ",".join(headers.getlist(name))[:_MAX_HEADER_LENGTH]


def prefers_openmetrics(accept: str) -> bool:
    """Whether ``Accept`` (RFC 9110, 12.5.1) ranks OpenMetrics 1.0 above plain text."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        version = next((p[8:] for p in parameters if p.startswith("version=")), "")
        if media_type in best and version in {"", "0.0.4", "1.0.0"}:
            best[media_type] = max(best[media_type], _weight(parameters))
    return best["application/openmetrics-text"] > best["text/plain"]


def _coding_weight(header: str, wanted: str) -> float:
    """The weight of a coding in ``Accept-Encoding``; an explicit one outranks ``*``."""
    weights: dict[str, float] = {}
    for item in header.split(","):
        coding, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[coding] = _weight(parameters)
    return weights.get(wanted, weights.get("*", 0.0))


def _weight(parameters: list[str]) -> float:
    weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return float(weight)
    except ValueError:
        return 0.0
