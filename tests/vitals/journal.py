"""Captures the log lines of a service."""

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
