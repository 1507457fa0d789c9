"""Reads errors from the log records that count them, by Loki's HTTP API.

Source: https://grafana.com/docs/loki/latest/reference/loki-http-api/. Names are those of Loki's
structured metadata: attributes with underscores. The kit marks exactly one record of each error as
counted (docs/errors.md).
"""

from collections.abc import Iterator
from typing import Any

from stack.issues.http_client import HttpClient, RefusedError
from stack.issues.occurrences import Count, Occurrence

FINGERPRINT = "vitals_error_fingerprint"
COUNTED = 'vitals_error_counted="true"'
_HAS_STACK = 'exception_stacktrace!=""'
MINUTE = 60
MAX_LINES = 5_000
"""Loki's default limit of a query."""
_SECOND = 10**9
_REQUESTS = "vitals.requests"
_BY = ("service_name", FINGERPRINT, "service_version", "http_route")
_FEWER = ("service_name", FINGERPRINT, "service_version")


class LogReader:
    """Reads one store.

    Args:
        url: Its URL.
    """

    def __init__(self, url: str) -> None:
        self._client = HttpClient(url)

    def services(self, start: int, end: int) -> list[str]:
        """The services that have log records in a range of Unix times.

        Raises:
            StoreError: The store does not answer.
        """
        answer = self._client.get(
            "/loki/api/v1/label/service_name/values",
            start=str(start * _SECOND),
            end=str(end * _SECOND),
        )
        return sorted(map(str, (answer or {}).get("data") or []))

    def counts(self, service: str, first: int, last: int) -> Iterator[Count]:
        """Occurrences of errors of a service, by minute.

        Args:
            service: Its ``service.name``.
            first: The first minute, as Unix time.
            last: The last one.

        Raises:
            StoreError: The store does not answer, or refuses to count one minute.
        """
        try:
            found = self._counts(service, first, last, _BY)
        except RefusedError:  # such as more series than it allows
            if first < last:
                half = first + (last - first) // MINUTE // 2 * MINUTE
                yield from self.counts(service, first, half)
                yield from self.counts(service, half + MINUTE, last)
                return
            found = self._counts(service, first, last, _FEWER)
        for labels, points in found:
            for moment, count in points:
                yield Count(
                    int(float(moment)) - MINUTE,
                    labels.get(FINGERPRINT, ""),
                    labels.get("service_name", service),
                    labels.get("service_version", ""),
                    labels.get("http_route", ""),
                    round(float(count)),
                )

    def _counts(
        self, service: str, first: int, last: int, by: tuple[str, ...]
    ) -> list[tuple[dict[str, str], list[Any]]]:
        selected = f"{{service_name={_quoted(service)}}} | {COUNTED}"
        answer = self._client.get(
            "/loki/api/v1/query_range",
            query=f"sum by ({', '.join(by)}) (count_over_time({selected} [1m]))",
            start=str((first + MINUTE) * _SECOND),
            end=str((last + MINUTE) * _SECOND),
            step=MINUTE,
        )
        result = ((answer or {}).get("data") or {}).get("result") or []
        series = ((each["metric"], each["values"]) for each in result)
        return [(labels, points) for labels, points in series if labels.get(FINGERPRINT)]

    def newest(
        self,
        service: str,
        start: float,
        end: float,
        *,
        fingerprint: str = "",
        limit: int = 100,
        with_stack: bool = False,
    ) -> list[Occurrence]:
        """The newest occurrences of a range of time, the newest first.

        Args:
            service: The service.
            start: Unix time, included.
            end: Unix time, not included.
            fingerprint: Of this error only.
            limit: Most occurrences.
            with_stack: Only records that have a stack, whether they count their error or not.

        Raises:
            StoreError: The store does not answer.
        """
        matched = _HAS_STACK if with_stack else COUNTED
        if fingerprint:
            matched += f" | {FINGERPRINT}={_quoted(fingerprint)}"
        answer = self._client.get(
            "/loki/api/v1/query_range",
            query=f"{{service_name={_quoted(service)}}} | {matched}",
            start=str(int(start * _SECOND)),
            end=str(int(end * _SECOND)),
            limit=min(limit, MAX_LINES),
            direction="backward",
        )
        streams = ((answer or {}).get("data") or {}).get("result") or []
        found = [
            _occurrence(float(value[0]) / _SECOND, str(value[1]), _labels(stream["stream"], value))
            for stream in streams
            for value in stream["values"]
        ]
        return sorted((each for each in found if each.fingerprint), key=lambda e: -e.time)


def _labels(stream: dict[str, str], value: list[Any]) -> dict[str, str]:
    """Labels of a line; a store may write structured metadata beside it."""
    own = value[2] if len(value) > 2 and isinstance(value[2], dict) else {}  # noqa: PLR2004
    return {**stream, **own.get("structuredMetadata", {})}


def _occurrence(time: float, line: str, labels: dict[str, str]) -> Occurrence:
    # The kit's own event tells of the request, not of the exception: the trace tells that.
    said = "" if labels.get("scope_name") == _REQUESTS else line
    return Occurrence(
        time,
        labels.get(FINGERPRINT, ""),
        labels.get("service_name", ""),
        labels.get("service_version", ""),
        labels.get("http_route", ""),
        labels.get("trace_id", ""),
        labels.get("exception_type", "") or labels.get("error_type", ""),
        labels.get("vitals_error_place", ""),
        labels.get("exception_message", "") or said,
        labels.get("exception_stacktrace", ""),
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
