"""What a service writes to its log, read back."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from vitals.logging.setup import configure, release


class Journal:
    """The lines written since it was opened."""

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
    """Have logs written as `instrument` does, but kept here."""
    kept = Journal()
    root = logging.getLogger()
    level, others = root.level, root.handlers
    # Pytest listens, too; in a service nobody does but us.
    root.handlers = [each for each in others if not type(each).__module__.startswith("_pytest")]
    configure("shop", stream=kept.stream)
    try:
        yield kept
    finally:
        release()
        root.setLevel(level)
        root.handlers = others
        structlog.reset_defaults()
