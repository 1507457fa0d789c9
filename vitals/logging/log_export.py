"""Exports what is logged by OTLP, beside the host's handlers.

No handler is added to a logger: one on the root logger would make ``logging.basicConfig`` do
nothing, would silence what Python writes to standard error where nothing is set up, and would see
nothing of loggers that do not propagate, such as uvicorn's. Records are taken where a logger has
passed them to its handlers, after its levels and filters.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from weakref import ref

from vitals.asgi.trace_record import active_span
from vitals.logging import active_export, emitted_text
from vitals.logging.emitted_text import Emission
from vitals.logging.entries import Entry, KitEntry, entry_of_record
from vitals.logging.json_handler import LOST, JsonHandler, Say, last_entry, message_of, speaker_of
from vitals.logging.otlp_records import Exported, RecordEncoder, Resource, rejected
from vitals.logging.redacted_entries import EntryRedactor
from vitals.otlp.exporter import FLUSH_SECONDS, Exporter, is_exporting
from vitals.otlp.target import Target
from vitals.redactor import Redactor

RECORD_BYTES = 200
"""About the bytes of a record besides its text."""

MAX_HANDLERS = 200
"""Handlers whose wording is remembered."""

_NOWHERE: Mapping[str, Any] = {}
_NOTHING: Mapping[int, Emission] = {}


class _Wording(NamedTuple):
    """How a handler words messages.

    Attributes:
        handler: The handler.
        formatter: Its formatter at that time.
        say: Formats a message; None where it is written as it is.
        has_own_emit: Whether it also words messages by its ``emit``, which is read.
        may_change: Whether it has to be asked each time: it goes by a handler that it replaces.
    """

    handler: "ref[logging.Handler]"
    formatter: Any
    say: Say | None
    has_own_emit: bool
    may_change: bool


class LogExport(logging.Handler):
    """Exports records and events, one for the process.

    It is a handler for its level and filters, which the host may set; no logger has it.

    Args:
        target: Where to.
        redactor: Redacts every record.
        on_drop: Called with the reason for each record that is lost, and their number.

    Attributes:
        is_host_exporting: Whether the host exports its records by OpenTelemetry itself.
    """

    def __init__(
        self, target: Target, redactor: Redactor, on_drop: Callable[[str, int], None]
    ) -> None:
        super().__init__()
        self.is_host_exporting = False
        self._on_drop = on_drop
        self._redactor = redactor
        self._redact = EntryRedactor(redactor)
        self._encoder = RecordEncoder(self._redact, self._drop)
        self.exporter: Exporter[Exported] = Exporter(
            target, self._encoder, self._drop, signal="logs", rejected=rejected
        )
        self._wordings: dict[int, _Wording] = {}
        self._is_read: dict[type[logging.Handler], bool] = {}

    def createLock(self) -> None:  # noqa: N802  # logging's name
        """Need no lock: the queue has one."""
        self.lock = None

    def join(
        self,
        name: str,
        resource: Resource,
        redactor: Redactor,
        on_drop: Callable[[str, int], None],
    ) -> None:
        """Export the records of an application, which counts what is lost from now on."""
        self._on_drop = on_drop
        if redactor is not self._redactor:
            self._redact.add(redactor)
        self._encoder.add_service(name, resource)

    def _drop(self, reason: str, count: int = 1) -> None:
        self._on_drop(reason, count)

    def reads(self, logger: logging.Logger) -> bool:
        """Whether a handler of a logger is to be read: it has filters or its own ``emit``."""
        found = False
        current: logging.Logger | None = logger
        while current is not None:
            for handler in current.handlers:
                kind = type(handler)
                if emitted_text.FILTERS_REPLACE and handler.filters:
                    found = True
                is_read = self._is_read.get(kind)
                if is_read is None:
                    is_read = self._start_reading(handler)
                found = found or is_read
            current = current.parent if current.propagate else None
        return found

    def _start_reading(self, handler: logging.Handler) -> bool:
        kind = type(handler)
        is_read = emitted_text.has_own_emit(handler)
        if is_read:
            emitted_text.observe(kind)
        if len(self._is_read) >= MAX_HANDLERS:
            self._is_read.clear()
        self._is_read[kind] = is_read
        return is_read

    def offer(
        self,
        logger: logging.Logger,
        record: logging.LogRecord,
        emissions: Mapping[int, Emission] = _NOTHING,
    ) -> None:
        """Export a record that a logger has passed to its handlers; never raises.

        Args:
            logger: The logger.
            record: The record.
            emissions: What handlers have written of it by an ``emit`` of their own, by their ids.
        """
        if record.levelno < self.level or self.is_host_exporting or is_exporting():
            return
        try:
            accepted: Any = self.filter(record)
            if accepted:
                # Since Python 3.12 a filter may return another record.
                record = accepted if isinstance(accepted, logging.LogRecord) else record
                self._offer(logger, record, emissions)
        except Exception:  # noqa: BLE001  # a record that cannot be formatted must not raise into the caller
            self._drop("log_format")

    def _offer(
        self,
        logger: logging.Logger,
        record: logging.LogRecord,
        emissions: Mapping[int, Emission],
    ) -> None:
        entry = last_entry(record)  # of the JSON line
        if entry is LOST:
            return
        if entry is None:
            record, text = self._say(logger, record, emissions)
            if self.is_host_exporting:
                return
            entry = entry_of_record(record, text)
        source = {
            "code.file.path": record.pathname,
            "code.line.number": record.lineno,
            "code.function.name": record.funcName,
        }
        self.put(entry, source if record.lineno else _NOWHERE)

    def put(self, entry: Entry | KitEntry, source: Mapping[str, Any] = _NOWHERE) -> None:
        """Export an entry."""
        if not self.is_host_exporting and not is_exporting():  # else it would tell of itself
            self.exporter.put(Exported(entry, source, *_span()), entry.size + RECORD_BYTES)

    def emit(self, record: logging.LogRecord) -> None:
        """Export a record: the host has added this to a logger of its own."""

    def _say(
        self,
        logger: logging.Logger,
        record: logging.LogRecord,
        emissions: Mapping[int, Emission],
    ) -> tuple[logging.LogRecord, str | None]:
        """The record as the host has it, and its words: one of its handlers may mask secrets."""
        exported = record
        current: logging.Logger | None = logger
        while current is not None:
            for handler in current.handlers:
                known = self._wordings.get(id(handler))
                if (
                    known is None
                    or known.may_change
                    or known.handler() is not handler
                    or known.formatter is not handler.formatter
                ):
                    known = self._learn(handler)
                emission = _emission_of(handler, emissions) if emissions else None
                given = record if emission is None else emission.record or record
                text = _word(handler, known, given, emission)
                if text is not None:
                    return given, text
                if exported is record:
                    exported = given
            current = current.parent if current.propagate else None
        return exported, None

    def _learn(self, handler: logging.Handler) -> _Wording:
        if exports_by_opentelemetry(handler):
            self.is_host_exporting = True
        may_change = isinstance(handler, JsonHandler)
        say = handler.speaker() if isinstance(handler, JsonHandler) else speaker_of(handler)
        if len(self._wordings) >= MAX_HANDLERS:
            self._wordings.clear()
        known = _Wording(
            ref(handler),
            handler.formatter,
            say,
            has_own_emit=emitted_text.has_own_emit(handler),
            may_change=may_change,
        )
        self._wordings[id(handler)] = known
        return known

    def check(self) -> bool:
        """Find out again whether the host exports its records itself; returns whether it does."""
        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        self.is_host_exporting = any(
            exports_by_opentelemetry(handler)
            for logger in loggers
            if isinstance(logger, logging.Logger)
            for handler in logger.handlers
        )
        return self.is_host_exporting


def _word(
    handler: logging.Handler,
    wording: _Wording,
    record: logging.LogRecord,
    emission: Emission | None,
) -> str | None:
    """How a handler words a record; None for its message as it is."""
    say = wording.say
    if wording.has_own_emit and emission is not None:
        return message_of(handler, say, record, emission)
    return None if say is None else say(record)


def _emission_of(handler: logging.Handler, emissions: Mapping[int, Emission]) -> Emission | None:
    rules = handler.replaced if isinstance(handler, JsonHandler) else handler
    return emissions.get(id(rules))


def exports_by_opentelemetry(handler: logging.Handler) -> bool:
    """Whether a handler is OpenTelemetry's, which exports records by a provider of the host's."""
    return any(
        kind.__name__ == "LoggingHandler" and kind.__module__.startswith("opentelemetry.")
        for kind in type(handler).__mro__
    )


def _span() -> tuple[int, int, bool]:
    """Trace id and id of the current span, and whether the trace is sampled; zeros outside."""
    active = active_span()
    if active is not None:
        record, span_id = active
        return record.trace_id, span_id, record.sampled
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return 0, 0, False
    context = api.get_current_span().get_span_context()
    return context.trace_id, context.span_id, context.trace_flags.sampled


def _install() -> None:
    inner = logging.Logger.callHandlers
    if hasattr(inner, "vitals_inner"):
        return

    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        export = active_export.current
        if export is None:
            inner(self, record)
        elif export.reads(self):
            with emitted_text.reading() as emissions:
                inner(self, record)
                export.offer(self, record, emissions)
        else:
            inner(self, record)
            export.offer(self, record)

    emitted_text.observe_filters()
    callHandlers.vitals_inner = inner  # type: ignore[attr-defined]
    logging.Logger.callHandlers = callHandlers  # type: ignore[method-assign]


def _uninstall() -> None:
    """Give the methods back, unless somebody has put another one around it."""
    emitted_text.observe_none()
    inner = getattr(logging.Logger.callHandlers, "vitals_inner", None)
    if inner is not None:
        logging.Logger.callHandlers = inner  # type: ignore[method-assign]


def join(
    name: str,
    resource: Resource,
    target: Target,
    redactor: Redactor,
    on_drop: Callable[[str, int], None],
) -> LogExport:
    """Export the logs of an application; several of one process share the export, and its target.

    Args:
        name: Its ``service.name``.
        resource: Returns the attributes of its resource; called in the process that exports.
        target: Where to; the first application's applies.
        redactor: Redacts every record.
        on_drop: Called with the reason for each record that is lost, and their number.
    """
    export = active_export.current
    if not isinstance(export, LogExport):
        export = LogExport(target, redactor, on_drop)
    export.join(name, resource, redactor, on_drop)
    active_export.current = export
    _install()
    return export


def stop(seconds: float = FLUSH_SECONDS) -> None:
    """Send what waits, and export nothing any more.

    Args:
        seconds: How long to wait.
    """
    export = active_export.current
    active_export.current = None
    _uninstall()
    if isinstance(export, LogExport):
        export.exporter.close(seconds)
