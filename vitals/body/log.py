"""Logs redacted bodies of requests that failed, were slow or are sampled."""

import logging
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from vitals.asgi.content_type import BodyKind, BodyMedia
from vitals.asgi.request_context import CLIENT_ERROR, RequestContext
from vitals.asgi.route_template import UNMATCHED
from vitals.body.capture import BodyCapture, CapturedBody
from vitals.body.config import BodyLogging
from vitals.log_events import EventLog
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo
from vitals.random_numbers import RANDOM

LOGGER = "vitals.body"

_ANSWERED = (
    "%(http.request.method)s %(http.route)s answered %(http.response.status_code)s "
    "after %(duration).3f s"
)


class _RouteRule(NamedTuple):
    """Options of one route."""

    share: float | None
    threshold: float


class _FieldNames(NamedTuple):
    """Names of the log fields of one body."""

    side: str
    size: str
    content: str
    withheld: str
    hash: str

    @classmethod
    def of(cls, side: str) -> "_FieldNames":
        return cls(side, *(f"http.{side}.body.{field}" for field in cls._fields[1:]))


_REQUEST_FIELDS, _RESPONSE_FIELDS = _FieldNames.of("request"), _FieldNames.of("response")


class BodyLog:
    """Logs the bodies of finished requests.

    Args:
        config: Which requests are logged, and what of them.
        objectives: Latency objectives, whose threshold makes a request slow.
        meter: Counts what could not be logged.
        service_name: ``service.name`` of the events.
    """

    def __init__(
        self, config: BodyLogging, objectives: Objectives, meter: Meter, service_name: str = ""
    ) -> None:
        self._config = config
        self._objectives = objectives
        self._meter = meter
        self._log = EventLog(LOGGER, meter.dropped, service_name)
        self._rules: dict[str, _RouteRule] = {}  # by route template, of which there are few
        self._second = 0
        self._lines = 0

    def __call__(self, request: RequestContext) -> None:
        """Log a finished request, if it is to be logged."""
        capture, request.body_capture = request.body_capture, None
        if capture is None:
            return
        try:
            share, threshold = self._rules.get(request.route) or self._find_rule(request.route)
            if share is not None and (
                self._is_notable(request, threshold) or (share > 0 and RANDOM.random() < share)
            ):
                self._log_bodies(request, capture)
        except Exception:  # noqa: BLE001  # a logging failure must not fail the request
            self._meter.dropped("body_log")

    def _is_notable(self, request: RequestContext, threshold: float) -> bool:
        # Unmatched requests are logged only if the service failed; scanners would fill the logs.
        went_wrong = request.status >= CLIENT_ERROR or request.duration > threshold
        return (went_wrong or request.error_type != "") and (
            request.route != UNMATCHED or request.failed
        )

    def _find_rule(self, route: str) -> _RouteRule:
        threshold = self._objectives.of(Slo.LATENCY, route).within or 0.0
        rule = self._rules[route] = _RouteRule(
            self._config.routes.get(route, self._config.share), threshold
        )
        return rule

    def _log_bodies(self, request: RequestContext, capture: BodyCapture) -> None:
        request_body, response_body = capture.request_body, capture.response_body
        if request_body is None and response_body is None:
            return
        if not self._is_below_rate():
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
        if request_body is not None:
            self._describe(_REQUEST_FIELDS, request_body, fields, secrets)
        # The server does not send a body in response to HEAD.
        if response_body is not None and request.method != "HEAD":
            self._describe(_RESPONSE_FIELDS, response_body, fields, secrets)
        self._log.write(logging.INFO, "bodies", partial(_sentence, fields), fields)

    def _describe(
        self, names: _FieldNames, capture: CapturedBody, fields: dict[str, Any], secrets: set[str]
    ) -> None:
        fields[names.size] = capture.size
        media = capture.media
        withheld = self._withheld_reason(capture, media)
        if not withheld:
            content = self._config.redaction.body(capture.content(), media.kind, secrets)
            if content is not None:
                fields[names.content] = content
                return
            withheld = f"not {media.kind}"
        fields[names.withheld] = withheld
        if media.readable:
            fields[names.hash] = capture.hash()

    def _withheld_reason(self, capture: CapturedBody, media: BodyMedia) -> str:
        """Why a body is not logged; empty if it may be."""
        if media.compressed:
            return "compressed"
        if not media.readable or (media.kind is BodyKind.TEXT and not self._config.text):
            return str(media.kind)
        if not capture.complete:
            return "incomplete"
        return "too long" if capture.size > self._config.limit else ""

    def _is_below_rate(self) -> bool:
        second = int(monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= self._config.lines_per_second


def _sentence(fields: dict[str, Any]) -> str:
    bodies = [
        f"{names.side} %({names.content})r"
        if names.content in fields
        else f"{names.side} not logged (%({names.withheld})s)"
        for names in (_REQUEST_FIELDS, _RESPONSE_FIELDS)
        if names.size in fields
    ]
    return "; ".join([_ANSWERED, *bodies])
