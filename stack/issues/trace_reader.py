"""Reads what a trace says of an error: the event of its exception, by Tempo's HTTP API.

Source: https://grafana.com/docs/tempo/latest/api_docs/
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from stack.issues.http_client import HttpClient

FINGERPRINT = "vitals.error.fingerprint"


class TracedError(NamedTuple):
    """An exception as a span tells it.

    Attributes:
        type: Its class.
        message: Its message, redacted.
        stacktrace: Its traceback, redacted.
    """

    type: str
    message: str
    stacktrace: str


class TraceReader:
    """Reads one store.

    Args:
        url: Its URL.
    """

    def __init__(self, url: str) -> None:
        self._client = HttpClient(url)

    def error(self, trace_id: str, fingerprint: str) -> TracedError | None:
        """What a trace says of an error; None if it is not kept, or says nothing.

        Raises:
            StoreError: The store does not answer.
        """
        if not trace_id:
            return None
        answer = self._client.get(f"/api/traces/{trace_id}") or {}
        groups = answer.get("batches") or (answer.get("trace") or answer).get("resourceSpans") or []
        for span in _spans(groups):
            of_span = _attributes(span)
            for event in span.get("events") or []:
                found = _attributes(event)
                known = found.get(FINGERPRINT) or of_span.get(FINGERPRINT)
                if event.get("name") == "exception" and known == fingerprint:
                    return TracedError(
                        found.get("exception.type", ""),
                        found.get("exception.message", ""),
                        found.get("exception.stacktrace", ""),
                    )
        return None


def _spans(groups: list[Any]) -> Iterator[dict[str, Any]]:
    for group in groups:
        for scoped in group.get("scopeSpans") or group.get("instrumentationLibrarySpans") or []:
            yield from scoped.get("spans") or []


def _attributes(of: dict[str, Any]) -> dict[str, str]:
    return {
        each["key"]: str(each["value"].get("stringValue", ""))
        for each in of.get("attributes") or []
        if isinstance(each.get("value"), dict)
    }
