"""Cost of a log line that is exported by OTLP, against a plain text line, and OpenTelemetry's own.

Processor time of all threads, as in ``bench.logs``; the collector is another process. What the
kit exports is redacted, what OpenTelemetry's handler exports is not.

``python -m bench.log_exports``
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from multiprocessing.connection import Connection
from time import process_time
from typing import Any

from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from bench import budget
from bench.interleave import Once, compare, report
from bench.logs import CALLS, LINES, TEXT, Call, log_calls, logger, request
from vitals.asgi.request_context import CURRENT
from vitals.asgi.route_template import RouteTemplates
from vitals.logging import active_export, record_context
from vitals.logging.json_handler import JsonHandler
from vitals.logging.json_lines import JsonLines
from vitals.logging.line_writer import LineWriter
from vitals.logging.log_export import LogExport, join, stop
from vitals.logging.record_context import LoggedApp
from vitals.otlp.target import Target
from vitals.redactor import Redactor

EXPORTED, JSON_EXPORTED = "text line, exported", "JSON line, exported"
OPENTELEMETRY = "text line, exported by OpenTelemetry"


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the standard library's name
        """Take what comes."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _serve(port: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    port.send(server.server_port)
    server.serve_forever()


@contextmanager
def collector() -> Iterator[str]:
    """Run a collector that takes everything, in a process of its own; yields the URL of logs."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sending,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiving.recv()}/v1/logs"
    finally:
        process.terminate()
        process.join(10)


def repeated(
    call: Call, numbers: Iterator[int], export: LogExport | None, finish: Callable[[], object]
) -> Once:
    """An operation of some calls, exported or not; it ends when all is written and sent."""

    async def once() -> None:
        active_export.current = export
        for _ in range(LINES):
            call(next(numbers))
        active_export.current = None
        finish()

    return once


def opentelemetry(url: str) -> tuple[logging.Handler, Callable[[], object]]:
    """OpenTelemetry's handler, and its flush."""
    processor = BatchLogRecordProcessor(OTLPLogExporter(endpoint=url))
    provider = LoggerProvider()
    provider.add_log_record_processor(processor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still what most services have
        return LoggingHandler(logger_provider=provider), processor.force_flush


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.log_exports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each variant (20)")
    options = parser.parse_args()
    app = FastAPI()
    app.get("/items/{item}")(lambda item: item)
    logged_app = LoggedApp(app, RouteTemplates(app), "shop")
    record_context.install()
    dropped: list[str] = []

    def drop(reason: str, number: int = 1) -> None:
        dropped.extend([reason] * number)

    CURRENT.set(request(app))
    numbers, redactor = count(), Redactor()
    taken: dict[str, dict[str, float]] = {}
    with collector() as url, open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a stream
        export = join("shop", lambda: {"service.name": "shop"}, Target(url), redactor, drop)
        text = logging.StreamHandler(nowhere)
        text.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        lines = JsonLines(logged_app.service_name, redactor)
        writer = LineWriter(nowhere, lines.render, drop, lines.prepare)
        theirs, flush_theirs = opentelemetry(url)
        both = logger("otel", text)
        both.addHandler(theirs)

        def flush_ours() -> None:
            writer.flush()
            export.exporter.flush()

        for call in CALLS:
            plain = log_calls(logger("text", text))[call]
            as_json = log_calls(logger("json", JsonHandler(writer, drop)))[call]
            variants: dict[str, Any] = {
                TEXT: repeated(plain, numbers, None, nowhere.flush),
                EXPORTED: repeated(plain, numbers, export, flush_ours),
                JSON_EXPORTED: repeated(as_json, numbers, export, flush_ours),
                OPENTELEMETRY: repeated(log_calls(both)[call], numbers, None, flush_theirs),
            }
            clock = process_time
            found = asyncio.run(compare(variants, rounds=options.rounds, calls=2, clock=clock))
            taken[call] = {name: seconds / LINES * 1e6 for name, seconds in found.items()}
        stop()
    rows, ratios = [], {}
    for call, each in taken.items():
        for name, figure in each.items():
            rows.append([call, name, f"{figure:.1f}", f"{figure - each[TEXT]:+.1f}"])
        ratio = (each[EXPORTED] - each[TEXT]) / (each[OPENTELEMETRY] - each[TEXT])
        ratios[f"{call}, added / added by OpenTelemetry"] = round(ratio, 3)
    report(
        "Processor time of a log line that is exported, µs",
        ["", "", "all threads", "more than text"],
        rows,
        {"bench": "log_exports", "ratios": ratios, "dropped": dropped},
    )
    problems = budget.exceeded(ratios, budget.of("log_exports"))
    for problem in problems:
        print(problem)
    raise SystemExit(bool(problems or dropped))


if __name__ == "__main__":
    main()
