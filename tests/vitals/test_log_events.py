"""Events of the kit: the JSON handler writes them without a record where nobody would see one."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.vitals.journal import Journal, journal
from vitals.log_events import EventLog
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
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def write(level: int = logging.INFO) -> None:
    EventLog("vitals.body", service_name="shop").write(
        level, "bodies", "after %(duration).2f s", FIELDS
    )


def passing(_record: logging.LogRecord) -> bool:
    return True


def rejecting(_record: logging.LogRecord) -> bool:
    return False


@pytest.mark.parametrize("bound", [{}, {"request_id": "abc", "password": "planted"}])
def test_a_line_is_the_same_with_a_record_and_without(log: Journal, bound: dict[str, str]) -> None:
    logger = logging.getLogger("vitals.body")
    with structlog.contextvars.bound_contextvars(**bound):
        write()
        logger.addFilter(passing)
        write()
        logger.removeFilter(passing)
    short, long = log.lines
    assert short.pop("timestamp")[:16] == long.pop("timestamp")[:16]
    assert short == long
    assert short["content"] == FIELDS["content"]
    assert short.get("request_id") == bound.get("request_id")
    assert "planted" not in log.text


@pytest.mark.parametrize("where", ["vitals.body", "vitals", ""])
def test_other_handlers_get_a_record_too(log: Journal, where: str) -> None:
    host, logger = RecordingHandler(), logging.getLogger(where)
    logger.addHandler(host)
    try:
        write()
    finally:
        logger.removeHandler(host)
    (record,) = host.records
    assert record.getMessage() == "bodies: after 0.25 s"
    assert vars(record)["http.route"] == "/items"
    assert len(log.lines) == 1


@pytest.mark.parametrize("where", ["logger", "handler"])
def test_filters_apply(log: Journal, where: str) -> None:
    logger = logging.getLogger("vitals.body")
    filtered: Any = logger if where == "logger" else logging.getLogger().handlers[0]
    filtered.addFilter(rejecting)
    try:
        write()
    finally:
        filtered.removeFilter(rejecting)
    assert log.lines == []


@pytest.mark.parametrize("where", ["logger", "handler"])
def test_a_level_silences(log: Journal, where: str) -> None:
    logger = logging.getLogger("vitals.body")
    levelled: Any = logger if where == "logger" else logging.getLogger().handlers[0]
    levelled.setLevel(logging.WARNING)
    try:
        write()
        write(logging.ERROR)
    finally:
        levelled.setLevel(logging.NOTSET)
    assert [line["level"] for line in log.lines] == ["error"]


def test_a_record_factory_of_the_hosts_adds_its_fields(log: Journal) -> None:
    inner = logging.getLogRecordFactory()

    class Record(logging.LogRecord):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.tenant = "acme"

    logging.setLogRecordFactory(Record)
    try:
        write()
    finally:
        logging.setLogRecordFactory(inner)
    assert log.lines[0]["tenant"] == "acme"


def test_a_line_is_ascii_whatever_the_streams_encoding() -> None:
    written = io.BytesIO()
    root = logging.getLogger()
    level, others, root.handlers = root.level, root.handlers, []
    dropped: list[str] = []
    try:
        stream = io.TextIOWrapper(written, encoding="ascii")
        configure("shop", stream=stream, on_drop=dropped.append)
        write(logging.WARNING)
        unconfigure()
    finally:
        root.handlers = others
        root.setLevel(level)
    assert b"\\u00e9" in written.getvalue()
    assert dropped == []
