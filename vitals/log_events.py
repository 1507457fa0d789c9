"""Log events of the kit: ordinary records of the loggers ``vitals.*``.

They go wherever the host's logging sends them: a plain formatter writes a sentence, a JSON
formatter finds the event and its fields as attributes of the record, as with ``extra=``.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

EVENT = "event"
"""The attribute that holds the name of an event."""

SERVICE_NAME = "service.name"

EVENT_WRITER = "write_event"
"""The method of a handler that writes an event without a record, at half the cost."""

EventWriter = Callable[[str, int, str, Mapping[str, Any], str], bool]
"""Writes an event, given its logger, level, name, fields and ``service.name``; false if a record is
needed."""

OnDrop = Callable[[str], None]
"""Called with the reason for what was dropped."""


def ignore(_reason: str) -> None:
    """An ``OnDrop`` that counts nothing."""


class EventLog:
    """Writes the events of one logger.

    Args:
        name: The logger's name; it begins with ``vitals.``.
        on_drop: Called with the reason for each event that was lost, or would have been.
        service_name: ``service.name`` of each event; empty for none.
    """

    def __init__(self, name: str, on_drop: OnDrop = ignore, service_name: str = "") -> None:
        self._logger = logging.getLogger(name)
        self._on_drop = on_drop
        self._service_name = service_name

    def write(
        self, level: int, event: str, sentence: str | Callable[[], str], fields: Mapping[str, Any]
    ) -> None:
        """Write an event; never raises, whatever the host's filters and handlers do.

        Args:
            level: A level of ``logging``.
            event: Its name, a few fixed words.
            sentence: What happened, with fields such as ``%(duration).3f``; or what makes it.
            fields: Its fields; they hold no secrets, and do not change any more.
        """
        logger = self._logger
        try:
            if logger.disabled:  # by ``fileConfig`` or ``dictConfig``, which did not know of it
                logger.disabled = False
                self._on_drop("logger_disabled")
            if not logger.isEnabledFor(level):
                return
            writer, service_name = self._event_writer(), self._service_name
            if writer is not None and writer(logger.name, level, event, fields, service_name):
                return
            if service_name:
                fields = {SERVICE_NAME: service_name, **fields}
            message = f"{event}: {sentence if isinstance(sentence, str) else sentence()}"
            # The logger would refuse fields that a record factory of the host has set already.
            record = logger.makeRecord(
                logger.name, level, __file__, 0, message, (fields,), None, "write", None, None
            )
            attributes = vars(record)
            attributes.update(fields)
            attributes[EVENT] = event
            if (route := fields.get("http.route")) is not None:
                attributes["http_route"] = route
            logger.handle(record)
        except Exception:  # noqa: BLE001  # of a filter or handler of the host
            self._on_drop("log_event")

    def _event_writer(self) -> EventWriter | None:
        """The handler's function that writes events without a record, if no handler would."""
        found: logging.Handler | None = None
        logger: logging.Logger | None = self._logger
        if self._logger.filters:
            return None
        while logger is not None:
            for handler in logger.handlers:
                if found is not None:
                    return None
                found = handler
            logger = logger.parent if logger.propagate else None
        return getattr(found, EVENT_WRITER, None)


def enable(on_drop: OnDrop) -> None:
    """Enable the kit's loggers again that ``logging.config`` has disabled, and count them."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        ours = name == "vitals" or name.startswith("vitals.")
        if ours and isinstance(logger, logging.Logger) and logger.disabled:
            logger.disabled = False
            on_drop("logger_disabled")
