"""The metrics page, in the format that ``Accept`` chooses.

It answers before the application is reached: no redirect, no authentication of the application's,
no middleware can stand between Prometheus and the figures, and it is not measured itself.
"""

import gzip
import hmac
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

from vitals.metrics.meter import Meter
from vitals.metrics.text_format import family_name, render

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

GZIP_LEVEL = 1
_LONGEST_LIST = 1_000
"""Level 9, the usual default, costs fifteen times the time for a tenth of the bytes."""

SAFE = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""What every answer of the kit's own says, refusals included."""


class Exposition:
    """An ASGI application that answers with the meter's page.

    Args:
        meter: Whose page it is.
        token: What a scraper must send as ``Authorization: Bearer``; None lets everybody read,
            which is right only where nobody else can connect.
        registry: A prometheus_client registry shown on the same page: the process, the garbage
            collector, and whatever metrics of their own the users of the kit keep there.
    """

    def __init__(
        self, meter: Meter, *, token: str | None = None, registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._meter = meter
        self._token = token
        self._registry = registry
        # A thread of its own: the shared pool may be full of hanging endpoints just when the
        # page is needed most, and rendering thousands of lines would hold up the event loop.
        self._renderers: anyio.CapacityLimiter | None = None
        self._warned = False
        self._left_off: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._respond(scope["method"], Headers(scope=scope))
        response.headers.update(SAFE)
        await response(scope, receive, send)

    async def _respond(self, method: str, headers: Headers) -> Response:
        if method not in {"GET", "HEAD"}:
            return PlainTextResponse("use GET\n", 405, {"allow": "GET, HEAD"})
        if not self._may_read(headers.get("authorization", "")):
            return PlainTextResponse(
                "send the metrics token as 'Authorization: Bearer ...'\n",
                401,
                {"www-authenticate": "Bearer"},
            )
        as_openmetrics = prefers_openmetrics(_list(headers, "accept"))
        zipped = _quality(_list(headers, "accept-encoding"), "gzip") > 0
        if self._renderers is None:
            self._renderers = anyio.CapacityLimiter(1)
        page = await anyio.to_thread.run_sync(
            self.page, as_openmetrics, zipped, limiter=self._renderers
        )
        answer = {
            "content-type": OPENMETRICS if as_openmetrics else TEXT,
            "vary": "accept, accept-encoding",
        }
        if zipped:
            answer["content-encoding"] = "gzip"
        return Response(page, headers=answer)

    def page(self, as_openmetrics: bool, zipped: bool) -> bytes:  # noqa: FBT001
        """Render the page."""
        ours = list(self._meter.collect(exemplars=as_openmetrics))
        text = "".join(render(ours, as_openmetrics=as_openmetrics))
        text += self._bridged({family_name(total.metric) for total in ours}, as_openmetrics)
        if as_openmetrics:
            text += "# EOF\n"
        body = text.encode()
        return gzip.compress(body, GZIP_LEVEL, mtime=0) if zipped else body

    def _may_read(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(), self._token.encode()
        )

    def _bridged(self, ours: set[str], as_openmetrics: bool) -> str:  # noqa: FBT001
        """What prometheus_client's registry holds and the meter does not.

        prometheus_client keeps its metrics to the process, so of several workers it shows those
        of the one that answers, unless it was told to share them, in its own way.
        """
        try:
            registry = self._registry
            if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
                registry = CollectorRegistry()
                MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            found = list(registry.collect())
            self._tell_of({family.name for family in found} & ours)
            others = _Collected([family for family in found if family.name not in ours])
            if others.collect() and self._meter.shared and registry is self._registry:
                self._warn()
            if as_openmetrics:
                page: bytes = openmetrics.generate_latest(others)  # type: ignore[no-untyped-call]
                return page.decode().removesuffix("# EOF\n")
            return generate_latest(others).decode()
        except Exception:  # noqa: BLE001  # somebody's collector failed: ours are still worth a page
            self._meter.dropped("foreign_collector")
            return ""

    def _tell_of(self, left_off: set[str]) -> None:
        """Say once of each metric of the host's own that it has the name of one of ours."""
        for name in sorted(left_off - self._left_off):
            self._left_off.add(name)
            # prometheus_client's own collectors report the same of the process as we do.
            if not name.startswith(("process_", "python_")):
                self._meter.dropped("name_taken")
                logging.getLogger(__name__).warning(
                    "metrics: %s of prometheus_client is left off the page, because Vitals has "
                    "a metric of that name: rename it",
                    name,
                )

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logging.getLogger(__name__).warning(
                "metrics: those kept in prometheus_client are of one worker on each page; for "
                "those of all, set PROMETHEUS_MULTIPROC_DIR to an empty folder before the start"
            )


class _Collected:
    """A registry as far as prometheus_client's renderers need one."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def _list(headers: Headers, name: str) -> str:
    """The lines of a header as one list; what is beyond a client's usual length is not read."""
    return ",".join(headers.getlist(name))[:_LONGEST_LIST]


def prefers_openmetrics(accept: str) -> bool:
    """Whether ``Accept`` (RFC 9110, 12.5.1) ranks OpenMetrics 1.0 above plain text."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        version = next((p[8:] for p in parameters if p.startswith("version=")), "")
        if kind in best and version in {"", "0.0.4", "1.0.0"}:
            best[kind] = max(best[kind], _q(parameters))
    return best["application/openmetrics-text"] > best["text/plain"]


def _quality(header: str, wanted: str) -> float:
    """The weight of a coding in ``Accept-Encoding``; a named one outranks ``*``."""
    weights: dict[str, float] = {}
    for item in header.split(","):
        coding, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[coding] = _q(parameters)
    return weights.get(wanted, weights.get("*", 0.0))


def _q(parameters: list[str]) -> float:
    weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return float(weight)
    except ValueError:
        return 0.0
