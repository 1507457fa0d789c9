"""The short way of a line says what the long way says, and passes nobody by."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.vitals.journal import Journal, journal
from vitals.logging.fast_log import Lines
from vitals.logging.setup import configure, release

FIELDS: dict[str, Any] = {
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "duration": 0.25,
    "http.route": "/items",
    "content": 'a "quoted" \u00e9 \n',
}


@pytest.fixture
def log() -> Iterator[Journal]:
    with journal() as kept:
        yield kept


class Hears(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.msg)


def test_both_ways_say_the_same(log: Journal) -> None:
    lines = Lines("vitals.body")
    with structlog.contextvars.bound_contextvars(request_id="abc", duration="not ours"):
        lines.info("bodies", FIELDS)
        structlog.stdlib.get_logger("vitals.body").info("bodies", **FIELDS)
    short, long = log.lines
    assert short.pop("timestamp")[:16] == long.pop("timestamp")[:16]
    assert short == long
    assert short["request_id"] == "abc"


@pytest.mark.parametrize("where", ["vitals.body", "vitals", ""])
def test_whoever_else_listens_hears(log: Journal, where: str) -> None:
    host, logger = Hears(), logging.getLogger(where)
    logger.addHandler(host)
    try:
        Lines("vitals.body").info("bodies", FIELDS)
    finally:
        logger.removeHandler(host)
    assert host.heard[0]["event"] == "bodies"
    assert len(log.lines) == 1


def test_the_hosts_own_processors_are_not_passed_by(log: Journal) -> None:
    def censor(_logger: Any, _method: str, event: Any) -> dict[str, Any]:
        return dict(event) | {"content": "censored"}

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[censor, *before])
    Lines("vitals.body").info("bodies", FIELDS)
    assert log.lines[0]["content"] == "censored"


def test_a_filter_is_asked(log: Journal) -> None:
    logger = logging.getLogger("vitals.body")

    def refuse(_record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(refuse)
    try:
        Lines("vitals.body").info("bodies", FIELDS)
    finally:
        logger.removeFilter(refuse)
    assert log.lines == []


def test_a_logger_can_be_silenced(log: Journal) -> None:
    logger = logging.getLogger("vitals.body")
    logger.setLevel(logging.WARNING)
    try:
        Lines("vitals.body").info("bodies", FIELDS)
    finally:
        logger.setLevel(logging.NOTSET)
    assert log.lines == []


def test_a_stream_of_any_encoding_takes_it() -> None:
    written = io.BytesIO()
    root = logging.getLogger()
    level, others, root.handlers = root.level, root.handlers, []
    refused: list[str] = []
    try:
        stream = io.TextIOWrapper(written, encoding="ascii")
        configure("shop", stream=stream, refuse=refused.append)
        Lines("vitals.body").info("bodies", FIELDS)
        release()
    finally:
        root.handlers = others
        root.setLevel(level)
        structlog.reset_defaults()
    assert b"\\u00e9" in written.getvalue()
    assert refused == []
