"""Notified alerts: which firing alerts Alertmanager has notified of, so that no other end is sent.

Alertmanager lists in a message all ended alerts of its group, also one that an inhibition or a
silence held back from its begin to its end. What it notifies of, it also sends here; an end of an
alert that is not among that is marked, and the templates of messages leave it out.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

PATH = "/notified"
"""Where the gate takes what Alertmanager has notified of, as a webhook."""
ANNOTATION = "notified"
"""Its value is ``no`` on the end of an alert whose begin was not notified."""
_MAX_ALERTS = 10_000


class NotifiedAlerts:
    """The alerts that were notified and have not ended since; thread-safe and bounded.

    Of alerts that began before it did, nothing is known: they count as notified.
    """

    def __init__(self) -> None:
        self._since = datetime.now(UTC)
        self._notified: set[frozenset[tuple[str, str]]] = set()
        self._lock = Lock()

    def note(self, message: Mapping[str, Any]) -> None:
        """Take a webhook message of Alertmanager (version 4)."""
        with self._lock:
            for alert in message["alerts"]:
                labels = frozenset(alert["labels"].items())
                if alert["status"] == "firing":
                    self._notified.add(labels)
                else:
                    self._notified.discard(labels)
            if len(self._notified) > _MAX_ALERTS:
                self._notified.clear()
                self._since = datetime.now(UTC)

    def mark(self, body: bytes) -> bytes:
        """Mark the ends of alerts that were not notified in a request to ``/api/v2/alerts``."""
        try:
            alerts = json.loads(body)
            not_notified = list(self._not_notified(alerts))
        except (ValueError, TypeError, AttributeError, KeyError):
            return body  # Alertmanager refuses it
        for alert in not_notified:
            alert["annotations"] = {**alert.get("annotations", {}), ANNOTATION: "no"}
        return json.dumps(alerts).encode() if not_notified else body

    def _not_notified(self, alerts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        now = datetime.now(UTC)
        with self._lock:
            for alert in alerts:
                begun, ends = alert.get("startsAt"), alert.get("endsAt")
                if (
                    begun
                    and ends
                    and datetime.fromisoformat(ends) <= now
                    and datetime.fromisoformat(begun) > self._since
                    and frozenset(alert["labels"].items()) not in self._notified
                ):
                    yield alert
