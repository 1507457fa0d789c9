"""By default the host's logging stays as it is, in whichever order it is set up."""

import io
import logging
import logging.config
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import structlog
from fastapi import FastAPI

from tests.vitals.client import fetch
from tests.vitals.journal import kit_events
from vitals import Objective, add_request_context, instrument
from vitals.metrics.catalogue import DROPPED
from vitals.testing import Readings

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
CONTEXT = "%(levelname)s %(name)s %(message)s [%(trace_id)s %(http_route)s]"


def service(*, log: Callable[[], object] = bool, **options: Any) -> FastAPI:
    """An instrumented service; each request is slow, and logs."""
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        log()
        return item

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("planted")

    slow = Objective("latency", ratio=0.9, within=1e-9)
    instrument(app, objectives=[slow], service_name="shop", **options)
    return app


def dropped(app: FastAPI, reason: str) -> float:
    return Readings.of(app).value(DROPPED, reason=reason)


class Mask(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace("secret", "***")
        return True


class Console(logging.StreamHandler[Any]):
    """As rich, colorlog, Prefect and others have one."""


def rich_configuration() -> None:
    """Set up everything that a host can set up."""
    root = logging.getLogger()
    handler = Console(io.StringIO())
    handler.addFilter(Mask())
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("HOST %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    for name, level in (("httpx", logging.DEBUG), ("uvicorn.access", logging.INFO)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(logging.StreamHandler(io.StringIO()))
        logger.addFilter(Mask())
        logger.propagate = False
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(io.StringIO()))
    structlog.configure(processors=[structlog.processors.JSONRenderer()])


def everything() -> dict[str, Any]:
    """The state of logging, of structlog and of warnings."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    state: dict[str, Any] = {
        each.name: (
            *(each.level, each.propagate, each.disabled, list(each.handlers), list(each.filters)),
            [(h, h.level, h.formatter, list(h.filters)) for h in each.handlers],
        )
        for each in loggers
        if isinstance(each, logging.Logger) and not each.name.startswith("vitals")
    }
    config = structlog.get_config()
    state |= {f"structlog {key}": value for key, value in config.items()}
    state["processors"] = list(config["processors"])
    return state | {"warnings": warnings.showwarning, "configured": structlog.is_configured()}


@pytest.mark.parametrize("logs", ["host", False])
@pytest.mark.parametrize("set_up", [rich_configuration, bool])
def test_nothing_of_the_hosts_changes(
    bare_logging: logging.Logger, set_up: Callable[[], object], logs: Any
) -> None:
    set_up()
    import_module("sqlalchemy.orm")  # its loggers come with its import
    logging.getLogger("httpx"), logging.getLogger("sqlalchemy.engine.Engine")
    before = everything()
    app = service(logs=logs)
    fetch(app, "GET", "/items/7")
    fetch(app, "GET", "/metrics")
    assert everything() == before


def test_without_logs_records_are_made_as_before(bare_logging: logging.Logger) -> None:
    service(logs=False)
    assert logging.getLogRecordFactory() is logging.LogRecord


@pytest.mark.parametrize("first", ["host", "kit"])
def test_records_of_a_request_name_its_trace_and_route(
    bare_logging: logging.Logger, first: str
) -> None:
    stream = io.StringIO()

    def set_up() -> None:
        logging.basicConfig(stream=stream, format=CONTEXT, level=logging.INFO)

    def log() -> None:
        logging.getLogger("host").info("bought %s", "apples")

    if first == "host":
        set_up()
    app = service(log=log)
    if first == "kit":
        set_up()
    log()
    fetch(app, "GET", "/items/7", headers=TRACEPARENT)
    outside, inside, slow = stream.getvalue().splitlines()[:3]
    assert outside == "INFO host bought apples [ ]"
    assert inside == f"INFO host bought apples [{TRACE} /items/{{item}}]"
    assert slow.startswith("WARNING vitals.requests request slow: GET /items/{item} answered 200")
    assert slow.endswith(f"[{TRACE} /items/{{item}}]")


def test_the_kits_events_are_sentences_with_fields(bare_logging: logging.Logger) -> None:
    with kit_events() as events:
        app = service()
        fetch(app, "GET", "/items/7")
        fetch(app, "GET", "/broken")
    slow, failed = events
    assert slow["event"] == "request slow"
    assert slow["http.route"] == slow["http_route"] == "/items/{item}"
    assert slow["threshold"] == 1e-9
    assert failed["levelname"] == "ERROR"
    assert failed["error.type"] == "LookupError"
    assert failed["message"].startswith("request failed: GET /broken answered 500 after 0.")
    assert failed["message"].endswith("(LookupError)")
    assert "planted" not in str(failed)


def test_where_nothing_is_set_up_warnings_still_appear(
    bare_logging: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    last_resort = logging.StreamHandler(stream := io.StringIO())
    last_resort.setLevel(logging.WARNING)
    monkeypatch.setattr(logging, "lastResort", last_resort)
    fetch(service(), "GET", "/items/7")
    assert stream.getvalue().startswith("request slow: GET /items/{item} answered 200 after")
    assert capsys.readouterr().out == ""


def test_fields_of_the_hosts_with_the_same_names_are_kept(bare_logging: logging.Logger) -> None:
    stream = io.StringIO()
    logging.basicConfig(stream=stream, format=CONTEXT, level=logging.INFO)

    def log() -> None:
        logging.getLogger("host").info("x", extra={"trace_id": "mine", "http_route": "theirs"})
        adapter = logging.LoggerAdapter(logging.getLogger("host"), {"trace_id": "adapted"})
        adapter.info("y")

    app = service(log=log)
    log()
    fetch(app, "GET", "/items/7")
    lines = [line for line in stream.getvalue().splitlines() if " host " in line]
    assert lines == [
        *("INFO host x [mine theirs]", "INFO host y [adapted ]"),
        *("INFO host x [mine theirs]", "INFO host y [adapted /items/{item}]"),
    ]


def compose(set_trace: bool) -> None:  # noqa: FBT001
    """Put a record factory of the host's around the one that is."""
    inner = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = inner(*args, **kwargs)
        record.tenant = "acme"
        if set_trace:
            record.trace_id = "of the host"
        return record

    logging.setLogRecordFactory(factory)


def test_a_logger_class_of_the_hosts_may_make_records_itself(bare_logging: logging.Logger) -> None:
    class Strict(logging.Logger):
        def makeRecord(self, *args: Any, extra: Any = None, **kwargs: Any) -> logging.LogRecord:  # noqa: N802  # logging's name
            name, level, fn, lno, msg, arguments, exc_info, func, extra, sinfo = args
            record = logging.getLogRecordFactory()(
                name, level, fn, lno, msg, arguments, exc_info, func, sinfo, **kwargs
            )
            if set(extra or ()) & set(vars(record)):
                raise KeyError(set(extra) & set(vars(record)))
            vars(record).update(extra or {})
            return record

    stream = io.StringIO()
    logging.basicConfig(stream=stream, format=CONTEXT, level=logging.INFO)
    service()
    strict = Strict("strict")
    strict.parent = bare_logging
    strict.info("x", extra={"trace_id": "mine"})
    assert stream.getvalue() == "INFO strict x [mine ]\n"


@pytest.mark.parametrize("set_trace", [True, False])
@pytest.mark.parametrize("first", ["host", "kit"])
def test_record_factories_compose(
    bare_logging: logging.Logger,
    first: str,
    set_trace: bool,  # noqa: FBT001
) -> None:
    stream = io.StringIO()
    logging.basicConfig(stream=stream, format=f"%(tenant)s {CONTEXT}", level=logging.INFO)

    def log() -> None:
        logging.getLogger("host").info("bought", extra={"order": 7})
        logging.getLogger("host").info("own", extra={} if set_trace else {"trace_id": "mine"})

    if first == "host":
        compose(set_trace)
    app = service(log=log)
    if first == "kit":
        compose(set_trace)
    fetch(app, "GET", "/items/7", headers=TRACEPARENT)
    shown = "of the host" if set_trace else TRACE
    lines = [line for line in stream.getvalue().splitlines() if "INFO host" in line]
    assert lines == [
        f"acme INFO host bought [{shown} /items/{{item}}]",
        f"acme INFO host own [{'of the host' if set_trace else 'mine'} /items/{{item}}]",
    ]
    assert dropped(app, "log_record_factory") == 0
    assert logging.getLogger("vitals.requests").isEnabledFor(logging.INFO)


def test_a_record_factory_that_the_host_replaces_is_noticed(bare_logging: logging.Logger) -> None:
    stream = io.StringIO()
    logging.basicConfig(stream=stream, format=CONTEXT, level=logging.INFO)
    app = service(log=lambda: logging.getLogger("host").info("bought"))

    class Record(logging.LogRecord):
        tenant = "acme"

    logging.setLogRecordFactory(Record)
    fetch(app, "GET", "/metrics")
    assert dropped(app, "log_record_factory") == 1
    fetch(app, "GET", "/items/7", headers=TRACEPARENT)
    assert f"INFO host bought [{TRACE} /items/{{item}}]" in stream.getvalue()
    made = logging.getLogger("host").makeRecord("", 20, "", 0, "", (), None)
    assert isinstance(made, Record), "the host's class is kept"
    assert dropped(app, "log_record_factory") == 1


CONFIG: dict[str, Any] = {
    "version": 1,
    "formatters": {"plain": {"format": CONTEXT}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "INFO", "handlers": ["console"]},
}


@pytest.mark.parametrize("existing", ["disabled by dictConfig", "disabled by fileConfig"])
def test_loggers_that_the_host_disables_unknowingly_are_noticed_and_enabled(
    bare_logging: logging.Logger, existing: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    app = service()
    fetch(app, "GET", "/items/7")
    other = logging.getLogger("vitals.metrics.endpoint")
    if existing == "disabled by dictConfig":
        logging.config.dictConfig(CONFIG)
    else:
        (tmp_path / "logging.ini").write_text(
            "[loggers]\nkeys=root\n[handlers]\nkeys=console\n[formatters]\nkeys=plain\n"
            "[logger_root]\nlevel=INFO\nhandlers=console\n"
            "[handler_console]\nclass=StreamHandler\nformatter=plain\n"
            f"[formatter_plain]\nformat={CONTEXT}\n"
        )
        logging.config.fileConfig(tmp_path / "logging.ini")
    assert logging.getLogger("vitals.requests").disabled
    assert other.disabled
    fetch(app, "GET", "/items/7")
    assert "WARNING vitals.requests request slow: GET /items/{item}" in capsys.readouterr().err
    fetch(app, "GET", "/metrics")
    assert not other.disabled
    assert dropped(app, "logger_disabled") >= 2


def test_levels_and_filters_silence_the_kit(bare_logging: logging.Logger) -> None:
    logging.basicConfig(stream=(stream := io.StringIO()))
    logging.getLogger("vitals").setLevel(logging.ERROR)
    fetch(service(), "GET", "/items/7")
    logging.getLogger("vitals").setLevel(logging.NOTSET)
    logging.getLogger("vitals.requests").addFilter(lambda _record: False)
    app = service()
    fetch(app, "GET", "/items/7")
    assert stream.getvalue() == ""
    assert dropped(app, "logger_disabled") == 0


def test_a_handler_that_fails_fails_no_request(bare_logging: logging.Logger) -> None:
    def fail(_record: logging.LogRecord) -> bool:
        raise LookupError

    logging.basicConfig(stream=io.StringIO())
    bare_logging.handlers[0].addFilter(fail)
    app = service()
    assert fetch(app, "GET", "/items/7").status_code == 200
    assert dropped(app, "log_event") == 1
    assert dropped(app, "http_probe") == 0


def test_two_applications_share_one_factory(bare_logging: logging.Logger) -> None:
    stream = io.StringIO()
    logging.basicConfig(stream=stream, format="%(message)s [%(http_route)s]", level=logging.INFO)
    log = logging.getLogger("host")
    apps = [service(log=lambda: log.info("one")), service(log=lambda: log.info("two"))]
    mounted = FastAPI()

    @mounted.get("/deep/{x}")
    async def deep(x: str) -> None:
        log.info("mounted")

    apps[1].mount("/sub", mounted)
    fetch(apps[0], "GET", "/items/1")
    fetch(apps[1], "GET", "/items/2")
    fetch(apps[1], "GET", "/sub/deep/3")
    lines = [line for line in stream.getvalue().splitlines() if "equest" not in line]
    assert lines == ["one [/items/{item}]", "two [/items/{item}]", "mounted [/sub/deep/{x}]"]
    inner: Any = logging.getLogRecordFactory()
    assert inner.vitals_inner is logging.LogRecord


def test_a_processor_adds_the_request_to_structlogs_events(bare_logging: logging.Logger) -> None:
    stream = io.StringIO()
    structlog.configure(
        processors=[add_request_context, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    log = structlog.get_logger()
    app = service(log=lambda: log.info("bought", trace_id="mine") or log.info("sold"))
    log.info("outside")
    fetch(app, "GET", "/items/7", headers=TRACEPARENT)
    assert stream.getvalue().splitlines() == [
        "event='outside'",
        "trace_id='mine' event='bought' http_route='/items/{item}'",
        f"event='sold' trace_id='{TRACE}' http_route='/items/{{item}}'",
    ]


@pytest.mark.parametrize("logs", [True, None, "yes", "JSON", 1])
def test_another_value_is_refused_with_what_to_write(logs: Any) -> None:
    with pytest.raises(ValueError, match=r"'json'.*'host'|'host', 'json' or False"):
        instrument(FastAPI(), logs=logs)


def test_structlogs_context_variables_have_the_trace_id(bare_logging: logging.Logger) -> None:
    stream = io.StringIO()
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ]
    structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(stream))
    log = structlog.get_logger()
    before = everything()

    def bind_and_log() -> None:
        log.info("bought")
        structlog.contextvars.bind_contextvars(trace_id="mine")
        log.info("sold")

    fetch(service(log=bind_and_log), "GET", "/items/7", headers=TRACEPARENT)
    log.info("outside")
    assert stream.getvalue().splitlines() == [
        f"event='bought' trace_id='{TRACE}'",
        "event='sold' trace_id='mine'",
        "event='outside'",
    ]
    assert everything() == before


def test_in_host_mode_structlog_is_not_imported() -> None:
    program = (
        "import sys; from fastapi import FastAPI; from vitals import instrument;"
        "instrument(FastAPI()); print([m for m in sys.modules if 'structlog' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_importing_the_kit_changes_nothing() -> None:
    program = """
import logging, sys, threading, warnings
def state():
    return (logging.root.handlers, logging.root.level, logging.getLogRecordFactory(),
            warnings.showwarning, threading.active_count(), logging.Logger.makeRecord)
before = state()
import vitals.instrumentation, vitals.logging.json_probe
assert state() == before, (before, state())
assert all(not logger.handlers and logger.level == 0 and logger.propagate
           for name, logger in logging.root.manager.loggerDict.items()
           if name.startswith("vitals") and isinstance(logger, logging.Logger))
print("same")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "same\n", done.stderr
