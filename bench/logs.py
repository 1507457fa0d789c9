"""Cost of a log call: trace and route on records, and JSON lines, against a plain text line.

Measured on the caller's side, as processor time of its thread: JSON lines are rendered in another
one. The text line is the standard library's, with time, level, logger and message, to /dev/null.

``python -m bench.logs``
"""

import argparse
import logging
import os
from collections.abc import Callable
from time import thread_time
from typing import Any

from fastapi import FastAPI

from bench.interleave import Once, report, run
from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.logging import record_context
from vitals.logging.json_handler import JsonHandler
from vitals.logging.json_lines import JsonLines
from vitals.logging.line_writer import LineWriter
from vitals.logging.record_context import LoggedApp
from vitals.redactor import Redactor

LINES = 50
"""Log calls of one measured operation."""
FRAMES = 22
"""Frames of the exception, as in a request of a small service."""
TEXT, HOST, JSON = "text line", "text line, trace and route", "JSON line"
CALLS = "a message", "with three fields", f"with an exception of {FRAMES} frames"
MAX_CONTEXT, MAX_JSON = 2.0, 15.0
"""Budgets: µs more than the plain text line."""


def log_calls(log: logging.Logger) -> dict[str, Callable[[], None]]:
    """The compared calls."""
    fields = {"order_id": 7, "customer": "anna", "total": 12.5}

    def fail(frames: int) -> None:
        if frames == 1:
            raise LookupError("no such order")
        fail(frames - 1)

    try:
        fail(FRAMES)
    except LookupError as raised:
        error = raised

    return {
        CALLS[0]: lambda: log.info("bought %d of %s", 7, "apples"),
        CALLS[1]: lambda: log.info("bought %d of %s", 7, "apples", extra=fields),
        CALLS[2]: lambda: log.error("failed", exc_info=error),
    }


def logger(name: str, handler: logging.Handler) -> logging.Logger:
    """A logger with one handler."""
    found = logging.getLogger(f"bench.{name}")
    found.handlers, found.propagate = [handler], False
    found.setLevel(logging.INFO)
    return found


def repeated(call: Callable[[], None], factory: Any) -> Once:
    """An operation of some calls, with a record factory."""

    async def once() -> None:
        logging.setLogRecordFactory(factory)
        for _ in range(LINES):
            call()
        logging.setLogRecordFactory(logging.LogRecord)

    return once


def request(app: FastAPI) -> RequestContext:
    """A request in progress."""
    scope = {"type": "http", "app": app, "path": "/items/7", "headers": [], "root_path": ""}
    return RequestContext(scope | {"route": app.routes[-1]}, "GET")


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.logs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each variant (40)")
    options = parser.parse_args()
    app = FastAPI()
    app.get("/items/{item}")(lambda item: item)
    logged_app = LoggedApp(app, RouteTemplates(app), "shop")
    record_context.install()
    context = logging.getLogRecordFactory()
    dropped: list[str] = []
    CURRENT.set(request(app))
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a stream, no path
        text = logging.StreamHandler(nowhere)
        text.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        lines = JsonLines(logged_app.service_name, Redactor())
        writer = LineWriter(nowhere, lines.render, dropped.append)
        json_handler = JsonHandler(writer, dropped.append)
        taken: dict[str, dict[str, float]] = {}
        for call in CALLS:
            variants = {
                TEXT: repeated(log_calls(logger("text", text))[call], logging.LogRecord),
                HOST: repeated(log_calls(logger("text", text))[call], context),
                JSON: repeated(log_calls(logger("json", json_handler))[call], context),
            }
            found = run(variants, rounds=options.rounds, calls=6, clock=thread_time)
            taken[call] = {name: seconds / LINES * 1e6 for name, seconds in found.items()}
            writer.flush()
    more = {
        call: {name: round(each[name] - each[TEXT], 2) for name in (HOST, JSON)}
        for call, each in taken.items()
    }
    within_budget = not dropped and all(
        each[JSON] <= MAX_JSON and (call == CALLS[2] or each[HOST] <= MAX_CONTEXT)
        for call, each in more.items()
    )
    rows = [
        [call, *(f"{each[name]:.1f}" for name in (TEXT, HOST, JSON)), f"{more[call][JSON]:+.1f}"]
        for call, each in taken.items()
    ]
    report(
        f"A log call, µs (at most {MAX_CONTEXT} more with trace and route, {MAX_JSON} as JSON)",
        ["", TEXT, HOST, JSON, "JSON, more than text"],
        rows,
        {"bench": "logs", "more_us": more, "dropped": dropped, "within_budget": within_budget},
    )
    raise SystemExit(not within_budget)


if __name__ == "__main__":
    main()
