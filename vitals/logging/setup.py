"""JSON log lines on standard output, in place of what the host writes to the console.

``instrument(logs="json")`` asks for it. Every handler that writes to the console, of the root
logger or another one, is replaced by one that follows its level and filters; files, sockets and
other handlers stay, and so do the levels of loggers, unless nothing had been set up. Bodies, query
strings and headers are never logged here, and every line is redacted.
"""

import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Optional, TextIO

from vitals.log_events import OnDrop, ignore
from vitals.logging import record_context
from vitals.logging.consoles import is_of_pytest, writes_to_console
from vitals.logging.entries import Entry, KitEntry
from vitals.logging.json_handler import JsonHandler
from vitals.logging.json_lines import JsonLines
from vitals.logging.line_writer import LineWriter
from vitals.redactor import Redactor

if TYPE_CHECKING:
    from vitals.logging.structlog_output import StructlogOutput

VERBOSE_LOGGERS = ("httpx", "httpcore")
"""Loggers that write full URLs at INFO, including query strings with tokens."""

ECHO_LOGGER = "sqlalchemy.engine.Engine"
"""SQLAlchemy gives this logger a handler for an engine with ``echo=True``, unless it has one."""


class JsonOutput:
    """The process's JSON output.

    Args:
        service_name: ``service.name`` of lines outside of a request.
        stream: Where lines are written; standard output when None.
        level: The least severe level that is written, if the host has set up nothing.
        on_drop: Called with the reason for each line that is dropped.
        redactor: Redacts every line.
    """

    def __init__(
        self,
        service_name: str,
        stream: TextIO | None,
        level: int,
        on_drop: OnDrop,
        redactor: Redactor,
    ) -> None:
        self._lines = JsonLines(service_name, redactor)
        self._follows_stdout = stream is None
        self._on_drop = on_drop
        self._writer: LineWriter[Entry | KitEntry] = LineWriter(
            stream or sys.stdout, self._lines.render, self._drop, self._lines.prepare
        )
        self._lock = threading.RLock()
        self._levels: dict[logging.Logger, tuple[int, int]] = {}
        self._echo_handler = logging.NullHandler()
        self._structlog = _structlog_output(self._writer, self._drop)
        root = logging.getLogger()
        has_handlers = not all(is_of_pytest(each) for each in root.handlers)
        if not has_handlers and root.level == logging.WARNING:  # nothing is set up
            self._set_level(root, level)
            for name in VERBOSE_LOGGERS:
                if logging.getLogger(name).level == logging.NOTSET:
                    self._set_level(logging.getLogger(name), max(level, logging.WARNING))
        self._captures_warnings = not _captures_warnings()
        if self._captures_warnings:  # otherwise they go to standard error, not redacted
            logging.captureWarnings(True)
        self.take()

    def join(self, on_drop: OnDrop, redactor: Redactor) -> None:
        """Write the lines of one more application, which counts what is dropped from now on."""
        self._on_drop = on_drop
        self._lines.add_redactor(redactor)
        if self._follows_stdout and self._writer.stream is not sys.stdout:
            self._writer.flush()
            self._writer.stream = sys.stdout
        self.take()

    def _drop(self, reason: str) -> None:
        self._on_drop(reason)

    def take(self) -> None:
        """Take over what writes to the console."""
        with self._lock:
            self._take()

    def _take(self) -> None:
        root = logging.getLogger()
        for logger in _loggers():
            for place, handler in enumerate(logger.handlers):
                if isinstance(handler, JsonHandler) and not self._is_ours(handler):
                    # Of an output that was closed: the host has put it back.
                    logger.handlers[place] = self._handler(handler.replaced)
                elif not isinstance(handler, JsonHandler) and writes_to_console(handler):
                    logger.handlers[place] = self._handler(handler)
        if not self._is_attached():
            root.addHandler(self._handler(None))
        echo = logging.getLogger(ECHO_LOGGER)
        if not echo.handlers:
            echo.addHandler(self._echo_handler)
        if self._structlog is not None and self._structlog.take():
            self._on_drop("structlog")

    def check(self) -> None:
        """Take over again what the host has set up since."""
        with self._lock:
            if not self._is_attached():
                self._on_drop("log_handler")
            self._take()

    def close(self) -> None:
        """Flush the queue, and give everything back."""
        for logger in _loggers():
            for handler in [held for held in logger.handlers if isinstance(held, JsonHandler)]:
                place = logger.handlers.index(handler)
                logger.handlers[place : place + 1] = [handler.replaced] if handler.replaced else []
                handler.close()
        logging.getLogger(ECHO_LOGGER).removeHandler(self._echo_handler)
        for logger, (before, ours) in self._levels.items():
            if logger.level == ours:
                logger.setLevel(before)
        if self._captures_warnings:
            logging.captureWarnings(False)
        if self._structlog is not None:
            self._structlog.give_back()
        self._writer.close()

    def write_at_once(self, at_once: bool) -> None:  # noqa: FBT001  # a switch
        """Whether a log call returns only when its line is written."""
        self._writer.waits = at_once and self._writer.flush()

    def _is_attached(self) -> bool:
        return any(self._is_ours(handler) for handler in logging.getLogger().handlers)

    def _is_ours(self, handler: logging.Handler) -> bool:
        return isinstance(handler, JsonHandler) and handler.writer is self._writer

    def _handler(self, replaced: logging.Handler | None) -> JsonHandler:
        return JsonHandler(self._writer, self._drop, replaced)

    def _set_level(self, logger: logging.Logger, level: int) -> None:
        self._levels[logger] = logger.level, level
        logger.setLevel(level)


def _structlog_output(
    writer: LineWriter[Entry | KitEntry], on_drop: OnDrop
) -> Optional["StructlogOutput"]:
    try:
        from vitals.logging.structlog_output import StructlogOutput  # noqa: PLC0415  # optional
    except ImportError:
        return None
    return StructlogOutput(writer, on_drop)


def _loggers() -> list[logging.Logger]:
    """Every logger, the root logger first."""
    made = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(each for each in made if isinstance(each, logging.Logger))]


def _captures_warnings() -> bool:
    return getattr(logging, "_warnings_showwarning", None) is not None


_output: JsonOutput | None = None
_serving = 0
"""Applications whose lifespan has begun and not ended."""


def configure(
    service_name: str,
    *,
    stream: TextIO | None = None,
    level: int = logging.INFO,
    on_drop: OnDrop = ignore,
    redactor: Redactor | None = None,
) -> None:
    """Write JSON lines in place of what the host writes to the console, once per process.

    Args:
        service_name: ``service.name`` of lines outside of a request.
        stream: The stream; standard output when None.
        level: The least severe level that is written, if the host has set up nothing.
        on_drop: Called with the reason for each line that is dropped.
        redactor: Redacts every line; a default one when None.
    """
    global _output  # noqa: PLW0603  # logging is one for the process
    unconfigure()
    record_context.install()
    _output = JsonOutput(service_name, stream, level, on_drop, redactor or Redactor())


def join(service_name: str, on_drop: OnDrop, redactor: Redactor) -> None:
    """Write an application's lines as JSON; several applications share the process's output.

    The redaction of each applies to every line; lines of its requests have its name.
    """
    if _output is None:
        configure(service_name, on_drop=on_drop, redactor=redactor)
    else:
        _output.join(on_drop, redactor)


def check() -> None:
    """Take over again what the host has set up since `configure`, if that was called."""
    if _output is not None:
        _output.check()


@asynccontextmanager
async def serving() -> AsyncIterator[None]:
    """Write lines at once when no application serves any more.

    A server that was stopped by a signal ends itself by that signal, which runs no exit handlers.
    """
    global _serving  # noqa: PLW0603
    _serving += 1
    if _output is not None:
        _output.write_at_once(False)
    try:
        yield
    finally:
        _serving -= 1
        if not _serving and _output is not None:
            _output.write_at_once(True)


def unconfigure() -> None:
    """Flush the queue, and give back what `configure` took."""
    global _output  # noqa: PLW0603
    if _output is not None:
        _output.close()
        _output = None
