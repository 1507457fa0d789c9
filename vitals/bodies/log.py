"""Decides at a request's end whether its bodies are told, and tells them redacted."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import structlog

from vitals.bodies.capture import HELD, Capture, Pair
from vitals.bodies.redaction import Redaction
from vitals.media import Kind
from vitals.meter import Meter
from vitals.objectives import Objectives, Slo
from vitals.routes import UNMATCHED
from vitals.scope import CLIENT_ERROR, RequestScope


@dataclass(frozen=True)
class Bodies:
    """What is logged of bodies.

    Requests that failed, were refused or broke their latency objective are always told, as far
    as a route answered them.

    Attributes:
        share: Of all other requests, the share that is told as well (0 to 1).
        routes: By route template: a share of its own, or None to tell nothing of it at all.
        limit: Bytes up to which a body is told; of a longer one its size and a hash.
        text: Whether plain text is told too. It has no names to go by: only what looks like a
            secret is taken out.
        lines_per_second: Lines written at most; what is beyond is counted, not written.
        redaction: What is taken out.
    """

    share: float = 0.0
    routes: Mapping[str, float | None] = field(default_factory=dict)
    limit: int = 8_192
    text: bool = False
    lines_per_second: int = 100
    redaction: Redaction = field(default_factory=Redaction)

    def __post_init__(self) -> None:
        for share in (self.share, *self.routes.values()):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"the share {share} of requests must lie between 0 and 1")
        if not 0 < self.limit <= HELD:
            raise ValueError(f"limit {self.limit} must lie between 1 and {HELD} bytes")


class BodyLog:
    """Writes a line with the bodies of each request that is to be told.

    Args:
        bodies: Which these are, and what is told.
        objectives: Say from when on a request is slow.
        meter: Counts what could not be told.
    """

    def __init__(self, bodies: Bodies, objectives: Objectives, meter: Meter) -> None:
        self._bodies = bodies
        self._objectives = objectives
        self._meter = meter
        self._log = structlog.stdlib.get_logger("vitals.bodies")
        self._within: dict[str, float] = {}  # by template, of which there are a few
        self._second = 0
        self._lines = 0

    def __call__(self, request: RequestScope) -> None:
        """Look at a finished request."""
        pair, request.bodies = request.bodies, None
        try:
            if pair is not None and self._wanted(request):
                self._tell(request, pair)
        except Exception:  # noqa: BLE001  # the request is answered; its log must not fail it
            self._meter.dropped("body_log")

    def _wanted(self, request: RequestScope) -> bool:
        share = self._bodies.routes.get(request.route, self._bodies.share)
        if share is None:
            return False
        if request.failed:
            return True
        if request.route != UNMATCHED:  # else every scanner would fill the logs
            if request.status >= CLIENT_ERROR:
                return True
            within = self._within.get(request.route)
            if within is None:
                within = self._objectives.of(Slo.LATENCY, request.route).within or 0.0
                self._within[request.route] = within
            if request.duration > within:
                return True
        return share > 0 and random.random() < share  # noqa: S311  # a sample, no secret

    def _tell(self, request: RequestScope, pair: Pair) -> None:
        if pair.asked is None and pair.answered is None:
            return
        if not self._may_write():
            self._meter.dropped("body_log_rate")
            return
        fields: dict[str, Any] = {
            "trace_id": request.trace_id(),
            "http.request.method": request.method,
            "http.route": request.route,
            "http.response.status_code": request.status,
            "duration": round(request.duration, 6),
        }
        secrets: set[str] = set()
        self._describe("http.request.body", pair.asked, fields, secrets)
        if request.method != "HEAD":  # the server keeps that body back
            self._describe("http.response.body", pair.answered, fields, secrets)
        self._log.info("bodies", **fields)

    def _describe(
        self, which: str, capture: Capture | None, fields: dict[str, Any], secrets: set[str]
    ) -> None:
        if capture is None:
            return
        fields[which + ".size"] = capture.size
        withheld, content = self._read(capture, secrets)
        if content is not None:
            fields[which + ".content"] = content
            return
        fields[which + ".withheld"] = withheld
        if capture.readable:
            fields[which + ".hash"] = capture.hash()

    def _read(self, capture: Capture, secrets: set[str]) -> tuple[str, str | None]:
        """Why a body is not told, or the body."""
        if capture.compressed:
            return "compressed", None
        kind = capture.kind
        if not capture.readable or (kind is Kind.TEXT and not self._bodies.text):
            return str(kind), None
        if not capture.complete:
            return "incomplete", None
        if capture.size > self._bodies.limit:
            return "too long", None
        return f"not {kind}", self._bodies.redaction.body(capture.content(), kind, secrets)

    def _may_write(self) -> bool:
        second = int(monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= self._bodies.lines_per_second
