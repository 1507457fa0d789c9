"""Decides at a request's end whether its bodies are told, and tells them redacted."""

import random
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from vitals.asgi.content_type import Announced, Kind
from vitals.asgi.request_context import CLIENT_ERROR, RequestScope
from vitals.asgi.route_template import UNMATCHED
from vitals.body.capture import Capture, Pair
from vitals.body.config import Bodies
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo

Write = Callable[[str, dict[str, Any]], None]
"""Writes an event with its fields."""


class _Rule(NamedTuple):
    """What holds for a route."""

    share: float | None
    within: float


class _Fields(NamedTuple):
    """What a line calls what it tells of a body."""

    size: str
    content: str
    withheld: str
    hash: str

    @classmethod
    def of(cls, which: str) -> "_Fields":
        return cls(*(f"{which}.{field}" for field in cls._fields))


_ASKED, _ANSWERED = _Fields.of("http.request.body"), _Fields.of("http.response.body")


class BodyLog:
    """Writes a line with the bodies of each request that is to be told.

    Args:
        bodies: Which these are, and what is told.
        objectives: Say from when on a request is slow.
        meter: Counts what could not be told.
        write: Where the lines go.
    """

    def __init__(self, bodies: Bodies, objectives: Objectives, meter: Meter, write: Write) -> None:
        self._bodies = bodies
        self._objectives = objectives
        self._meter = meter
        self._write = write
        self._rules: dict[str, _Rule] = {}  # by template, of which there are a few
        self._second = 0
        self._lines = 0

    def __call__(self, request: RequestScope) -> None:
        """Look at a finished request."""
        pair, request.bodies = request.bodies, None
        if pair is None:
            return
        try:
            share, within = self._rules.get(request.route) or self._rule(request.route)
            if share is not None and (
                self._is_notable(request, within) or (share > 0 and random.random() < share)  # noqa: S311  # a sample, no secret
            ):
                self._tell(request, pair)
        except Exception:  # noqa: BLE001  # the request is answered; its log must not fail it
            self._meter.dropped("body_log")

    def _is_notable(self, request: RequestScope, within: float) -> bool:
        # What no route answered is told if we broke it, else every scanner would fill the logs.
        went_wrong = request.status >= CLIENT_ERROR or request.duration > within
        return (went_wrong or request.error_type != "") and (
            request.route != UNMATCHED or request.failed
        )

    def _rule(self, route: str) -> _Rule:
        within = self._objectives.of(Slo.LATENCY, route).within or 0.0
        rule = self._rules[route] = _Rule(
            self._bodies.routes.get(route, self._bodies.share), within
        )
        return rule

    def _tell(self, request: RequestScope, pair: Pair) -> None:
        asked, answered = pair.asked, pair.answered
        if asked is None and answered is None:
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
        if asked is not None:
            self._describe(_ASKED, asked, fields, secrets)
        if answered is not None and request.method != "HEAD":  # the server keeps that body back
            self._describe(_ANSWERED, answered, fields, secrets)
        self._write("bodies", fields)

    def _describe(
        self, named: _Fields, capture: Capture, fields: dict[str, Any], secrets: set[str]
    ) -> None:
        fields[named.size] = capture.size
        announced = capture.announced
        withheld = self._withheld(capture, announced)
        if not withheld:
            content = self._bodies.redaction.body(capture.content(), announced.kind, secrets)
            if content is not None:
                fields[named.content] = content
                return
            withheld = f"not {announced.kind}"
        fields[named.withheld] = withheld
        if announced.readable:
            fields[named.hash] = capture.hash()

    def _withheld(self, capture: Capture, announced: Announced) -> str:
        """Why a body is not told; empty where it may be."""
        if announced.compressed:
            return "compressed"
        if not announced.readable or (announced.kind is Kind.TEXT and not self._bodies.text):
            return str(announced.kind)
        if not capture.complete:
            return "incomplete"
        return "too long" if capture.size > self._bodies.limit else ""

    def _may_write(self) -> bool:
        second = int(monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= self._bodies.lines_per_second
