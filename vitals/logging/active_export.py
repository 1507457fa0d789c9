"""The process's export of logs, if it has one: what queues a line also queues a record for it."""

from collections.abc import Mapping
from typing import Any, Protocol

from vitals.logging.entries import Entry, KitEntry


class Export(Protocol):
    """Exports what is logged; nothing here raises."""

    def reads(self, logger: Any) -> bool:
        """Whether what a handler of a logger writes has to be read while it emits."""

    def offer(self, logger: Any, record: Any, emissions: Any = ...) -> None:
        """Export a record that a logger has passed to its handlers."""

    def put(self, entry: Entry | KitEntry, source: Mapping[str, Any]) -> None:
        """Export an entry.

        Args:
            entry: The entry.
            source: Attributes of where it was logged.
        """


current: Export | None = None
