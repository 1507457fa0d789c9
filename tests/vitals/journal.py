"""Captures the log lines of a service, and the events of the kit."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from vitals.logging.setup import configure, unconfigure


class Journal:
    """The captured log lines."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        for handler in logging.getLogger().handlers:
            handler.flush()
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == "vitals.body"]


@contextmanager
def journal() -> Iterator[Journal]:
    """Configure logging as `instrument` does, writing to memory."""
    captured = Journal()
    unconfigure()  # what an application of the test has set up
    root = logging.getLogger()
    level, others = root.level, root.handlers
    # Remove pytest's handlers: a service has only ours.
    root.handlers = [each for each in others if not type(each).__module__.startswith("_pytest")]
    configure("shop", stream=captured.stream)
    try:
        yield captured
    finally:
        unconfigure()
        root.setLevel(level)
        root.handlers = others
        structlog.reset_defaults()


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append({**vars(record), "message": record.getMessage()})


@contextmanager
def kit_events(level: int = logging.INFO) -> Iterator[list[dict[str, Any]]]:
    """Collect the attributes of the kit's log records."""
    logger, collector = logging.getLogger("vitals"), _Collector()
    before = logger.level
    logger.addHandler(collector)
    logger.setLevel(level)
    try:
        yield collector.events
    finally:
        logger.removeHandler(collector)
        logger.setLevel(before)
