"""Notices: new and reopened issues, each shown to Prometheus for a time, once.

A notice is shown from the first scrape on that finds it, and no longer than that time after it;
both are kept in the file, so that a restart neither shows it anew nor forgets one that no scrape
has found.
"""

import sqlite3
from typing import NamedTuple

from stack.issues.issue_store import IssueStore, Kind

SHOWN_SECONDS = 900.0
"""Long enough that Prometheus and Alertmanager may be restarted meanwhile."""
MAX_SHOWN = 50
"""Notices shown at once; further ones wait."""


class Notice(NamedTuple):
    """A notice that is shown.

    Attributes:
        kind: Whether the issue is new or reopened.
        time: Unix time of the occurrence.
        fingerprint: The issue's.
        service: Where it occurred.
        type: The exception's class.
        place: The innermost own frame.
        route: The route template.
        release: The release.
    """

    kind: Kind
    time: float
    fingerprint: str
    service: str
    type: str
    place: str
    route: str
    release: str


def shown(store: IssueStore, now: float) -> list[Notice]:
    """The notices that a scrape finds now.

    On a disk that cannot be written to, one that was not shown before waits: it could not be known
    that it was.
    """
    try:
        with store.writing() as database:
            database.execute("DELETE FROM notice WHERE shown_since < ?", (now - SHOWN_SECONDS,))
            database.execute(
                "UPDATE notice SET shown_since = ? WHERE shown_since IS NULL AND id IN "
                "(SELECT id FROM notice ORDER BY shown_since IS NULL, id LIMIT ?)",
                (now, MAX_SHOWN),
            )
    except sqlite3.Error:
        pass
    with store.lock:
        rows = store.database.execute(
            "SELECT n.kind, n.time, n.fingerprint, n.service, i.type, i.place, n.route, n.release "
            "FROM notice n JOIN issue i USING (fingerprint) WHERE n.shown_since >= ? "
            "ORDER BY n.id LIMIT ?",
            (now - SHOWN_SECONDS, MAX_SHOWN),
        ).fetchall()
    return [Notice(Kind(row[0]), *tuple(row)[1:]) for row in rows]
