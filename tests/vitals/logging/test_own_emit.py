"""A handler's ``emit`` is called once for each record, and what it masks stays masked."""

import io
import json
import logging
import logging.handlers
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from rich.console import Console
from rich.logging import RichHandler

from tests.vitals.client import fetch
from tests.vitals.logging.test_log_export import ENDPOINT, records
from tests.vitals.otlp.collector import Collector, collecting
from vitals import instrument
from vitals.logging.log_export import stop
from vitals.metrics.catalogue import DROPPED
from vitals.testing import Readings

FORMAT = logging.Formatter("%(asctime)s %(name)s: %(message)s.")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch, bare_logging: logging.Logger) -> Iterator[Collector]:
    with collecting() as server:
        monkeypatch.setenv(ENDPOINT, server.url)
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        yield server
        stop()


def start(**options: Any) -> FastAPI:
    app = FastAPI()
    instrument(app, service_name="shop", **options)
    fetch(app, "GET", "/nowhere")
    return app


def say() -> None:
    logging.getLogger("shop").warning("token secret %d", 7, extra={"order_id": 7})


class Counting(logging.StreamHandler[Any]):
    """Counts, keeps and sends, as pytest's, Sentry's and others' handlers do."""

    def __init__(self, stream: Any = None) -> None:
        super().__init__(stream)
        self.count = 0
        self.kept: list[logging.LogRecord] = []
        self.sent: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.kept.append(record)
        self.sent.append(self.format(record))
        super().emit(record)


class MaskingCopy(logging.StreamHandler[Any]):
    """Masks a copy of the record: the host's other handlers get the original."""

    def emit(self, record: logging.LogRecord) -> None:
        masked = logging.makeLogRecord(vars(record))
        masked.msg, masked.args = record.getMessage().replace("secret", "***"), ()
        super().emit(masked)


class MaskingText(logging.StreamHandler[Any]):
    """Masks the text that it writes, and writes it by itself."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record).replace("secret", "***"), file=self.stream)


class MaskingBytes(logging.StreamHandler[Any]):
    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record).replace("secret", "***") + self.terminator
        self.stream.buffer.write(text.encode())


class Unlocked(MaskingText):
    """As handlers that need no lock are."""

    def createLock(self) -> None:  # noqa: N802  # logging's name
        self.lock = None


class Failing(logging.StreamHandler[Any]):
    """Fails before it has masked."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            dict[str, int]()[record.name]
        except LookupError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        print("host's own", record.name, file=self.stream)


class Elsewhere(logging.StreamHandler[Any]):
    """Writes elsewhere, as handlers for progress bars do."""

    written: list[str] = []  # noqa: RUF012  # of this test

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))


MASKING = [MaskingCopy, MaskingText, MaskingBytes, Unlocked]


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


@pytest.mark.parametrize("logs", ["host", "json"])
def test_a_handler_emits_each_record_once_whole_and_in_its_own_format(
    collector: Collector, logs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = Counting()
    handler.setFormatter(FORMAT)
    logging.root.addHandler(handler)
    logging.getLogger("shop").addHandler(handler)  # and once more on its way to the root logger
    start(logs=logs)
    before = handler.count
    stream = handler.stream
    try:
        int("x")
    except ValueError:
        logging.getLogger("other").exception("no apples")
    assert handler.count == before + 1
    assert len(handler.kept) == len(handler.sent) == handler.count, "no copy has emitted it, too"
    kept = handler.kept[-1]
    assert kept.exc_info
    assert kept.exc_info[0] is ValueError
    assert "other: no apples.\nTraceback (most recent call last)" in handler.sent[-1]
    assert "no apples" in records(collector)
    say()
    assert handler.count == before + 3, "once for each logger that has it"
    assert handler.stream is stream
    assert "handleError" not in vars(handler)
    handler.flush()
    output = capsys.readouterr()
    if logs == "host":
        assert output.err.count("token secret 7.") == 2
    stop()
    assert Counting.emit is vars(Counting)["emit"]
    assert Counting.emit.__qualname__ == "Counting.emit"


@pytest.mark.parametrize("kind", MASKING)
def test_what_emit_masks_is_exported_masked_and_written_once(
    collector: Collector, kind: type[logging.StreamHandler[Any]]
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
    handler = kind(stream)
    handler.setFormatter(FORMAT)
    logging.root.addHandler(handler)
    start()
    say()
    try:
        int("x")
    except ValueError:
        logging.getLogger("shop").exception("no secret")
    found = records(collector)
    assert {"token *** 7", "no ***"} <= found.keys()
    assert b"secret" not in b"".join(collector.bodies)
    assert written(stream).count("shop: token *** 7.\n") == 1
    assert handler.stream is stream


@pytest.mark.parametrize("kind", MASKING)
def test_what_emit_masks_is_a_masked_json_line(
    bare_logging: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    kind: type[logging.StreamHandler[Any]],
) -> None:
    handler = kind()
    handler.setFormatter(FORMAT)
    bare_logging.addHandler(handler)
    start(logs="json")
    say()
    for each in bare_logging.handlers:
        each.flush()
    output = capsys.readouterr()
    lines = [json.loads(each) for each in output.out.splitlines()]
    (line,) = [each for each in lines if each["logger"] == "shop"]  # a busy machine blocks the loop
    assert (line["event"], line["order_id"]) == ("token *** 7", 7)
    assert output.err == ""


@pytest.mark.parametrize("logs", ["host", "json"])
def test_a_handler_that_fails_may_not_have_masked_and_costs_its_record(
    collector: Collector, logs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.root.addHandler(Failing())
    app = start(logs=logs)
    say()
    assert "token secret 7" not in records(collector)
    assert Readings.of(app).value(DROPPED, reason="log_format") >= 1
    output = capsys.readouterr()
    assert output.err.count("host's own shop") == (logs == "host"), "its own handleError"


def test_an_exception_of_emit_reaches_the_caller_as_before(collector: Collector) -> None:
    class Raising(logging.StreamHandler[Any]):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError(record.name)

    handler = Raising(io.StringIO())
    stream = handler.stream
    start()
    logging.root.addHandler(handler)
    with pytest.raises(LookupError, match="shop"):
        say()
    assert handler.stream is stream
    logging.root.removeHandler(handler)
    say()
    assert "token secret 7" in records(collector)


def test_a_handler_that_writes_elsewhere_is_worded_by_its_format(collector: Collector) -> None:
    logging.root.addHandler(Elsewhere(io.StringIO()))
    start()
    Elsewhere.written.clear()
    say()
    assert "token secret 7" in records(collector)
    assert Elsewhere.written == ["token secret 7"]


def test_a_handlers_lock_is_held_while_its_stream_is_read(collector: Collector) -> None:
    """Many threads log at once, and each record is worded by what was written of it."""
    handler = MaskingText(io.StringIO())
    logging.root.addHandler(handler)
    stream = handler.stream
    start()

    def log(thread: int) -> None:
        for number in range(50):
            logging.getLogger("shop").warning("secret %d of %d", number, thread)

    threads = [threading.Thread(target=log, args=(each,)) for each in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    wanted = {f"*** {number} of {thread}" for number in range(50) for thread in range(4)}
    assert wanted <= records(collector).keys()
    assert {line for line in stream.getvalue().splitlines() if "***" in line} == wanted
    assert handler.stream is stream


def test_a_log_call_within_emit_is_exported_too(collector: Collector) -> None:
    class Nested(MaskingText):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "shop":
                logging.getLogger("inner").warning("of the secret kind")
            super().emit(record)

    logging.root.addHandler(Nested(io.StringIO()))
    start()
    say()
    assert {"of the *** kind", "token *** 7"} <= records(collector).keys()


def test_a_file_that_begins_anew_is_not_emitted_twice(collector: Collector, tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=60, backupCount=20, delay=True)
    logging.root.addHandler(handler)
    start()
    for number in range(10):
        logging.getLogger("shop").warning("a line of some length, number %d", number)
    handler.close()
    text = "".join(each.read_text() for each in tmp_path.iterdir())
    assert sorted(line for line in text.splitlines() if "number" in line) == [
        f"a line of some length, number {number}" for number in range(10)
    ]
    assert len([each for each in records(collector) if "number" in each]) == 10


def test_rich_and_queues_get_each_record_once(collector: Collector) -> None:
    drawn, kept = io.StringIO(), queue.Queue[logging.LogRecord]()
    logging.root.addHandler(RichHandler(console=Console(file=drawn, width=200)))
    logging.root.addHandler(logging.handlers.QueueHandler(kept))
    start()
    while not kept.empty():
        kept.get()
    say()
    assert "token secret 7" in records(collector)
    assert drawn.getvalue().count("token secret 7") == 1
    assert kept.get_nowait().getMessage() == "token secret 7"
    assert kept.empty()


def test_pytests_own_handler_keeps_each_record_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as server:
        monkeypatch.setenv(ENDPOINT, server.url)
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        start()
        say()
        try:
            assert "token secret 7" in records(server)
        finally:
            stop()
    assert caplog.messages.count("token secret 7") == 1
    assert caplog.text.count("token secret 7") == 1


def test_a_class_whose_emit_is_replaced_meanwhile_keeps_the_new_one(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inheriting(MaskingText):
        """Has the ``emit`` of its base."""

    logging.root.addHandler(Inheriting(io.StringIO()))
    start()
    say()
    assert "emit" in vars(Inheriting)
    replaced: Callable[..., None] = lambda *_: None  # noqa: E731
    monkeypatch.setattr(MaskingText, "emit", replaced)
    stop()
    assert "emit" not in vars(Inheriting)
    assert MaskingText.emit is replaced
