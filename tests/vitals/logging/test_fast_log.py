"""The fast path writes the same lines as structlog, and bypasses no other handler."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.vitals.journal import Journal, journal
from vitals.logging.fast_log import FastLogger
from vitals.logging.setup import configure, unconfigure

FIELDS: dict[str, Any] = {
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "duration": 0.25,
    "http.route": "/items",
    "content": 'a "quoted" \u00e9 \n',
}


@pytest.fixture
def log() -> Iterator[Journal]:
    with journal() as captured:
        yield captured


class RecordingHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.msg)


def test_the_fast_path_writes_the_same_as_structlog(log: Journal) -> None:
    lines = FastLogger("vitals.body")
    with structlog.contextvars.bound_contextvars(request_id="abc", duration="not ours"):
        lines.info("bodies", FIELDS)
        structlog.stdlib.get_logger("vitals.body").info("bodies", **FIELDS)
    short, long = log.lines
    assert short.pop("timestamp")[:16] == long.pop("timestamp")[:16]
    assert short == long
    assert short["request_id"] == "abc"


@pytest.mark.parametrize("where", ["vitals.body", "vitals", ""])
def test_other_handlers_get_the_event_too(log: Journal, where: str) -> None:
    host, logger = RecordingHandler(), logging.getLogger(where)
    logger.addHandler(host)
    try:
        FastLogger("vitals.body").info("bodies", FIELDS)
    finally:
        logger.removeHandler(host)
    assert host.messages[0]["event"] == "bodies"
    assert len(log.lines) == 1


def test_other_processors_disable_the_fast_path(log: Journal) -> None:
    def censor(_logger: Any, _method: str, event: Any) -> dict[str, Any]:
        return dict(event) | {"content": "censored"}

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[censor, *before])
    FastLogger("vitals.body").info("bodies", FIELDS)
    assert log.lines[0]["content"] == "censored"


def test_filters_apply(log: Journal) -> None:
    logger = logging.getLogger("vitals.body")

    def reject(_record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(reject)
    try:
        FastLogger("vitals.body").info("bodies", FIELDS)
    finally:
        logger.removeFilter(reject)
    assert log.lines == []


def test_a_logger_can_be_silenced(log: Journal) -> None:
    logger = logging.getLogger("vitals.body")
    logger.setLevel(logging.WARNING)
    try:
        FastLogger("vitals.body").info("bodies", FIELDS)
    finally:
        logger.setLevel(logging.NOTSET)
    assert log.lines == []


def test_any_stream_encoding_works() -> None:
    written = io.BytesIO()
    root = logging.getLogger()
    level, others, root.handlers = root.level, root.handlers, []
    dropped: list[str] = []
    try:
        stream = io.TextIOWrapper(written, encoding="ascii")
        configure("shop", stream=stream, on_drop=dropped.append)
        FastLogger("vitals.body").info("bodies", FIELDS)
        unconfigure()
    finally:
        root.handlers = others
        root.setLevel(level)
        structlog.reset_defaults()
    assert b"\\u00e9" in written.getvalue()
    assert dropped == []
