"""Turns what structlog prints itself, past the standard library, into JSON lines.

The host's processors stay as they are and run before: one that masks still masks. Only the last one
is replaced, if it is a renderer of structlog's own. Where structlog logs through the standard
library, nothing is changed: the JSON handler reads its records.
"""

import json
from typing import Any, NoReturn

import structlog
from structlog.dev import ConsoleRenderer
from structlog.processors import JSONRenderer, KeyValueRenderer, LogfmtRenderer

from vitals.log_events import OnDrop
from vitals.logging import active_export
from vitals.logging.consoles import is_console
from vitals.logging.entries import Entry, KitEntry, entry_of_event
from vitals.logging.line_writer import LineWriter

_RENDERERS = frozenset((ConsoleRenderer, JSONRenderer, KeyValueRenderer, LogfmtRenderer))
_NOT_RENDERED = frozenset(("_record", "_from_structlog", "exc_info"))
_PRINTING_FACTORIES = (
    structlog.PrintLoggerFactory,
    structlog.WriteLoggerFactory,
    structlog.BytesLoggerFactory,
)


class StructlogOutput:
    """Takes over structlog's output, if it prints to a console, and gives it back.

    Args:
        writer: Writes the lines.
        on_drop: Called with the reason for each event that is lost.
    """

    def __init__(self, writer: LineWriter[Entry | KitEntry], on_drop: OnDrop) -> None:
        self._writer = writer
        self._on_drop = on_drop
        self._replaced: list[Any] | None = None

    def take(self) -> bool:
        """Take over; returns whether the host had reconfigured structlog since."""
        config = structlog.get_config()
        processors = config["processors"]
        if self._write in processors or not _prints(config["logger_factory"]):
            return False
        taken_before = self._replaced is not None
        self._replaced = list(processors)
        ours = self._replaced[:-1] if _only_renders(processors) else self._replaced
        _set_processors(processors, [*ours, self._write])
        return taken_before

    def give_back(self) -> None:
        """Restore the host's processors, unless it has set others."""
        processors = structlog.get_config()["processors"]
        if self._write in processors and self._replaced is not None:
            _set_processors(processors, self._replaced)
        self._replaced = None

    def _write(self, _logger: Any, method: str, event: Any) -> NoReturn:
        try:
            entry = entry_of_event(method, event)
            self._writer.put(entry, entry.size)
            if active_export.current is not None:
                active_export.current.put(entry)
        except Exception:  # noqa: BLE001  # a log call of the host must not fail
            self._on_drop("log_format")
        raise structlog.DropEvent


def _prints(factory: Any) -> bool:
    return isinstance(factory, _PRINTING_FACTORIES) and is_console(getattr(factory, "_file", None))


def _only_renders(processors: Any) -> bool:
    """Whether the last processor is a renderer: exactly structlog's, no subclass of the host's."""
    return bool(processors) and type(processors[-1]) in _RENDERERS


def _set_processors(processors: Any, to: list[Any]) -> None:
    if isinstance(processors, list):
        processors[:] = to  # in place: loggers that were bound before have the same list
    else:
        structlog.configure(processors=to)


def rendering_json(formatter: structlog.stdlib.ProcessorFormatter) -> Any:
    """A copy of a formatter that has all of its processors' work done, and renders JSON.

    A last processor that is no renderer of structlog's is kept too, with what it makes.
    """
    processors = list(formatter.processors)
    if _only_renders(processors):
        processors[-1] = _render
    return structlog.stdlib.ProcessorFormatter(
        processors=processors,
        foreign_pre_chain=formatter.foreign_pre_chain,
        logger=formatter.logger,
        pass_foreign_args=formatter.pass_foreign_args,
        use_get_message=formatter.use_get_message,
    )


def _render(_logger: Any, _method: str, event: Any) -> str:
    return json.dumps(
        {str(key): value for key, value in event.items() if key not in _NOT_RENDERED},
        default=str,
        skipkeys=True,
    )
