"""Cost of a log line in processor time of all threads, against a plain text line.

The text line is the standard library's, with time, level, logger and message. JSON lines are
rendered, redacted and written in another thread, whose time counts; so does that of the exporter,
which sends to a collector in another process. Everything is written to /dev/null; no two messages
are the same. The caller's own share is measured beside it.

``python -m bench.logs``
"""

import argparse
import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from itertools import count
from time import process_time, thread_time
from typing import Any

import structlog
from fastapi import FastAPI

from bench import budget
from bench.interleave import Once, compare, report
from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.logging import record_context
from vitals.logging.json_handler import JsonHandler
from vitals.logging.json_lines import JsonLines
from vitals.logging.line_writer import LineWriter
from vitals.logging.record_context import LoggedApp
from vitals.logging.structlog_output import StructlogOutput
from vitals.redactor import Redactor

LINES = 200
"""Log calls of one measured operation."""
FRAMES = 22
"""Frames of the exception, as in a request of a small service."""
TEXT, HOST, JSON = "text line", "text line, trace and route", "JSON line"
STRUCTLOG = "JSON line of structlog"
CALLS = "a message", "with three fields", f"with an exception of {FRAMES} frames"

Call = Callable[[int], object]


def fail(frames: int) -> None:
    """Raise an error that many frames deep."""
    if frames == 1:
        raise LookupError("no such order")
    fail(frames - 1)


def error() -> LookupError:
    """An exception with a traceback."""
    try:
        fail(FRAMES)
    except LookupError as raised:
        return raised
    raise AssertionError


def log_calls(log: logging.Logger) -> dict[str, Call]:
    """The compared calls."""
    raised = error()

    def with_fields(n: int) -> None:
        fields = {"order_id": n, "customer": "anna", "total": 12.5}
        log.info("bought %d of %s", n, "apples", extra=fields)

    return {
        CALLS[0]: lambda n: log.info("bought %d of %s", n, "apples"),
        CALLS[1]: with_fields,
        CALLS[2]: lambda n: log.error("order %d failed", n, exc_info=raised),
    }


def structlog_calls() -> dict[str, Call]:
    """The same, as a service that uses structlog writes them."""
    log, raised = structlog.get_logger("bench"), error()
    return {
        CALLS[0]: lambda n: log.info("bought %d of %s", n, "apples"),
        CALLS[1]: lambda n: log.info("bought", order_id=n, customer="anna", total=12.5),
        CALLS[2]: lambda n: log.error("order %d failed", n, exc_info=raised),
    }


def logger(name: str, handler: logging.Handler) -> logging.Logger:
    """A logger with one handler."""
    found = logging.getLogger(f"bench.{name}")
    found.handlers, found.propagate = [handler], False
    found.setLevel(logging.INFO)
    return found


def repeated(
    call: Call, numbers: Iterator[int], factory: Any, finish: Callable[[], object]
) -> Once:
    """An operation of some calls, with a record factory; it ends when all is written."""

    async def once() -> None:
        logging.setLogRecordFactory(factory)
        for _ in range(LINES):
            call(next(numbers))
        logging.setLogRecordFactory(logging.LogRecord)
        finish()

    return once


def request(app: FastAPI) -> RequestContext:
    """A request in progress."""
    scope = {"type": "http", "app": app, "path": "/items/7", "headers": [], "root_path": ""}
    return RequestContext(scope | {"route": app.routes[-1]}, "GET")


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.logs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each variant (30)")
    options = parser.parse_args()
    app = FastAPI()
    app.get("/items/{item}")(lambda item: item)
    logged_app = LoggedApp(app, RouteTemplates(app), "shop")
    record_context.install()
    context = logging.getLogRecordFactory()
    dropped: list[str] = []
    CURRENT.set(request(app))
    numbers = count()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a stream, no path
        text = logging.StreamHandler(nowhere)
        text.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        lines = JsonLines(logged_app.service_name, Redactor())
        writer = LineWriter(nowhere, lines.render, dropped.append, lines.prepare)
        json_handler = JsonHandler(writer, dropped.append)
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.PrintLoggerFactory(),
            cache_logger_on_first_use=True,
        )
        StructlogOutput(writer, dropped.append).take()
        taken: dict[str, dict[str, dict[str, float]]] = {}
        for clock in (process_time, thread_time):
            for call in CALLS:
                plain = log_calls(logger("text", text))[call]
                as_json = log_calls(logger("json", json_handler))[call]
                variants = {
                    TEXT: repeated(plain, numbers, logging.LogRecord, nowhere.flush),
                    HOST: repeated(plain, numbers, context, nowhere.flush),
                    JSON: repeated(as_json, numbers, context, writer.flush),
                    STRUCTLOG: repeated(structlog_calls()[call], numbers, context, writer.flush),
                }
                found = asyncio.run(compare(variants, rounds=options.rounds, calls=2, clock=clock))
                taken.setdefault(call, {})[clock.__name__] = {
                    name: seconds / LINES * 1e6 for name, seconds in found.items()
                }
    rows, more = [], {}
    for call, clocks in taken.items():
        everything, caller = clocks[process_time.__name__], clocks[thread_time.__name__]
        for name in (TEXT, HOST, JSON, STRUCTLOG):
            added = everything[name] - everything[TEXT]
            more[f"{call}, {name}"] = round(added, 2)
            shares = f"{everything[name]:.1f}", f"{added:+.1f}", f"{caller[name]:.1f}"
            rows.append([call, name, *shares])
    report(
        "Processor time of a log line, µs",
        ["", "", "all threads", "more than text", "the caller's"],
        rows,
        {"bench": "logs", "more_us": more, "dropped": dropped},
    )
    problems = budget.exceeded(more, budget.of("logs"))
    for problem in problems:
        print(problem)
    raise SystemExit(bool(problems or dropped))


if __name__ == "__main__":
    main()
