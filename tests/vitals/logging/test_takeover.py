"""JSON lines take the place of the console's, by the rules of the handlers that wrote there."""

import io
import json
import logging
import logging.config
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi import FastAPI

from tests.vitals.client import fetch
from vitals import Redaction, instrument
from vitals.logging import setup
from vitals.logging.json_handler import JsonHandler
from vitals.metrics.catalogue import DROPPED
from vitals.testing import Readings

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(bare_logging: logging.Logger, capsys: pytest.CaptureFixture[str]) -> Lines:
    """Reads the lines on standard output; nothing else may be written there, or beside it."""

    def read() -> list[dict[str, Any]]:
        for handler in bare_logging.handlers:
            handler.flush()
        output = capsys.readouterr()
        assert output.err == ""
        return [json.loads(line) for line in output.out.splitlines()]

    return read


def start(**options: Any) -> FastAPI:
    app = FastAPI()
    instrument(app, logs="json", **options)
    return app


def say(level: int = logging.WARNING, **options: Any) -> None:
    logging.getLogger("shop").log(level, "token secret", **options)


class Mask(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace("secret", "***")
        return True


class Copying(logging.Filter):
    """Returns another record, as filters may since Python 3.12; before, it changes it."""

    def filter(self, record: logging.LogRecord) -> Any:
        copied = logging.makeLogRecord(vars(record))
        copied.msg = "token ***"
        if sys.version_info >= (3, 12):
            return copied
        record.msg = copied.msg
        return True


class MaskingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("secret", "***")


class MaskingMessages(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        return super().formatMessage(record).replace("secret", "***")


class Colourful(logging.Formatter):
    """Formats each level its own way, as a much copied one does."""

    def format(self, record: logging.LogRecord) -> str:
        own = f"\x1b[33m%(asctime)s {record.levelname}: %(message)s\x1b[0m (%(filename)s)"
        return logging.Formatter(own).format(record)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage().replace("secret", "***")
        return json.dumps({"message": message, "tenant": "acme", "level": record.levelname})


class MaskingHandler(logging.StreamHandler[Any]):
    def emit(self, record: logging.LogRecord) -> None:
        record.msg = str(record.msg).replace("secret", "***")
        super().emit(record)


class FormattingHandler(logging.StreamHandler[Any]):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("secret", "***")


def mask(_logger: Any, _method: str, event: Any) -> dict[str, Any]:
    return {key: str(value).replace("secret", "***") for key, value in event.items()}


def mask_note(_logger: Any, _method: str, event: Any) -> Any:
    return {**event, "note": "***"}


def mask_text(_logger: Any, _method: str, text: str) -> str:
    return text.replace("secret", "***")


def with_filter(filter_: logging.Filter) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.addFilter(filter_)
    return handler


def with_formatter(formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    return handler


MASKING: dict[str, Callable[[], logging.Handler]] = {
    "filter": lambda: with_filter(Mask()),
    "copying filter": lambda: with_filter(Copying()),
    "formatter": lambda: with_formatter(MaskingFormatter("%(asctime)s %(name)s: %(message)s")),
    "formatted message": lambda: with_formatter(MaskingMessages("%(levelname)s %(message)s")),
    "JSON formatter": lambda: with_formatter(JsonFormatter()),
    "emit": MaskingHandler,
    "format": FormattingHandler,
    "structlog's formatter": lambda: with_formatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                mask,
                structlog.dev.ConsoleRenderer(),
            ]
        )
    ),
    "structlog's formatter, before": lambda: with_formatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[mask], processors=[structlog.processors.KeyValueRenderer()]
        )
    ),
    "structlog's formatter, after": lambda: with_formatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                mask_text,  # type: ignore[list-item]
            ]
        )
    ),
}


@pytest.mark.parametrize("order", ["host first", "kit first"])
@pytest.mark.parametrize("kind", MASKING)
def test_what_masks_a_secret_still_masks_it(
    lines: Lines, bare_logging: logging.Logger, kind: str, order: str
) -> None:
    if order == "host first":
        bare_logging.addHandler(MASKING[kind]())
    app = start()
    if order == "kit first":
        bare_logging.handlers = [MASKING[kind]()]
    fetch(app, "GET", "/nowhere")
    say(extra={"order_id": 7})
    (line,) = [each for each in lines() if each["logger"] == "shop"]
    assert line["event"] == "token ***"
    assert line["level"] == "warning"
    assert line["order_id"] == 7
    assert line.get("tenant") == ("acme" if kind == "JSON formatter" else None)


def test_a_formatter_that_only_adorns_changes_no_event(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    bare_logging.addHandler(with_formatter(Colourful()))
    start()
    logging.getLogger("shop").warning("%d apples", 7)
    try:
        int("x")
    except ValueError:
        logging.getLogger("shop").exception("no apples")
    plain, failed = lines()
    assert plain["event"] == "7 apples"
    assert failed["event"] == "no apples"
    assert failed["exception"][0]["exc_type"] == "ValueError"


def test_levels_of_handlers_and_loggers_are_kept(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    bare_logging.addHandler(handler)
    bare_logging.setLevel(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    logging.getLogger("quiet").setLevel(logging.ERROR)
    start()
    say(logging.INFO)
    logging.getLogger("quiet").warning("no")
    assert lines() == []
    assert logging.getLogger("httpx").level == bare_logging.level == logging.DEBUG
    handler.setLevel(logging.INFO)  # the host goes on using what it knows
    say(logging.INFO)
    assert len(lines()) == 1
    bare_logging.handlers[0].setLevel(logging.ERROR)
    say()
    assert lines() == []
    assert handler.level == logging.ERROR


@pytest.mark.parametrize("level", [logging.ERROR, logging.INFO])
def test_the_root_level_of_a_host_without_handlers_is_kept(
    lines: Lines, bare_logging: logging.Logger, level: int
) -> None:
    bare_logging.setLevel(level)
    start()
    assert bare_logging.level == level


def test_where_nothing_is_set_up_info_is_written_but_no_urls(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    start()
    say(logging.INFO)
    logging.getLogger("httpx").info("GET http://x/?token=secret")
    assert [line["logger"] for line in lines()] == ["shop"]
    setup.unconfigure()
    assert bare_logging.level == logging.WARNING
    assert logging.getLogger("httpx").level == logging.NOTSET
    assert bare_logging.handlers == []


def test_a_stream_per_level_becomes_one_line_per_record(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    low, high = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    low.addFilter(lambda record: record.levelno < logging.WARNING)
    high.setLevel(logging.WARNING)
    shop = logging.StreamHandler(sys.stderr)  # and one more on a logger that propagates
    logging.getLogger("shop").addHandler(shop)
    for handler in (low, high):
        bare_logging.addHandler(handler)
    bare_logging.setLevel(logging.INFO)
    start()
    say(logging.INFO)
    say(logging.ERROR)
    logging.getLogger("other").info("low")
    logging.getLogger("other").error("high")
    assert [line["level"] for line in lines()] == ["info", "error", "info", "error"]
    setup.unconfigure()
    assert bare_logging.handlers == [low, high]
    assert logging.getLogger("shop").handlers == [shop]


def test_other_handlers_stay(lines: Lines, bare_logging: logging.Logger, tmp_path: Path) -> None:
    class Memory(logging.Handler):
        records: list[logging.LogRecord] = []  # noqa: RUF012  # of this test

        def emit(self, record: logging.LogRecord) -> None:
            self.records.append(record)

    file, memory = logging.FileHandler(tmp_path / "log"), Memory()
    file.setFormatter(logging.Formatter("HOST %(message)s"))
    for handler in (file, memory, logging.StreamHandler()):
        bare_logging.addHandler(handler)
    start()
    say()
    assert (tmp_path / "log").read_text() == "HOST token secret\n"
    assert [record.getMessage() for record in memory.records] == ["token secret"]
    assert len(lines()) == 1
    file.close()


def test_servers_handlers_become_json_and_keep_their_loggers(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    access = logging.getLogger("uvicorn.access")
    access.addHandler(logging.StreamHandler(sys.stdout))
    access.setLevel(logging.INFO)
    access.propagate = False
    app = FastAPI()

    @app.get("/open/{secret}")
    async def show(secret: str) -> None:
        access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", f"/open/{secret}", "1.1", 200)

    instrument(app, logs="json")
    fetch(app, "GET", "/open/planted")
    access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/metrics?x=planted", "1.1", 200)
    assert [line["event"] for line in lines()] == [
        '1.2.3.4:5 - "GET /open/{secret} HTTP/1.1" 200',
        '1.2.3.4:5 - "GET /metrics HTTP/1.1" 200',
    ]
    assert access.level == logging.INFO
    assert not access.propagate


PROCESSORS: dict[str, list[Any]] = {
    "JSON": [mask, structlog.processors.JSONRenderer()],
    "key-value": [mask, structlog.processors.KeyValueRenderer()],
    "console": [structlog.processors.add_log_level, mask, structlog.dev.ConsoleRenderer()],
    "text masked": [structlog.processors.JSONRenderer(), mask_text],
}


@pytest.mark.parametrize("container", [list, tuple])
@pytest.mark.parametrize("order", ["host first", "kit first"])
@pytest.mark.parametrize("kind", PROCESSORS)
def test_structlogs_processors_run_before(
    lines: Lines, kind: str, order: str, container: type[list[Any]]
) -> None:
    app = start() if order == "kit first" else None
    before = container(PROCESSORS[kind])
    structlog.configure(
        processors=before,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=container is list,  # a tuple cannot be replaced in place
    )
    log = structlog.get_logger("shop", tenant="acme")
    log.debug("cached while it prints nothing")
    app = app or start()
    fetch(app, "GET", "/nowhere")
    log.warning("login", note="the secret", n=1)
    log.debug("too low")
    structlog.get_logger("shop").info("next")
    line, after = lines()
    assert (line["event"], line["note"], line["tenant"]) == ("login", "the ***", "acme")
    assert (line["level"], after["level"]) == ("warning", "info")
    setup.unconfigure()
    assert list(structlog.get_config()["processors"]) == PROCESSORS[kind]


def test_structlog_on_the_standard_library_is_left_as_it_is(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    processors: list[Any] = [
        mask,
        structlog.stdlib.add_log_level,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *processors],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    before = structlog.get_config()
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    bare_logging.addHandler(handler)
    start()
    structlog.get_logger("shop").warning("login", note="the secret")
    structlog.get_logger("shop").info("below the root logger's level")
    (line,) = lines()
    assert (line["event"], line["note"], line["logger"]) == ("login", "the ***", "shop")
    assert structlog.get_config() == before


def test_structlogs_records_for_its_formatter_keep_their_fields(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    structlog.configure(
        processors=[mask_note, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    bare_logging.addHandler(logging.StreamHandler())
    start()
    try:
        int("planted")
    except ValueError as error:
        structlog.get_logger("shop").warning("login", note="secret", exc_info=error)
        structlog.get_logger("shop").exception("again", note="secret")
    for line in lines():
        assert (line["note"], line["logger"]) == ("***", "shop")
        assert line["exception"][0]["exc_type"] == "ValueError"
        assert "planted" not in str(line)


CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"mask": {"()": Mask}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "level": "ERROR", "filters": ["mask"]}
    },
    "root": {"level": "DEBUG", "handlers": ["console"]},
}


@pytest.mark.parametrize("order", ["host first", "kit first", "while it serves"])
def test_a_configuration_of_the_hosts_in_any_order(
    lines: Lines, bare_logging: logging.Logger, order: str
) -> None:
    if order == "host first":
        logging.config.dictConfig(CONFIG)
    app = start()
    if order == "while it serves":
        fetch(app, "GET", "/nowhere")
    if order != "host first":
        logging.config.dictConfig(CONFIG)
    fetch(app, "GET", "/metrics")
    say(logging.ERROR)
    say(logging.WARNING)
    assert [line["event"] for line in lines()] == ["token ***"]
    assert bare_logging.level == logging.DEBUG
    readings = Readings.of(app)
    assert readings.value(DROPPED, reason="log_handler") == (order != "host first")
    assert readings.value(DROPPED, reason="logs") == 0


@pytest.mark.parametrize("change", ["removed", "known one removed", "force", "closed"])
def test_a_handler_that_is_lost_is_noticed_and_replaced(
    lines: Lines, bare_logging: logging.Logger, change: str
) -> None:
    known = logging.StreamHandler()
    bare_logging.addHandler(known)
    app = start()
    if change == "removed":
        bare_logging.handlers.clear()
    elif change == "known one removed":
        bare_logging.removeHandler(known)
        assert bare_logging.handlers == []
    elif change == "force":
        logging.basicConfig(force=True)
    else:
        logging.shutdown()
    fetch(app, "GET", "/metrics")
    say()
    assert [line["event"] for line in lines()] == ["token secret"]
    assert Readings.of(app).value(DROPPED, reason="log_handler") == (change != "closed")


def test_adding_the_replaced_handler_again_doubles_nothing(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    known = logging.StreamHandler()
    bare_logging.addHandler(known)
    start()
    bare_logging.addHandler(known)
    assert [type(each) for each in bare_logging.handlers] == [JsonHandler]


def test_handlers_that_are_put_back_after_the_end_are_replaced_again(
    lines: Lines, bare_logging: logging.Logger
) -> None:
    known = logging.StreamHandler()
    known.addFilter(Mask())
    bare_logging.addHandler(known)
    start()
    saved = list(bare_logging.handlers)
    setup.unconfigure()
    bare_logging.handlers = saved
    start()
    say()
    assert [line["event"] for line in lines()] == ["token ***"]
    setup.unconfigure()
    assert bare_logging.handlers == [known]


def test_structlog_configured_while_it_serves_is_noticed(lines: Lines) -> None:
    app = start()
    fetch(app, "GET", "/nowhere")
    structlog.configure(processors=[mask, structlog.processors.JSONRenderer()])
    fetch(app, "GET", "/metrics")
    structlog.get_logger().info("login", note="secret")
    assert lines()[-1]["note"] == "***"
    assert Readings.of(app).value(DROPPED, reason="structlog") == 1


def test_two_applications_share_the_output(lines: Lines) -> None:
    apps = []
    for name in ("one", "two"):
        app = FastAPI()

        @app.get("/log")
        async def log() -> None:
            logging.getLogger("shop").warning("x", extra={"customer_no": "K-1"})

        redaction = Redaction(names=["customer_no"]) if name == "two" else None
        instrument(app, logs="json", service_name=name, redaction=redaction)
        apps.append(app)
    for app in apps:
        fetch(app, "GET", "/log")
    say()
    found = lines()
    assert [line["service.name"] for line in found] == ["one", "two", "one"]
    assert [line.get("customer_no") for line in found] == ["[redacted]", "[redacted]", None]


def test_warnings_are_lines_and_their_capture_ends_with_it(lines: Lines) -> None:
    start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("password=planted", stacklevel=1)
    (line,) = lines()
    assert line["logger"] == "py.warnings"
    assert "planted" not in line["event"]
    setup.unconfigure()
    assert warnings.showwarning.__module__ == "warnings"


def test_a_field_that_cannot_be_written_costs_only_itself(lines: Lines) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise LookupError

    cycle: list[Any] = []
    cycle.append(cycle)
    start()
    say(extra={"bad": Unprintable(), "cycle": cycle, "large": 10**400, "odd": "\ud800"})
    (line,) = lines()
    assert line["bad"] == "<unprintable Unprintable>"
    assert line["event"] == "token secret"


def test_a_field_that_changes_later_is_written_as_it_was(lines: Lines) -> None:
    start()
    changing = {"items": [1]}
    say(extra={"changing": changing})
    changing["items"].append(2)
    changing.clear()
    assert lines()[0]["changing"] == {"items": [1]}


def test_fields_with_names_of_ours_are_kept_apart(lines: Lines) -> None:
    start()
    extra = {"event": "e", "level": "l", "service.name": "s", "trace_id": "password=planted"}
    say(extra=extra)
    (line,) = lines()
    assert (line["event"], line["level"]) == ("token secret", "warning")
    assert (line["service.name"], line["extra.service.name"]) == ("api", "s")
    assert (line["extra.event"], line["extra.level"]) == ("e", "l")
    assert "planted" not in str(line)


class InterceptHandler(logging.Handler):
    """Loguru's pattern: sends records to its sink, whose sink may propagate them to logging."""

    def __init__(self, sink: io.StringIO) -> None:
        super().__init__()
        self.sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        self.sink.write(f"{record.levelname}: {record.getMessage()}\n")


@pytest.mark.parametrize("logs", ["host", "json"])
@pytest.mark.parametrize("order", ["host first", "kit first"])
def test_a_handler_that_intercepts_all_records_gets_each_once(
    bare_logging: logging.Logger, logs: Any, order: str
) -> None:
    sink, app = io.StringIO(), FastAPI()

    def intercept() -> None:
        logging.basicConfig(handlers=[InterceptHandler(sink)], level=0, force=True)

    if order == "host first":
        intercept()
    instrument(app, logs=logs)
    if order == "kit first":
        intercept()
    fetch(app, "GET", "/metrics")
    sink.truncate(0)
    sink.seek(0)
    say()
    assert sink.getvalue() == "WARNING: token secret\n"
